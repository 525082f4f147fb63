"""What exists, what would run, what it costs, and its status."""
