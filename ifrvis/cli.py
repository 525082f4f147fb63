"""The command `ifrvis`.

Exit status: 0 done, 1 a run failed, 2 the user's mistake, 130 interrupted.
"""

import argparse
import errno
import gc
import io
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from ifrvis.commands import compare, data, evaluate, experiment, predict, runs, submission, upkeep, weights
from ifrvis.errors import UserError, nearest
from ifrvis.files import cache_folder


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    gc.set_threshold(100_000)  # what a command reads lives to its end: looking for garbage took a tenth of `plan`
    cache_folder()  # gives a user without a home one
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names from files may hold letters that a terminal lacks
            stream.reconfigure(errors="replace")
    try:
        parsed = _parser().parse_args(arguments)
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


class _Parser(argparse.ArgumentParser):
    """Says mistakes as every other part does: in one message, whose first words are what to do."""

    def error(self, message: str) -> NoReturn:
        about, _, what = message.removeprefix("argument ").partition(": ")
        if chosen := re.fullmatch(r"invalid choice: '(.*)' \(choose from (.*)\)", what):
            known = re.findall(r"[\w-]+", chosen[2])
            raise UserError(f"Choose one of {', '.join(known)}: there is no {chosen[1]!r}{nearest(chosen[1], known)}.")
        if message.startswith("argument "):
            raise UserError(f"Correct {about}: {what}.")
        raise UserError(f"Correct the command: {message}; `{self.prog} --help` says what it takes.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("ifrvis", description="Reproduce the tables of the IFR paper, row by row.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for each in (experiment, runs, compare, upkeep, evaluate, data, weights, submission, predict):
        each.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
