"""The command `ifrvis`.

Exit status: 0 done, 1 a run failed, 2 the user's mistake, 130 interrupted.
"""

import argparse
import errno
import gc
import io
import os
import sys
from collections.abc import Callable

from ifrvis.commands import data, evaluate, experiment, predict, runs, submission, upkeep, weights
from ifrvis.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    gc.set_threshold(100_000)  # what a command reads lives to its end: looking for garbage took a tenth of `plan`
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names from files may hold letters that a terminal lacks
            stream.reconfigure(errors="replace")
    parsed = _parser().parse_args(arguments)
    try:
        command: Callable[[argparse.Namespace], int] = parsed.command
        status = command(parsed)
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"ifrvis: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ifrvis: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        _drop_output()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _drop_output()
        print(f"ifrvis: Free some disk space: the output could not be written ({error.strerror}).", file=sys.stderr)
        return 2


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ifrvis", description="Reproduce the tables of the IFR paper, row by row.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    experiment.add_commands(commands)
    runs.add_commands(commands)
    upkeep.add_commands(commands)
    evaluate.add_commands(commands)
    data.add_commands(commands)
    weights.add_commands(commands)
    submission.add_commands(commands)
    predict.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
