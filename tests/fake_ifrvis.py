"""The command `ifrvis` with the fake worker: `python -m fake_ifrvis run table1 ...`."""

import sys

import fake_worker

import ifrvis.worker
from ifrvis.cli import main

if __name__ == "__main__":
    ifrvis.worker.run_attempt = fake_worker.run_attempt
    sys.exit(main())
