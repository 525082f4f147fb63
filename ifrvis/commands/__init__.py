"""The commands. Each imports the rooms it needs inside itself, so that `--help` and `plan` stay fast."""
