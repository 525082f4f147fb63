"""Hostile files through the real entry points: no traceback reaches the user, nothing wrong is accepted.

    python studies/fuzz.py [--cases 10000] [--seed 0] [--only KIND]

A case takes one good file, changes it (bits, bytes, keys, types, nesting, huge numbers, encodings, bombs) and runs a
command on it in this process. It counts as

    refused     one message that says what to do and exit 2, or a file that is passed over and named
    unchanged   accepted, and what was read is what the good file says
    changed     accepted, and a second reader (PyYAML's own, `plain_readers.py`) finds it sound
    traceback   an exception, a warning, another exit status, more than TIME_LIMIT_S
    wrong       unsound and accepted, sound and refused; control characters on the terminal, files where none belong

Of the kind `odd`, something that is no regular file stands where a command reads or writes one.

`tests/test_hostile.py` runs hundreds of the same cases. Prints a JSON summary.
"""

import argparse
import contextlib
import copy
import gzip
import hashlib
import io
import json
import math
import os
import pickle
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never
from unittest import mock

import torch
import yaml
from rich.console import Console

import ifrvis.models  # noqa: F401  the host warns while it is imported, which in a case would be a fault
from ifrvis.datasets import rle
from ifrvis.datasets.catalog import load_dataset
from ifrvis.errors import UserError
from ifrvis.evaluation.submission import passed_over, read_server_scores
from ifrvis.harness.jobs.queue import Item
from ifrvis.harness.jobs.view import live_view
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.attempts import attempts_of
from ifrvis.harness.store.playback import read_scenes
from ifrvis.harness.store.records import digest_of, read_record, record_text
from ifrvis.training.checkpoints import newest_valid
from ifrvis.training.foreign import read_foreign
from ifrvis.training.weights import load_initial_weights
from studies import plain_readers
from studies.fuzz_world import World
from studies.mutations import change, mutated

TIME_LIMIT_S = 60
OUTCOMES = ("refused", "unchanged", "changed", "traceback", "wrong")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What a person reads first of a file that is wrong, or of other videos than the ground truth.
PLACE = re.compile(
    r"ifrvis: (Let --\w+ be of what is predicted, or )?"
    r"([Cc]orrect \S+\.(json|gz)(: [\w\[]\S*)?: expected |[Pp]redict again: )"
)

Act = Callable[[World, random.Random, Path, bytes], str]  # run a command on a changed file: the outcome


class Touch:
    """Unpickled, it would leave a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("canary"),)


class TimeUpError(BaseException):
    """A case took too long."""


def _time_is_up(*_: Any) -> Never:
    raise TimeUpError


def run_case(world: World, kind: str, seed: int) -> tuple[str, str]:
    """Run one case: its outcome, and what was found."""
    rng = random.Random(f"{kind}-{seed}")
    path, form = rng.choice(world.files[kind])
    data = mutated(rng, world.good[path], form) if form else b""
    if form:
        path.write_bytes(data)
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.alarm(TIME_LIMIT_S)
    cache = {"XDG_CACHE_HOME": str(world.data / "cache")}
    try:
        with warnings.catch_warnings(), mock.patch("os.fsync"), mock.patch.dict("os.environ", cache):
            warnings.simplefilter("error")
            outcome = rng.choice(ACTS[kind])(world, rng, path, data)
        why = ""
    except UserError as error:
        outcome, why = "refused", str(error)
    except (Exception, TimeUpError):
        outcome, why = "traceback", traceback.format_exc()
    finally:
        signal.alarm(0)
    stray = world.put_back()
    return ("wrong", f"left {stray}") if stray else (outcome, f"{path.name}: {why}")


def on_table(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    status = world.run(rng.choice(["plan", "status", "report"]), *world.table, *world.roots)[0]
    return "refused" if status else _yaml_outcome(world, load_table(str(path)).model_dump(), data, path)


def on_profile(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    arguments = [world.table[0], "--profile", str(path), *world.roots]
    status = world.run(rng.choice(["plan", "status", "report"]), *arguments)[0]
    return "refused" if status else _yaml_outcome(world, load_profile(str(path)).model_dump(), data, path)


def on_dataset(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    status = world.run(rng.choice(["plan", "status"]), *world.table, "--dataset", str(path), *world.roots)[0]
    if status:
        return "refused"
    return _yaml_outcome(world, load_dataset(str(path), world.data).config.model_dump(), data, path)


def _yaml_outcome(world: World, built: dict[str, Any], data: bytes, path: Path) -> str:
    """Whether what was built agrees with what PyYAML's own reader finds, and its names can be parts of paths."""
    given = yaml.load(data, yaml.CSafeLoader)  # the other scanner refuses tabs within text, which YAML allows
    if given == yaml.load(world.good[path], yaml.CSafeLoader):
        return "unchanged"
    names = [built["name"], *(row[key] for row in built.get("rows", ()) for key in ("id", "method", "backbone"))]
    safe = all(NAME.fullmatch(name) and len(name) <= 100 for name in names)
    return "changed" if safe and agrees(built, given) and all_once(yaml.compose(data, yaml.CSafeLoader)) else "wrong"


