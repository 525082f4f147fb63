"""Good files of every kind in one folder, for `fuzz.py` to change, and the commands that are given them."""

import contextlib
import gzip
import io
import json
import pickle
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ifrvis.cli import main as ifrvis
from ifrvis.datasets import rle
from ifrvis.evaluation.scores import Scores
from ifrvis.files import publish_once
from ifrvis.harness.plan.plan import Request
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.attempts import attempts_of, claim
from ifrvis.harness.store.lives import Progress
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.playback import Scene
from ifrvis.harness.store.records import publish_record
from ifrvis.training.checkpoints import save

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
METRICS = ("ap", "tracking", "identity")
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class World:
    """The files, by kind with their form, and their content; `run` runs a command on them."""

    def __init__(self, root: Path) -> None:
        self.root, self.given, self.data = root, root / "in", root / "data"
        self.roots = [f"--data-root={self.data}", f"--results={root}/results", f"--reports={root}/reports"]
        self.table, self.reports = [f"{self.given}/table.yaml", "--profile", "smoke"], root / "reports" / "smoke"
        self.external = ["ingest", "--predictions", f"{self.given}/theirs.json", "--table", f"{self.given}/theirs.yaml"]
        self.external += ["--row", "theirs", "--profile", "smoke"]
        self.given.mkdir()
        self.packed = self.given / "predictions.json.gz"
        self._write_yaml()
        self._write_annotations()
        self._write_results()
        self.files = self._by_kind()
        self.good = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        self.status = [self.run("status", *more, *self.table, *self.roots)[1] for more in ([], ["--json"])]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command in this process: exit status, output and errors, which a terminal can print as they are."""
        streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace")]
        out, err = streams
        with contextlib.chdir(self.root), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = ifrvis(list(arguments))
        for stream in streams:
            stream.seek(0)
        said, complained = (stream.read() for stream in streams)
        assert status in (0, 2) or (status, arguments[0]) in ((1, "verify"), (1, "data")), f"exit status {status}"
        assert (status == 2) == complained.startswith("ifrvis: "), complained
        assert not CONTROL.search(said + complained), "control characters reach the terminal"
        return status, said, complained

    def commands(self) -> list[list[str]]:
        """One of each command that reads or writes a file, and is over in a moment."""
        gt, results = self.data / "gt.json", self.given / "results.json"
        out, scored = str(self.root / "out"), ["--gt", f"{gt}", "--pred"]
        tables = [[name, *self.table, *self.roots] for name in ("plan", "status", "report")]
        files = ["--dataset", f"{self.given}/files.yaml", "--set", "train.init=null"]
        return [
            *tables,
            [*tables[0], *files],
            [*tables[0], "--init", f"{self.given}/weights.pth"],
            *(["evaluate", metric, *scored, f"{each}"] for metric in METRICS for each in (results, self.packed)),
            *(["data", name, f"{self.given}/files.yaml", *self.roots] for name in ("check", "split")),
            ["data", "stats", f"{self.given}/files.yaml", "--split", "full", "--plot", f"{out}/a.png", *self.roots],
            ["submission", f"{results}", "--annotation", f"{gt}", "--out", f"{out}/a.zip"],
            ["submission", "--check", f"{self.given}/results.zip", "--annotation", f"{gt}"],
            ["weights", "convert", f"{self.given}/weights.pth", f"{out}/a.pth"],
            [*self.external, *self.roots],
            ["ingest", self.living.folder.name, "--zip", f"{self.given}/results.zip", "--scores", f"{gt}", *self.roots],
            ["predict", f"{self.checkpoint}", f"{self.data}/frames/a", "--out", f"{out}/a", *self.roots],
            ["logs", self.living.folder.name, *self.roots],
            ["verify", *self.roots],
            ["prune", *self.roots],
        ]

    def put_back(self) -> set[str]:
        """Make all files good again; tells what was left where no files belong."""
        stray = {each.name for each in self.root.iterdir()} - {"in", "data", "results", "reports", "out"}
        shutil.rmtree(self.root / "out", ignore_errors=True)
        for path in sorted(self.root.rglob("*"), reverse=True):
            odd = path.is_symlink() or not (path.is_file() or path.is_dir())
            if odd or (path.is_file() and path not in self.good):
                path.unlink()
            elif path in self.good and path.is_dir():
                path.rmdir()
        for path, content in self.good.items():
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)
        return stray

    def _write_yaml(self) -> None:
        table = yaml.safe_load((ROOT / "experiments/tables/table1.yaml").read_text())
        row = table["rows"][2] | {"set": {"train.iterations": 3, "train.optimizer.lr": 0.001}}
        claim = table["claims"][0] | {"pairs": [[row["id"], table["rows"][0]["id"]]]}
        table |= {
            "name": "mine",
            "seeds": [0, 1],
            "notes": ["A note."],
            "rows": [table["rows"][0], row],
            "claims": [claim],
        }
        files = {"name": "files", "title": "Files", "categories": 2, "annotation": "gt.json", "frames": "frames"}
        files |= {"heldout": {"videos": ["b"]}, "root_variable": "IFRVIS_FUZZ_ROOT", "source": "Ask."}
        files |= {"schedule": "ytvis19"}
        for name, content in (("table", table), ("files", files)):
            (self.given / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        weights = {"weight": torch.ones(2, 2), "bias": torch.zeros(2)}
        self.state: dict[str, Any] = {"train_sig": "a" * 64, "model": weights, "lr": [0.1, {}]}
        self.checkpoint = save(self.given, 3, self.state)
        torch.save({"state_dict": self.state["model"]}, self.given / "weights.pth")
        arrays = {name: value.numpy() for name, value in weights.items()}
        (self.given / "weights.pkl").write_bytes(pickle.dumps({"model": arrays, "iteration": np.int64(3)}))
        (self.given / "scores.txt").write_text(
            "mAP_S: 0.41\nAP50_L: 40.5 %\nmAP: -1\nAR@10 = .5\nAPs: 0.1\nframes: 3\n"
        )
        row = {"id": "theirs", "method": "external", "backbone": "r50", "dataset": f"{self.given}/files.yaml"}
        theirs = {**table, "name": "theirs", "rows": [row], "claims": []}
        (self.given / "theirs.yaml").write_text(yaml.safe_dump(theirs))
        for name in ("profiles/smoke", "datasets/smoke19"):
            (self.given / f"{Path(name).name}.yaml").write_text((ROOT / "experiments" / f"{name}.yaml").read_text())

    def _write_annotations(self) -> None:
        mask = rle.encode(np.arange(48).reshape(6, 8) % 5 == 1)
        masks = [mask, None, {"size": [6, 8], "counts": [40, 8]}]
        videos: list[dict[str, Any]] = [
            {"id": number, "width": 8, "height": 6, "length": 3, "file_names": [f"{name}/{t}.jpg" for t in range(3)]}
            for number, name in ((1, "a"), ("b", "b"))
        ]
        tracks = [
            {"id": 1, "video_id": 1, "category_id": 1, "iscrowd": 0, "segmentations": masks, "areas": [9, None, 8]},
            {
                "id": "t",
                "video_id": 1,
                "category_id": "d",
                "segmentations": [[[1.0, 1.0, 5.0, 1.0, 5.0, 4.5]], mask, mask],
            },
            {"id": 3, "video_id": "b", "category_id": 1, "iscrowd": 1, "segmentations": masks},
        ]
        names = [{"id": 1, "name": "cat"}, {"id": "d", "name": "dog"}]
        for name in (name for video in videos for name in video["file_names"]):
            (self.data / "frames" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.data / "frames" / name).write_bytes(b"frame")
        (self.data / "gt.json").write_text(json.dumps({"videos": videos, "categories": names, "annotations": tracks}))
        scored = ((1, 1, 0.9), (1, "d", 0.4), ("b", 1, 3.5))
        results = [{"video_id": v, "category_id": c, "score": s, "segmentations": masks} for v, c, s in scored]
        (self.given / "results.json").write_text(json.dumps(results))
        (self.given / "theirs.json").write_text(
            json.dumps([{**each, "video_id": "b", "score": 0.5} for each in results])
        )
        kept = {"height": 6, "width": 8, "length": 3, "masks": {"0": masks, "4": masks[::-1]}}
        kept |= {"by_class": [[0, 1, 0.9], [4, "d", 0.3]], "by_query": [[0, 1, 0.9]]}
        given = [f"{self.given}/results.json", "--annotation", f"{self.data}/gt.json"]
        self.run("submission", *given, "--out", f"{self.given}/results.zip")
        content = json.dumps({"schema": 1, "videos": [{"video_id": number, **kept} for number in (1, "b")]})
        self.packed.write_bytes(gzip.compress(content.encode(), mtime=0))

    def _write_results(self) -> None:
        from made_records import asked, record_of

        store = Store(self.root / "results")
        plan = make_plan(Request((load_table(self.table[0]),), load_profile("smoke"), data_root=self.data, store=store))
        finished, living, *_ = (each for each in plan.trainings if not each.is_pretraining)
        metrics = {"AP": 0.3, "AP50": 0.5, "AP75": 1e-05, "AR1": None, "AR10": 1 / 3, "IDs": 3}
        scores = Scores(metrics=metrics, per_category={"é": {"AP": 0.0}})
        record = record_of(finished, finished.evaluations[0], scores=scores, initial_weights={"é": [1, None, 0.5]})
        publish_record(store, record)
        self.record = store.record("smoke", record.name, record.train_sig, record.eval_sig)
        self.training, self.living = living, living.run(store)
        self.living.write_spec(living.spec)
        claim(self.living, asked()).end("stopped", message="stopped at 2", seconds=3.5)
        attempt = claim(self.living, asked())
        attempt.beat(Progress(phase="training", iteration=2, iterations=4, loss=1.5, eta_s=3.0, ap=0.1))
        (attempt.folder / "job.json").write_text('{"machine": "other", "pid": 1, "started": "5"}')
        attempt.log.write_text("starting\niteration 2\n")
        mask = rle.encode(np.arange(48).reshape(6, 8) % 5 == 1)["counts"]
        tracks = [{"identity": 0, "name": "1", "category": "é", "masks": [mask, None], "score": 0.5}]
        error = {"kind": "lost", "frames": [1], "text": "object 1: no track"}
        pane = {"title": "Ours", "row": self.training.name, "tracks": tracks, "errors": [error], "lost": 1}
        video = {"name": "a", "width": 8, "height": 6, "frames": ["/9j/4AA="] * 2, "panes": [pane]}
        sides = {"dataset": "smoke19", "seed": 0, "rows": ["a", "b"], "records": ["a" * 64, "b" * 64]}
        scene = Scene.model_validate_json(json.dumps({"schema": 1, **sides, "videos": [video]}))
        publish_once(store.scenes("smoke") / scene.file_name, scene.text())
        self.run("report", *self.table, *self.roots)

    def _by_kind(self) -> dict[str, list[tuple[Path, str]]]:
        first, second = (attempt.folder for attempt in attempts_of(self.living))
        lived = [(first / "exit.json", "json"), (second / "log.txt", "bytes")]
        return {
            "table": [(self.given / "table.yaml", "yaml")],
            "profile": [(self.given / "smoke.yaml", "yaml")],
            "dataset": [(self.given / f"{name}.yaml", "yaml") for name in ("smoke19", "files")],
            "annotations": [(self.data / "gt.json", "json")],
            "results": [(self.given / "results.json", "json")],
            "predictions": [(self.given / "predictions.json.gz", "gz")],
            "record": [(self.record, "json")],
            "sealed record": [(self.record, "json")],
            "attempt": lived + [(second / name, "json") for name in ("heartbeat", "job.json", "submit.json")],
            "run": [(self.living.folder / "spec.json", "json")],
            "checkpoint": [(path, "bytes") for path in self.given.glob("iter_*")],
            "weights": [(self.given / "weights.pth", "bytes")],
            "foreign": [(self.given / "weights.pkl", "bytes"), (self.given / "weights.pth", "bytes")],
            "scores": [(self.given / "scores.txt", "bytes")],
            "external": [(self.given / "theirs.json", "json")],
            "scene": [(path, "json") for path in self.root.glob("results/scenes/smoke/*")],
            "manifest": [(self.reports / "manifest.json", "json")],
            "odd": [(self.given / "table.yaml", "")],
        }
