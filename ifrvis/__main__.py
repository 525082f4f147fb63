"""`python -m ifrvis` is the command `ifrvis`."""

import sys

from ifrvis.cli import main

sys.exit(main())