def on_evaluated(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    """What is sound is scored; all else is refused by file, index and field."""
    gt = world.data / "gt.json"
    pred = world.given / "results.json" if path == gt else path
    metric = rng.choice(["ap", "ap", "tracking", "identity"])
    status, _, complaint = world.run("evaluate", metric, "--gt", str(gt), "--pred", str(pred))
    try:
        read = [_json_of(each) for each in (gt, pred)]
    except (ValueError, RecursionError, OSError, EOFError, zlib.error):
        return "refused" if status else "wrong"
    is_sound = plain_readers.sound_predictions if pred.suffix == ".gz" else plain_readers.sound_results
    sound = plain_readers.sound_annotations(read[0]) and is_sound(read[1], read[0])
    if status:  # how deep JSON may be nested is a matter of how deep the call is
        return "refused" if "recursion" in complaint or (not sound and PLACE.match(complaint)) else "wrong"
    return "wrong" if not sound else "unchanged" if data == world.good[path] else "changed"


def on_planned(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    plan = ["plan", *world.table, "--dataset", f"{world.given}/files.yaml", "--set", "train.init=null", *world.roots]
    if world.run(*plan)[0]:
        return "refused"
    sound = plain_readers.sound_annotations(_json_of(path))
    return "wrong" if not sound else "unchanged" if data == world.good[path] else "changed"


def _json_of(path: Path) -> Any:
    """The content of a file in which no object has a key twice."""
    data = path.read_bytes()

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    return json.loads(text, object_pairs_hook=once)


def on_record(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    """Any change of what a record says is found, and the cell is empty."""
    command = rng.choice([["plan"], ["plan", "--json"], ["status"], ["report"]])
    status, out, _ = world.run(*command, *world.table, *world.roots)
    try:
        same = record_text(read_record(path)).encode() == world.good[path]
    except UserError:
        named = command != ["plan"] or path.name in out
        empty = command != ["report"] or ",AP,0.3," not in (world.reports / "mine.csv").read_text()
        return "refused" if status == 0 and named and empty else "wrong"
    return "unchanged" if same else "wrong"


def on_sealed_record(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    """A record that somebody changed and gave a fitting digest shows numbers or nothing."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        record = json.loads(data)
        path.write_text(json.dumps(record | {"digest": digest_of(record)}))
    world.run(rng.choice(["plan", "status", "report"]), *world.table, *world.roots)
    record = read_record(path)
    if record_text(record).encode() == world.good[path]:
        return "unchanged"
    return "changed" if all(value is None or finite(value) for value in record.metrics.values()) else "wrong"


def on_attempt(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    """Whatever lies in an attempt's folder, the states stay those of DESIGN and the queue's view can be drawn."""
    for attempt in attempts_of(world.living):
        assert attempt.state() in ("pending", "running", "complete", "stopped", "failed", "killed")
        console = Console(file=io.StringIO(), force_terminal=rng.random() < 0.5)
        with live_view(console, on_interrupt="Ctrl-C stops") as show:
            show([Item(world.training, "running", attempt, message=str(attempt.ending() or ""))])
    other = rng.choice([["logs", world.living.folder.name], *([name, *world.table] for name in ("plan", "report"))])
    world.run(*other, *world.roots)
    out = world.run("status", *rng.choice([["--json"], []]), *world.table, *world.roots)[1]
    for attempt in attempts_of(world.living):
        attempt.submission()
    return "unchanged" if out in world.status else "changed"


def on_spec(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    return "unchanged" if world.living.read_spec().text() == world.good[path] else "wrong"


def _write_state(rng: random.Random, path: Path, state: Any) -> bool:
    """Sometimes write another state in place of changed bytes; tells whether it did."""
    draw = rng.random()
    if draw < 0.5:
        state = copy.deepcopy(state)
        change(rng, state, "json")
        torch.save(Touch() if draw < 0.05 else state, path)
    elif draw < 0.55:
        path.write_bytes(pickle.dumps(Touch()))
    return draw < 0.55


def on_checkpoint(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    """One that is not as it was sealed is passed over; one sealed again is read as plain data or refused."""
    sealed = _write_state(rng, world.checkpoint, world.state) or rng.random() < 0.5
    if sealed:
        content = world.checkpoint.read_bytes()
        seal = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        world.checkpoint.with_suffix(".json").write_text(json.dumps(seal))
    with contextlib.chdir(world.root):
        found = newest_valid([world.given], train_sig="a" * 64)
    if found is None:
        return "refused"
    same = world.checkpoint.read_bytes() == world.good[world.checkpoint]
    return "unchanged" if same else "changed" if sealed and is_plain(found.state) else "wrong"


def on_weights(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    _write_state(rng, path, {"state_dict": world.state["model"]})
    model = torch.nn.Linear(2, 2)
    with contextlib.chdir(world.root):
        left = load_initial_weights(model, path)
    random_start = {*left.missing, *left.mismatched}
    values = {name: value for name, value in model.state_dict().items() if name not in random_start}
    same = all(torch.equal(value, world.state["model"][name]) for name, value in values.items())
    return "unchanged" if same and not random_start else "changed"


def on_foreign(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    """What another program wrote is tensors of finite numbers or refused."""
    with contextlib.chdir(world.root):
        found = read_foreign(path)
    values = world.state["model"]
    if found.keys() == values.keys() and all(torch.equal(found[name], values[name]) for name in values):
        return "unchanged"
    return "changed" if all(bool(torch.isfinite(each).all()) for each in found.values()) else "wrong"


def on_scores(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    half: Any = rng.choice(["short", "long", "sizes", None])
    scores, text = read_server_scores(path, percent=rng.random() < 0.5, half=half)
    taken = len(scores) + len(passed_over(text, half))
    sound = all(value is None or 0 <= value <= 1 for value in scores.values()) and "AP" in scores
    return "changed" if sound and taken <= len(text.splitlines()) + 1 else "wrong"


def on_external(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    """What is sound and of all videos that are held out is a record of its own."""
    status, _, _ = world.run(*world.external, *world.roots)
    records = [read_record(each) for each in world.record.parent.glob("external-*.json")]
    if status:
        return "wrong" if records else "refused"
    read, annotations = _json_of(path), _json_of(world.data / "gt.json")
    sound = plain_readers.sound_results(read, annotations) and {each["video_id"] for each in read} == {"b"}
    known = all(0 <= each["score"] <= 1 for each in read) and len(records) == 1
    return "wrong" if not (sound and known) else "unchanged" if data == world.good[path] else "changed"


def on_manifest(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    if world.run("report", *world.table, *world.roots)[0]:
        return "refused"
    reports = json.loads(path.read_bytes())["reports"]
    kept = {name: entry for name, entry in json.loads(data)["reports"].items() if name != "mine"}
    path.write_bytes(world.good[path])
    world.run("report", *world.table, *world.roots)  # anew: states of runs change with time
    good = json.loads(path.read_bytes())["reports"]["mine"]
    return "wrong" if reports != kept | {"mine": good} else "changed" if kept else "unchanged"


def on_scene(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    (scene,) = read_scenes(path.parent)
    if scene.text() == world.good[path]:
        return "unchanged"
    for video in scene.videos:  # a browser draws what is read
        masks = [mask for pane in video.panes for track in pane.tracks for mask in track.masks]
        for counts in filter(None, masks):
            rle.decode(rle.Rle(size=[video.height, video.width], counts=counts))
    return "changed"


def on_odd(world: World, rng: random.Random, path: Path, data: bytes) -> str:
    """Where a file is read or written there is a FIFO, a device, a folder, a link to nothing or itself, or nothing."""
    commands = world.commands()
    command = rng.choice(commands)
    outs = [Path(each) for each in command if each.startswith(f"{world.root}/out")]
    path = rng.choice(outs) if outs and rng.random() < 0.6 else rng.choice(list(world.good))
    path.parent.mkdir(exist_ok=True)
    kind = rng.choice(list(ODD))
    path.unlink(missing_ok=True)
    ODD[kind](path)
    before = os.lstat(path) if os.path.lexists(path) else None
    status, _, complaint = world.run(*command)
    if complaint.count("\n") > 1 and "not made again" not in complaint:
        return "wrong"
    if before and path in outs and (os.lstat(path).st_ino != before.st_ino or not status):
        return "wrong"
    return "unchanged" if status == 0 else "refused"


ODD: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "FIFO": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "full device": lambda path: path.symlink_to("/dev/full"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "link to itself": lambda path: path.symlink_to(path),
}


def agrees(built: Any, given: Any) -> bool:
    """Whether what was built holds what a file gives, with the same types."""
    if isinstance(given, dict):
        return isinstance(built, dict) and all(key in built and agrees(built[key], each) for key, each in given.items())
    if isinstance(given, list):
        return isinstance(built, list | tuple) and len(built) == len(given) and all(map(agrees, built, given))
    return built == given and (type(built) is type(given) or (type(built), type(given)) == (float, int))


def all_once(node: yaml.Node) -> bool:
    """Whether no mapping of a YAML document has a key twice."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        return len(set(keys)) == len(keys) and all(all_once(value) for _, value in node.value)
    return not isinstance(node, yaml.SequenceNode) or all(map(all_once, node.value))


def finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def is_plain(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(is_plain, [*value, *value.values()] if isinstance(value, dict) else value))
    return value is None or isinstance(value, str | int | float | torch.Tensor)


ACTS: dict[str, list[Act]] = {
    "table": [on_table],
    "profile": [on_profile],
    "dataset": [on_dataset],
    "annotations": [on_evaluated, on_evaluated, on_planned],
    "results": [on_evaluated],
    "predictions": [on_evaluated],
    "record": [on_record],
    "sealed record": [on_sealed_record],
    "attempt": [on_attempt],
    "run": [on_spec],
    "checkpoint": [on_checkpoint],
    "weights": [on_weights],
    "scene": [on_scene],
    "foreign": [on_foreign],
    "scores": [on_scores],
    "external": [on_external],
    "manifest": [on_manifest],
    "odd": [on_odd],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started, counts, bad = time.monotonic(), {}, []
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        kinds = [given.only] if given.only else list(ACTS)
        for number in range(given.cases):
            kind, seed = kinds[number % len(kinds)], given.seed * 1_000_000 + number // len(kinds)
            outcome, why = run_case(world, kind, seed)
            counts.setdefault(kind, Counter())[outcome] += 1
            if outcome in ("traceback", "wrong"):
                bad.append(f"{kind} {seed}: {outcome}: {why}")
                print(bad[-1], file=sys.stderr, flush=True)
    table = {kind: {"cases": each.total(), **{name: each[name] for name in OUTCOMES}} for kind, each in counts.items()}
    total = {name: sum(each[name] for each in table.values()) for name in ("cases", *OUTCOMES)}
    seconds = round(time.monotonic() - started, 1)
    print(json.dumps({"seed": given.seed, "seconds": seconds, "total": total, "kinds": table}, indent=1))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
