"""Run tables: `python experiments/run_table.py table1 --seeds 5` is `ifrvis run table1 --seeds 5`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  (a cluster's own Python comes here, and reads no further)
    sys.exit("ifrvis: Run `make setup`, then `. .venv/bin/activate`, and start this again: it needs Python 3.11.")

from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ifrvis.__main__ import start

if __name__ == "__main__":
    sys.argv.insert(1, "run")
    sys.exit(start())
