"""Hostile files through the real entry points: no traceback reaches the user, nothing wrong is accepted.

    python benchmarks/fuzz.py [--cases 10000] [--seed 0] [--only KIND]

A case takes one good file, changes it (bits, bytes, keys, types, nesting, huge numbers, encodings, bombs) and runs a
command on it in this process. It counts as

    refused     one message that says what to do and exit 2, or a file that is passed over and named
    unchanged   accepted, and what was read is what the good file says
    changed     accepted, and a second reader, written here, finds that the file soundly says something else
    traceback   an exception, a warning, another exit status, more than TIME_LIMIT_S
    wrong       accepted though unsound, or control characters on the terminal, or files where none belong

`tests/test_hostile.py` runs 500 of the same cases. Prints a JSON summary.
"""

import argparse
import contextlib
import copy
import gzip
import hashlib
import io
import json
import math
import pickle
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Never
from unittest import mock

import numpy as np
import torch
import yaml
from rich.console import Console

from ifrvis.cli import main as ifrvis
from ifrvis.datasets import rle
from ifrvis.datasets.catalog import load_dataset
from ifrvis.errors import UserError
from ifrvis.harness.attempts import attempts_of, claim
from ifrvis.harness.compose import load_profile
from ifrvis.harness.live import LiveView
from ifrvis.harness.local import Item
from ifrvis.harness.plan import Request
from ifrvis.harness.planner import make_plan
from ifrvis.harness.records import digest_of, publish_record, read_record
from ifrvis.harness.runs import Results
from ifrvis.harness.tables import load_table
from ifrvis.training.build import load_initial_weights
from ifrvis.training.checkpoints import newest_valid, save

ROOT = Path(__file__).resolve().parents[1]
TIME_LIMIT_S = 20
KINDS = ("table", "profile", "dataset", "annotations", "results", "predictions", "record", "sealed record")
KINDS += ("attempt", "run", "checkpoint", "weights", "manifest")
OUTCOMES = ("refused", "unchanged", "changed", "traceback", "wrong")
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VALUES = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e308, 10**9, 10**18, 2**63, 10**30, -(10**18), 1e-320, [], {}, [[]]),
    *("", " ", "1e-4", "../../x", "/etc/passwd", "a/b", "a\nb", "\x1b[31mred", "\ud800", "\u202eabc", "=1+1", "\0"),
    *("x" * 300, "x" * 100_000, "[/red]", "2001-01-01", {"": 1}, {"type": 1}, {"size": [6, 8], "counts": [48]}),
    *("34=", "ZT10O" * 400, "\x7f", "0", "o" * 50, "m" * 50, "\u20ac", "ooooooooooo1", {"size": [6, 8], "counts": "1"}),
]
KEYS = ["", "../x", "train", "model", "inference", "train.init", "train.threads", "train.optimizer", "model.track_head"]
NESTED = ["[" * depth + "]" * depth for depth in (50, 900, 100_000)]
TOKENS = {
    "json": ["NaN", "-Infinity", "1e999", "9" * 400, "9" * 5000, *NESTED, "{", "'a'", "1.", "tru"],
    "yaml": [
        *(".nan", ".inf", "1.0e+999", "2001-01-01", "2001-99-99", "12:30:45", "0x" + "f" * 5000, "~", "!!binary aGk="),
        *("!!set {a, b}", "!!omap [a: 1]", "!!str 5", "!!float nan", "!!int x", "&a [*a]", "*nowhere", "{<<: {a: 1}}"),
        *("!!python/object/apply:pathlib.Path.touch [canary]", "!!python/name:os.system", "!!python/tuple [1]"),
        *NESTED,
        "[&a [" + "x," * 10 + "]" + "".join(f", &{b} [{f'*{a},' * 10}]" for a, b in zip("abcdefgh", "bcdefghi")) + "]",
    ],
}


