"""`python -m ifrvis` is the command `ifrvis`; where its packages are not, it says what to do."""

import sys
from importlib.util import find_spec

NEEDS = ("PIL", "jinja2", "matplotlib", "numpy", "pycocotools", "pydantic", "rich", "rocrate", "scipy", "yaml")


def start(arguments: list[str] | None = None) -> int:
    """Run one command, as `cli.main`."""
    if absent := [each for each in NEEDS if find_spec(each) is None]:
        cure = "Run `make setup`, then `. .venv/bin/activate`, and start this again"
        print(f"ifrvis: {cure}: {sys.executable} has no {', '.join(absent)}.", file=sys.stderr)
        return 2
    from ifrvis.cli import main

    return main(arguments)


if __name__ == "__main__":
    sys.exit(start())
