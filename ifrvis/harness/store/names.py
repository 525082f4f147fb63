"""Which runs a name means: the whole name of one, or how several begin."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ifrvis.errors import UserError, nearest
from ifrvis.files import seen_in
from ifrvis.harness.store.paths import SPEC, Run, Store, run_at
from ifrvis.harness.store.records import read_record

MOST = 6  # in a message


def some_of(names: Iterable[str]) -> str:
    """Names as a message says them: the shortest first, and of many how many more there are."""
    found = sorted(set(names), key=lambda name: (len(name), name))
    return ", ".join(found[:MOST]) + f" and {len(found) - MOST} more" * (len(found) > MOST)


def beginning_so(name: str, rows: Iterable[str]) -> str:
    """What a message adds about a name that some rows begin with."""
    found = [each for each in rows if each.startswith(name) and each != name]
    return f"; rows that begin so are {some_of(found)}" if found else ""


def runs_named(store: Store, name: str, *, beside: Iterable[str] = ()) -> list[Run]:
    """The run whose folder this is, or the runs of this name, which differ in what is not in a name; else those whose
    names begin with it. Of a run that was trained elsewhere a record is enough. UserError if there is none; `beside`
    are names that might have been meant too.
    """
    if os.path.isfile(Path(name) / SPEC):  # noqa: PTH113  never raises
        return [run_at(Path(name).resolve())]
    kept = [path for profile in store.profiles() for path in seen_in(store.records(profile), ".json")]
    records = {path.stem.rpartition("-")[0]: path for path in kept}
    folders = {folder.name: folder for folder in store.run_folders()}
    found = sorted(each for each in records | folders if each.startswith(name))
    exact = [each for each in found if re.fullmatch("-[0-9a-f]{12}", each.removeprefix(name))]
    if not found:
        beside = [*beside]
        near = nearest(name, [*(each.rpartition("-")[0] for each in records | folders), *beside])
        none = f"no run and no record in {store.root} begins so, nor is it a row, `row` or `table/row`"
        raise UserError(f"Correct the name {name!r}: {none}{beginning_so(name, beside) or near}.")
    runs = []
    for each in exact or found:
        if each in folders and ((folders[each] / SPEC).is_file() or each not in records):
            runs.append(run_at(folders[each]))
        else:
            record = read_record(records[each])
            runs.append(store.run(record.name, record.train_sig))
    return runs
