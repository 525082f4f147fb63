"""The command `ifrvis`. Exit status: 0 done, 1 a run failed, 2 the user's mistake, 130 interrupted."""

import argparse
import contextlib
import errno
import gc
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import ifrvis
from ifrvis.commands import (
    compare,
    data,
    evaluate,
    experiment,
    explain,
    predict,
    reproduce,
    runs,
    submission,
    upkeep,
    weights,
)
from ifrvis.errors import MismatchError, UserError, nearest, printable
from ifrvis.files import cache_folder

GROUPS = {  # of the help
    "run": "run plan reproduce cancel retry",
    "look": "status logs report show compare explain bootstrap predict",
    "data": "data weights",
    "evaluate": "evaluate evaluate-model submission ingest",
    "upkeep": "doctor verify prune rescore publish",
}
OF_PATHS = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.EACCES, errno.EROFS}
TRAIN = {"torch", "mmcv", "mmengine", "mmdet", "cv2", "submitit"}  # what the extra `train` brings, as it is imported
NEED_TRAIN = ("run", "reproduce", "cancel", "weights", "predict", "evaluate-model")  # these do nothing without it
TRAIN_HELP = """* needs `pip install 'ifrvis[train]'`, as do `data make-mini`, `data check --decode`, `compare --html`
  and what asks a cluster about jobs"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    gc.set_threshold(100_000)  # what a command reads lives to its end: looking for garbage took a tenth of `plan`
    cache_folder()  # gives a user without a home one
    sys.stdout, sys.stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()  # closed, as by `>&-`
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names from files may hold letters that a terminal lacks
            stream.reconfigure(errors="replace")
    parsed = argparse.Namespace()
    try:
        parser, given = _parser(), sys.argv[1:] if arguments is None else arguments
        if not given:
            parser.print_help()
            return 0
        _refuse_left_by_shell(given)
        parsed = parser.parse_args(arguments)
        if another := _another_checkout():
            print(f"ifrvis: {printable(another)}", file=sys.stderr)
        command: Callable[[argparse.Namespace], int] = parsed.command
        status = command(parsed)
        sys.stdout.flush()
        return status
    except UserError as error:
        truth = [name for name in ("gt", "annotation", "split") if getattr(parsed, name, None)]
        if isinstance(error, MismatchError) and truth:
            said = str(error)
            error = UserError(f"Let --{truth[0]} be of what is predicted, or {said[0].lower()}{said[1:]}")
        print(f"ifrvis: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in TRAIN:
            raise
        cure = "Install what trains and decodes (`pip install 'ifrvis[train]'`; in a checkout, `make setup`)"
        print(f"ifrvis: {cure}: this needs {error.name}, which is not here.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ifrvis: interrupted; the same command starts again, and keeps what was finished", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        _drop_output()
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _drop_output()
            cure = f"Free some disk space: the output could not be written ({error.strerror})"
        elif error.errno in OF_PATHS and error.filename is not None:
            cure = f"Correct the path or its permissions: {str(error.filename)!r} ({error.strerror})"
        elif error.errno == errno.ENOENT and not Path().stat().st_nlink:
            cure = "Change to a folder that is there (`cd`): that of this shell was removed, or replaced by another"
        else:
            raise
        print(f"ifrvis: {cure}.", file=sys.stderr)
        return 2


def _refuse_left_by_shell(given: Sequence[str]) -> None:
    """Refuse (UserError) an empty value, as of a variable that a shell has not: what is named so would be left out; and
    a ~ that a shell has left as it is: it would be a folder's name.
    """
    for before, each in pairwise(["", *given]):
        if found := re.fullmatch("(--[a-z-]+)=(~(/.*)?)?|(~(/.*)?)?", each, re.DOTALL):
            about = found[1] or (before if before.startswith("-") else "the command")
            is_home = "the shell has left ~ as it is: write $HOME, or a blank for the ="
            cure = is_home if "~" in each else "give a value, or leave it out; it is empty"
            raise UserError(f"Correct {about}: {cure}.")


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """Says mistakes as every other part does: in one message, whose first words are what to do. Options have no other
    names than their own: what is mistyped is none of them, and starts nothing.
    """

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse here what is not known: here it is known what is near."""
        found, unknown = super().parse_known_args(args, namespace)
        if option := next((each for each in unknown if each.startswith("-")), None):
            name = option.partition("=")[0]
            near = nearest(name, [*self._option_string_actions])
            raise UserError(f"Correct {name}: there is no such option{near}; `{self.prog} --help` says what it takes.")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        about, _, what = message.removeprefix("argument ").partition(": ")
        if chosen := re.fullmatch(r"invalid choice: '(.*)' \(choose from (.*)\)", what):
            known = re.findall(r"[\w-]+", chosen[2])
            came = f"there is no {chosen[1]!r}{nearest(chosen[1], known)}"
            raise UserError(f"Choose {about} among {', '.join(known)}: {came}.")
        if what.startswith("expected "):  # an argument, or at least one
            raise UserError(f"Give {about} a value: {self._option_string_actions[about.split('/')[0]].help}.")
        if what.startswith("ignored explicit argument"):
            raise UserError(f"Write {about} alone: it takes no value.")
        if message.startswith("argument "):
            raise UserError(f"Correct {about}: {what}.")
        raise UserError(f"Correct the command: {message}; `{self.prog} --help` says what it takes.")


def _another_checkout() -> str:
    """What to know where this is not the program of the checkout that one is in; else nothing."""
    own = Path(ifrvis.__file__).resolve().parent
    with contextlib.suppress(OSError):  # a folder that is gone
        for there in (each / "ifrvis" for each in (Path.cwd(), *Path.cwd().parents)):
            if (there / "cli.py").is_file() and there.with_name("experiments").is_dir() and there.resolve() != own:
                return f"this is the program of {own}, not of {there}: `python -m ifrvis` there is"
    return ""


class _Commands:
    """Takes commands as argparse's own does, and keeps what they are for by name: that cannot show groups."""

    def __init__(self, commands: Any) -> None:
        self._commands, self.texts = commands, dict[str, str]()

    def add_parser(self, name: str, *, help: str, **options: Any) -> argparse.ArgumentParser:
        self.texts[name] = help + " *" * (name in NEED_TRAIN)
        parser: argparse.ArgumentParser = self._commands.add_parser(name, **options)
        return parser

    def grouped(self) -> str:
        """The commands under what they are for."""
        lines = []
        for title, names in GROUPS.items():
            lines += [f"{title}:", *(f"    {name:15} {self.texts[name]}" for name in names.split()), ""]
        return "\n".join([*lines, TRAIN_HELP])


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = _Parser("ifrvis", description="Reproduce the tables of the IFR paper, row by row.", formatter_class=shape)
    parser.add_argument("--version", action="version", version=f"ifrvis {ifrvis.__version__}")
    commands = _Commands(parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser))
    for each in (experiment, reproduce, runs, compare, explain, upkeep, evaluate, data, weights, submission, predict):
        each.add_commands(commands)
    parser.epilog = commands.grouped()
    return parser
