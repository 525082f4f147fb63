"""The command `ifrvis`.

Exit status: 0 done, 1 a run failed, 2 the user's mistake, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Callable

from ifrvis.commands import data, evaluate, tables
from ifrvis.errors import UserError

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        command: Callable[[argparse.Namespace], int] = parsed.command
        return command(parsed)
    except UserError as error:
        print(f"ifrvis: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ifrvis: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ifrvis", description="Reproduce the tables of the IFR paper, row by row.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    tables.add_commands(commands)
    evaluate.add_commands(commands)
    data.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
