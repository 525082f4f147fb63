"""What commands print: text and JSON, tables, and how far they are."""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ifrvis.errors import REPEAT_S, printable

if TYPE_CHECKING:
    from rich.console import Console


@contextlib.contextmanager
def progress(text: str, console: "Console | None" = None) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal (default: standard error) while the block lasts, elsewhere a line every `REPEAT_S`; what it
    gives is to be called with what is done, and the total.
    """
    from rich.console import Console
    from rich.progress import Progress

    said_s, shown = time.monotonic(), console or Console(stderr=True)

    def update(done: int, total: int) -> None:
        nonlocal said_s
        bar.update(task, completed=done, total=total)
        if not shown.is_terminal and time.monotonic() - said_s >= REPEAT_S:
            said_s = time.monotonic()
            say(shown, f"{text}: {100 * done // max(total, 1)} %")

    with Progress(console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield update


def show(text: str, *, flush: bool = False) -> None:
    """Print text that may hold what files say: what would move the cursor or turn the text becomes a question mark."""
    print(printable(text), flush=flush)


def answer(arguments: argparse.Namespace, content: Any, lines: Iterable[str]) -> None:
    """Print what was found: JSON of it alone with `--json`, else lines."""
    show(json.dumps(content, indent=1) if arguments.json else "\n".join(lines))


def console_for_tables(*, stderr: bool = False) -> "Console":
    """Where tables are printed: a log has no width, so that no column of theirs is squeezed there."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() or "COLUMNS" in os.environ else 200)


def say(console: "Console", *lines: str) -> None:
    """The same on a console, line by line."""
    for line in lines:
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