class Touch:
    """Unpickled, it would leave a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("canary"),)


Act = Callable[[random.Random, Path, bytes], str]  # run a command on a changed file: the outcome


class TimeUpError(BaseException):
    """A case took too long."""


def _time_is_up(*_: Any) -> Never:
    raise TimeUpError


def mutated(rng: random.Random, data: bytes, form: str) -> bytes:
    """The content of a good file of a form (yaml, json, gz: packed json, bytes) with one thing or a few changed."""
    if rng.random() < 0.03:
        return data
    if form == "gz" and rng.random() < 0.8:
        packed = gzip.compress(mutated(rng, gzip.decompress(data), "json"), mtime=0)
        return packed + rng.choice([b"", b"", b"\0", packed[:9]])
    if form in ("bytes", "gz") or rng.random() < 0.4:
        return _other_bytes(rng, data)
    tree = yaml.safe_load(data) if form == "yaml" else json.loads(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        _change(rng, tree, form)
    text = json.dumps(tree) if form == "json" else yaml.safe_dump(tree, sort_keys=False, width=10**6)
    text = re.sub(r"twice \d+ ", "", text)
    text = re.sub(r"'token (\d+)'|\"token (\d+)\"|token (\d+)", lambda m: TOKENS[form][int(m[1] or m[2] or m[3])], text)
    return text.encode(rng.choice(["utf-8"] * 8 + ["utf-16", "utf-8-sig"]), "surrogatepass")


def _other_bytes(rng: random.Random, good: bytes) -> bytes:
    data, at, end = bytearray(good), *sorted(rng.randrange(len(good) + 1) for _ in range(2))
    match rng.randrange(8):
        case 0 | 1 | 2 if data:
            for _ in range(rng.choice([1, 1, 1, 4, 30])):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 3:
            del data[at:]
        case 4:
            del data[at:end]
        case 5:
            data[at:at] = data[at:end]
        case 6:
            data[at:at] = rng.choice([b"\0", b"\xff\xfe", b"\n", b"\t", b"{", b"*", b"!!", b"\x1b[2J", b" " * 70_000])
        case _:
            data[at : at + 1] = rng.randbytes(rng.choice([1, 1, 3, 1000]))
    return bytes(data)


def _change(rng: random.Random, tree: Any, form: str) -> None:
    """Drop, replace, rename, repeat or move one entry of a tree."""
    spots = list(_spots(tree))
    if not spots:
        return
    holder, key = rng.choice(spots)
    match rng.randrange(7):
        case 0:
            del holder[key]
        case 1 | 2:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        case 3:
            holder[key] = f"token {rng.randrange(len(TOKENS[form]))}"
        case 4:
            other, name = rng.choice(spots)
            holder[key] = copy.deepcopy(other[name])
        case 5 if isinstance(holder, dict):
            name = rng.choice([f"twice 1 {key}", f"twice 1 {key}", key + "x", rng.choice(KEYS)])
            holder[name] = copy.deepcopy(rng.choice([holder[key], rng.choice(VALUES)]))
        case 5:
            holder.insert(key, copy.deepcopy(holder[key]))
        case _:
            value = holder[key]
            known = isinstance(value, int | float)
            holder[key] = rng.choice([value + 1, -value, value * 1e17, str(value)]) if known else [value]


def _spots(tree: Any) -> Iterator[tuple[Any, Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _spots(value)


class World:
    """Good files of every kind in one folder, and what is done with a changed one."""

    def __init__(self, root: Path) -> None:
        self.root, self.given, self.data = root, root / "in", root / "data"
        self.roots = [f"--data-root={self.data}", f"--results={root}/results", f"--reports={root}/reports"]
        self.table, self.reports = [f"{self.given}/table.yaml", "--profile", "smoke"], root / "reports" / "smoke"
        self.given.mkdir()
        self.cache = {"XDG_CACHE_HOME": str(self.data / "cache")}
        self._write_yaml()
        self._write_annotations()
        self._write_results()
        self.kinds = dict(zip(KINDS, self._targets(), strict=True))
        self.good = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        self.status = [self.run("status", *more, *self.table, *self.roots)[1] for more in ([], ["--json"])]

    def case(self, kind: str, seed: int) -> tuple[str, str]:
        """Run one case: its outcome, and what was found."""
        rng = random.Random(f"{kind}-{seed}")
        path, form, act = rng.choice(self.kinds[kind])
        data = mutated(rng, self.good[path], form)
        path.write_bytes(data)
        signal.signal(signal.SIGALRM, _time_is_up)
        signal.alarm(TIME_LIMIT_S)
        try:
            with warnings.catch_warnings(), mock.patch("os.fsync"), mock.patch.dict("os.environ", self.cache):
                warnings.simplefilter("error")
                outcome = act(rng, path, data)
            why = ""
        except UserError as error:
            outcome, why = "refused", str(error)
        except (Exception, TimeUpError):
            outcome, why = "traceback", traceback.format_exc()
        finally:
            signal.alarm(0)
        stray = {each.name for each in self.root.iterdir()} - {"in", "data", "results", "reports"}
        self._put_back()
        return ("wrong", f"left {stray}") if stray else (outcome, f"{path.name}: {why}")

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command in this process: exit status, output and errors, which a terminal can print as they are."""
        streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace")]
        out, err = streams
        with contextlib.chdir(self.root), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = ifrvis(list(arguments))
        for stream in streams:
            stream.seek(0)
        said, complained = (stream.read() for stream in streams)
        assert status in (0, 2), f"exit status {status}"
        assert (status == 2) == complained.startswith("ifrvis: "), complained
        assert not CONTROL.search(said + complained), "control characters reach the terminal"
        return status, said, complained

    def _put_back(self) -> None:
        for path in [*self.root.rglob("*")]:
            if path.is_file() and path not in self.good:
                path.unlink()
        for path, content in self.good.items():
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)

    def _write_yaml(self) -> None:
        table = yaml.safe_load((ROOT / "experiments/tables/table1.yaml").read_text())
        row = table["rows"][2] | {"set": {"train.iterations": 3, "train.optimizer.lr": 0.001}}
        claim = table["claims"][0] | {"pairs": [[row["id"], table["rows"][0]["id"]]]}
        table |= {"seeds": [0, 1], "notes": ["A note."], "rows": [table["rows"][0], row], "claims": [claim]}
        files = {"name": "files", "title": "Files", "categories": 2, "annotation": "gt.json", "frames": "frames"}
        files |= {"heldout": {"videos": ["b"]}, "root_variable": "IFRVIS_FUZZ_ROOT", "source": "Ask."}
        for name, content in (("table", table), ("files", files)):
            (self.given / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        weights = {"weight": torch.ones(2, 2), "bias": torch.zeros(2)}
        self.state: dict[str, Any] = {"train_sig": "a" * 64, "model": weights, "lr": [0.1, {}]}
        self.checkpoint = save(self.given, 3, self.state)
        torch.save({"state_dict": self.state["model"]}, self.given / "weights.pth")
        for name in ("profiles/smoke", "datasets/smoke19"):
            (self.given / f"{Path(name).name}.yaml").write_text((ROOT / "experiments" / f"{name}.yaml").read_text())

    def _write_annotations(self) -> None:
        mask = rle.encode(np.arange(48).reshape(6, 8) % 5 == 1)
        masks = [mask, None, {"size": [6, 8], "counts": [40, 8]}]
        videos = [
            {"id": number, "width": 8, "height": 6, "length": 3, "file_names": [f"{name}/{t}.jpg" for t in range(3)]}
            for number, name in ((1, "a"), (2, "b"))
        ]
        tracks = [
            {"id": 1, "video_id": 1, "category_id": 1, "iscrowd": 0, "segmentations": masks, "areas": [9, None, 8]},
            {"id": 2, "video_id": 1, "category_id": 2, "segmentations": [[[1.0, 1.0, 5.0, 1.0, 5.0, 4.5]], mask, mask]},
            {"id": 3, "video_id": 2, "category_id": 1, "iscrowd": 1, "segmentations": masks},
        ]
        names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        for name in (name for video in videos for name in video["file_names"]):
            (self.data / "frames" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.data / "frames" / name).write_bytes(b"frame")
        (self.data / "gt.json").write_text(json.dumps({"videos": videos, "categories": names, "annotations": tracks}))
        scored = ((1, 1, 0.9), (1, 2, 0.4), (2, 1, 3.5))
        results = [{"video_id": v, "category_id": c, "score": s, "segmentations": masks} for v, c, s in scored]
        (self.given / "results.json").write_text(json.dumps(results))
        kept = {"height": 6, "width": 8, "length": 3, "masks": {"0": masks, "4": masks[::-1]}}
        kept |= {"by_class": [[0, 1, 0.9], [4, 2, 0.3]], "by_query": [[0, 1, 0.9]]}
        content = json.dumps({"schema": 1, "videos": [{"video_id": number, **kept} for number in (1, 2)]})
        (self.given / "predictions.json.gz").write_bytes(gzip.compress(content.encode(), mtime=0))

    def _write_results(self) -> None:
        results = Results(self.root / "results")
        plan = make_plan(Request((load_table(self.table[0]),), load_profile("smoke"), self.data, results))
        finished, living = plan.trainings[1:]
        metrics = {"AP": 0.3, "AP50": 0.5, "AP75": 1e-05, "AR1": None, "AR10": 1 / 3, "per_category": {"1": {"AP": 0}}}
        sigs = {"train_sig": finished.sig, "eval_sig": finished.evaluations[0].sig}
        record = {"name": finished.name, "profile": "smoke", **sigs, "seed": 0, "method": "mask2former"}
        record |= {"backbone": "r50", "dataset": "smoke19", "protocol": "heldout", "metrics": metrics}
        record |= {"files": {}, "spec": {"é": finished.spec}, "provenance": {}, "attempts": []}
        self.record = results.record("smoke", finished.name, **sigs)
        publish_record(self.record, record)
        self.training, self.living = living, living.run(results)
        self.living.write_spec(living.spec)
        asked = {"name": living.name, "train_sig": living.sig, "evaluations": []}
        claim(self.living, asked).end("stopped", message="stopped at 2", seconds=3.5)
        attempt = claim(self.living, asked)
        attempt.beat({"phase": "training", "iteration": 2, "iterations": 4, "loss": 1.5, "eta_s": 3.0, "ap": 0.1})
        (attempt.folder / "job.json").write_text('{"machine": "other", "pid": 1, "started": "5"}')
        attempt.log.write_text("starting\niteration 2\n")
        self.run("report", *self.table, *self.roots)

    def _targets(self) -> list[list[tuple[Path, str, Act]]]:
        """For each of KINDS the files, their form and what is done with them."""
        first, second = (attempt.folder for attempt in attempts_of(self.living))
        lived = [(first / "exit.json", "json"), (second / "log.txt", "bytes")]
        lived += [(second / name, "json") for name in ("heartbeat", "job.json", "submit.json")]
        return [
            [(self.given / "table.yaml", "yaml", self.on_table)],
            [(self.given / "smoke.yaml", "yaml", self.on_profile)],
            [(self.given / f"{name}.yaml", "yaml", self.on_dataset) for name in ("smoke19", "files")],
            [(self.data / "gt.json", "json", self.on_annotations)],
            [(self.given / "results.json", "json", self.on_results)],
            [(self.given / "predictions.json.gz", "gz", self.on_results)],
            [(self.record, "json", self.on_record)],
            [(self.record, "json", self.on_sealed_record)],
            [(path, form, self.on_attempt) for path, form in lived],
            [(self.living.folder / "spec.json", "json", self.on_spec)],
            [(path, "bytes", self.on_checkpoint) for path in self.given.glob("iter_*")],
            [(self.given / "weights.pth", "bytes", self.on_weights)],
            [(self.reports / "manifest.json", "json", self.on_manifest)],
        ]

    def on_table(self, rng: random.Random, path: Path, data: bytes) -> str:
        status = self.run(rng.choice(["plan", "status", "report"]), *self.table, *self.roots)[0]
        return "refused" if status else self._yaml_outcome(asdict(load_table(str(path))), data, path)

    def on_profile(self, rng: random.Random, path: Path, data: bytes) -> str:
        arguments = [self.table[0], "--profile", str(path), *self.roots]
        status = self.run(rng.choice(["plan", "status", "report"]), *arguments)[0]
        return "refused" if status else self._yaml_outcome(asdict(load_profile(str(path))), data, path)

    def on_dataset(self, rng: random.Random, path: Path, data: bytes) -> str:
        status = self.run(rng.choice(["plan", "status"]), *self.table, "--dataset", str(path), *self.roots)[0]
        if status:
            return "refused"
        return self._yaml_outcome(asdict(load_dataset(str(path), self.data).config), data, path)

    def _yaml_outcome(self, built: dict[str, Any], data: bytes, path: Path) -> str:
        """Whether what was built agrees with what PyYAML's own reader finds, and its names can be parts of paths."""
        given = yaml.safe_load(data)
        if given == yaml.safe_load(self.good[path]):
            return "unchanged"
        names = [built["name"], *(row[key] for row in built.get("rows", ()) for key in ("id", "method", "backbone"))]
        safe = all(NAME.fullmatch(name) and len(name) <= 100 for name in names)
        return "changed" if safe and agrees(built, given) and all_once(yaml.compose(data)) else "wrong"

    def on_annotations(self, rng: random.Random, path: Path, data: bytes) -> str:
        evaluate = ["evaluate", "ap", "--gt", str(path), "--pred", f"{self.given}/results.json"]
        plan = ["plan", *self.table, "--dataset", f"{self.given}/files.yaml", "--set", "train.init=null", *self.roots]
        if self.run(*rng.choice([evaluate, evaluate, plan]))[0]:
            return "refused"
        return self._json_outcome(json.loads(data), path, sound_annotations)

    def on_results(self, rng: random.Random, path: Path, data: bytes) -> str:
        if self.run("evaluate", "ap", "--gt", f"{self.data}/gt.json", "--pred", str(path))[0]:
            return "refused"
        content = gzip.decompress(data) if path.suffix == ".gz" else data
        sound = sound_predictions if path.suffix == ".gz" else sound_results
        return self._json_outcome(json.loads(content), path, sound)

    def _json_outcome(self, content: Any, path: Path, sound: Callable[[Any], bool]) -> str:
        good = gzip.decompress(self.good[path]) if path.suffix == ".gz" else self.good[path]
        return "unchanged" if content == json.loads(good) else "changed" if sound(content) else "wrong"

    def on_record(self, rng: random.Random, path: Path, data: bytes) -> str:
        """Any change of what a record says is found, and the cell is empty."""
        command = rng.choice([["plan"], ["plan", "--json"], ["status"], ["report"]])
        status, out, _ = self.run(*command, *self.table, *self.roots)
        try:
            same = read_record(path) == json.loads(self.good[path])
        except UserError:
            named = command != ["plan"] or path.name in out
            empty = command != ["report"] or ",0.3," not in (self.reports / "table1-summary.csv").read_text()
            return "refused" if status == 0 and named and empty else "wrong"
        return "unchanged" if same else "wrong"

    def on_sealed_record(self, rng: random.Random, path: Path, data: bytes) -> str:
        """A record that somebody changed and gave a fitting digest shows numbers or nothing."""
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            record = json.loads(data)
            path.write_text(json.dumps(record | {"digest": digest_of(record)}))
        self.run(rng.choice(["plan", "status", "report"]), *self.table, *self.roots)
        record = read_record(path)
        if record == json.loads(self.good[path]):
            return "unchanged"
        shown = [value for value in record["metrics"].values() if not isinstance(value, dict | list)]
        return "changed" if all(value is None or finite(value) for value in shown) else "wrong"

    def on_attempt(self, rng: random.Random, path: Path, data: bytes) -> str:
        """Whatever lies in an attempt's folder, the states stay those of DESIGN and the queue's view can be drawn."""
        for attempt in attempts_of(self.living):
            assert attempt.state() in ("pending", "running", "complete", "stopped", "failed", "killed")
            with LiveView(Console(file=io.StringIO(), force_terminal=rng.random() < 0.5)) as view:
                view.update([Item(self.training, "running", attempt, message=str(attempt.ending() or ""))])
        other = rng.choice([["logs", self.living.folder.name], *([name, *self.table] for name in ("plan", "report"))])
        self.run(*other, *self.roots)
        out = self.run("status", *rng.choice([["--json"], []]), *self.table, *self.roots)[1]
        for attempt in attempts_of(self.living):
            attempt.submission()
        return "unchanged" if out in self.status else "changed"

    def on_spec(self, rng: random.Random, path: Path, data: bytes) -> str:
        return "unchanged" if self.living.read_spec() == json.loads(self.good[path]) else "wrong"

    def _write_state(self, rng: random.Random, path: Path, state: Any) -> bool:
        """Sometimes write another state in place of changed bytes; tells whether it did."""
        draw = rng.random()
        if draw < 0.5:
            state = copy.deepcopy(state)
            _change(rng, state, "json")
            torch.save(Touch() if draw < 0.05 else state, path)
        elif draw < 0.55:
            path.write_bytes(pickle.dumps(Touch()))
        return draw < 0.55

    def on_checkpoint(self, rng: random.Random, path: Path, data: bytes) -> str:
        """One that is not as it was sealed is passed over; one sealed again is read as plain data or refused."""
        sealed = self._write_state(rng, self.checkpoint, self.state) or rng.random() < 0.5
        if sealed:
            content = self.checkpoint.read_bytes()
            seal = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            self.checkpoint.with_suffix(".json").write_text(json.dumps(seal))
        with contextlib.chdir(self.root):
            found = newest_valid([self.given], train_sig="a" * 64)
        if found is None:
            return "refused"
        same = self.checkpoint.read_bytes() == self.good[self.checkpoint]
        return "unchanged" if same else "changed" if sealed and is_plain(found.state) else "wrong"

    def on_weights(self, rng: random.Random, path: Path, data: bytes) -> str:
        self._write_state(rng, path, {"state_dict": self.state["model"]})
        model = torch.nn.Linear(2, 2)
        with contextlib.chdir(self.root):
            left = load_initial_weights(model, path)
        random_start = {*left.missing, *left.mismatched}
        values = {name: value for name, value in model.state_dict().items() if name not in random_start}
        same = all(torch.equal(value, self.state["model"][name]) for name, value in values.items())
        return "unchanged" if same and not random_start else "changed"

    def on_manifest(self, rng: random.Random, path: Path, data: bytes) -> str:
        if self.run("report", *self.table, *self.roots)[0]:
            return "refused"
        reports = json.loads(path.read_bytes())["reports"]
        kept = {name: entry for name, entry in json.loads(data)["reports"].items() if name != "table1"}
        path.write_bytes(self.good[path])
        self.run("report", *self.table, *self.roots)  # anew: states of runs change with time
        good = json.loads(path.read_bytes())["reports"]["table1"]
        return "wrong" if reports != kept | {"table1": good} else "changed" if kept else "unchanged"


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


def finite(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and low <= value <= high


def is_plain(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(is_plain, [*value, *value.values()] if isinstance(value, dict) else value))
    return value is None or isinstance(value, str | int | float | torch.Tensor)


def runs_of(text: str) -> list[int]:
    """The runs of compressed counts, digit by digit; IndexError if the last one has no end."""
    runs, at = [], 0
    while at < len(text):
        value = shift = 0
        more = True
        while more:
            digit, at = ord(text[at]) - 48, at + 1
            assert 0 <= digit < 64
            value, shift, more = value | (digit & 31) << shift, shift + 5, digit & 32
        value -= (digit & 16 and 1) << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs


def sound_mask(value: Any, height: int, width: int) -> bool:
    if isinstance(value, list):
        return bool(value) and all(len(p) >= 6 and len(p) % 2 == 0 and all(map(finite, p)) for p in value)
    if value is None:
        return True
    counts = value["counts"] if isinstance(value["counts"], list) else runs_of(value["counts"])
    return value["size"] == [height, width] and min(counts) >= 0 and sum(counts) == height * width


def sound_masks(masks: Any, video: Any) -> bool:
    sides = [video["height"], video["width"]]
    return len(masks) == len(video["file_names"]) and all(sound_mask(mask, *sides) for mask in masks)


def sound_annotations(content: Any) -> bool:
    videos, ids = {video["id"]: video for video in content["videos"]}, {each["id"] for each in content["categories"]}
    names = [name for video in videos.values() for name in video["file_names"]]
    return (
        (len(videos), len(ids)) == (len(content["videos"]), len(content["categories"]))
        and all(finite(video[side], 1, 16384) for video in videos.values() for side in ("height", "width"))
        and not any(name.startswith("/") or ".." in name.split("/") for name in names)
        and len({track["id"] for track in content["annotations"]}) == len(content["annotations"])
        and all(sound_masks(each["segmentations"], videos[each["video_id"]]) for each in content["annotations"])
        and all(track["category_id"] in ids for track in content["annotations"])
    )


GT = {number: {"height": 6, "width": 8, "file_names": "abc"} for number in (1, 2)}


def sound_results(content: Any) -> bool:
    return all(
        each["category_id"] in GT and finite(each["score"]) and sound_masks(each["segmentations"], GT[each["video_id"]])
        for each in content
    )


def sound_predictions(content: Any) -> bool:
    videos = content["videos"]
    listed = [(video, triple) for video in videos for key in ("by_class", "by_query") for triple in video[key]]
    return (
        sorted(video["video_id"] for video in videos) == [1, 2]
        and all([video[key] for key in ("height", "width", "length")] == [6, 8, 3] for video in videos)
        and all(sound_masks(masks, GT[video["video_id"]]) for video in videos for masks in video["masks"].values())
        and all(str(q) in video["masks"] and c in GT and finite(score, 0, 1) for video, (q, c, score) in listed)
    )


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
        kinds = [given.only] if given.only else list(KINDS)
        for number in range(given.cases):
            kind, seed = kinds[number % len(kinds)], given.seed * 1_000_000 + number // len(kinds)
            outcome, why = world.case(kind, seed)
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
