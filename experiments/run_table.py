"""Run tables: `python experiments/run_table.py table1 --seeds 5` is `ifrvis run table1 --seeds 5`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ifrvis.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
