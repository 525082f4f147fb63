"""Kept results of one row, made without training: two seeds and the report of them."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.evaluation.predictions import Scored, VideoPredictions, write_predictions
from ifrvis.evaluation.scores import scores_of_file
from ifrvis.files import canonical_json, sha256_file
from ifrvis.harness.attempts import claim
from ifrvis.harness.compose import load_profile
from ifrvis.harness.identity import SCORING_VERSION
from ifrvis.harness.plan import Request
from ifrvis.harness.planner import make_plan
from ifrvis.harness.queue import submission
from ifrvis.harness.records import publish_record
from ifrvis.harness.runs import Results
from ifrvis.harness.tables import load_table

ROW = "mask2former-r50-ytvis19"
SMOKE = ["--profile", "smoke", "--rows", ROW, "--seeds", "2"]


@dataclass
class Kept:
    """Where everything lies, and the options that say so."""

    roots: list[str]
    request: Request
    reports: Path

    def plan(self):
        return make_plan(self.request)

    def run(self, *arguments):
        return main([*arguments, *self.roots])


def finish(training, request):
    """Keep what a run that completed would keep: its predictions are the ground truth, one video in two."""
    run = training.run(request.results)
    run.write_spec(training.spec)
    attempt = claim(run, submission(training, request, workers=0))
    attempt.checkpoints.mkdir()
    checkpoint = attempt.checkpoints / "iter_000004.pth"
    checkpoint.write_bytes(bytes(range(256)))
    seal = {"bytes": 256, "sha256": sha256_file(checkpoint)}
    checkpoint.with_suffix(".json").write_bytes(canonical_json(seal))
    run.weights.write_bytes(b"weights")
    curve = {"0": 0.0, "4": 0.25}
    run.curve.write_bytes(canonical_json(curve))
    for evaluation in training.evaluations:
        annotations = evaluation.split.read()
        path = run.predictions(evaluation.inference, evaluation.split.fingerprint)
        write_predictions(path, [_perfect(video, annotations) for video in annotations.videos])
        record = {
            **{"name": training.name, "profile": request.profile.name, "off_spec": False, "dataset": "smoke19"},
            **{"train_sig": training.sig, "eval_sig": evaluation.sig, "protocol": evaluation.protocol},
            **{key: getattr(training, key) for key in ("seed", "method", "backbone")},
            **scores_of_file(annotations, path),
            "files": {"predictions": sha256_file(path), "weights": sha256_file(run.weights)},
            "inference": evaluation.inference,
            "scoring": SCORING_VERSION,
            "spec": run.read_spec(),
            "provenance": {"data": {"evaluation": evaluation.split.fingerprint}},
            "curve": curve,
            "attempts": [{"reason": "running", "kind": "", "seconds": 36.0}],
        }
        publish_record(request.results.record("smoke", training.name, training.sig, evaluation.sig), record)
    attempt.end("complete", seconds=36.0)


def _perfect(video, annotations):
    tracks = annotations.tracks_of(video.id)[: 1 + video.id % 2]
    scored = tuple(Scored(number, track.category_id, 0.9 - 0.1 * number) for number, track in enumerate(tracks))
    masks = {number: track.masks for number, track in enumerate(tracks)}
    return VideoPredictions(video.id, video.height, video.width, video.length, masks, scored, scored)


@pytest.fixture(scope="session")
def smoke_data(tmp_path_factory):
    """A data root with the held-out split of the smoke set."""
    root = tmp_path_factory.mktemp("data")
    load_dataset("smoke19", root).make("heldout")
    return root


@pytest.fixture
def kept(smoke_data, tmp_path, capsys, monkeypatch):
    """Two finished runs of one row, without pretraining, and the report of them."""
    monkeypatch.setattr("os.fsync", lambda _: None)  # nothing here outlives the power, and it takes most of the time
    profile = tmp_path / "smoke.yaml"
    text = (Path(__file__).parents[2] / "experiments" / "profiles" / "smoke.yaml").read_text()
    profile.write_text(text.replace("train.init: pretraining", "train.init: null"))
    results, reports = tmp_path / "results", tmp_path / "reports"
    request = Request((load_table("table1"),), load_profile(str(profile)), smoke_data, Results(results), (ROW,), 2)
    for training in make_plan(request).trainings:
        finish(training, request)
    roots = ["--data-root", str(smoke_data), "--results", str(results), "--reports", str(reports)]
    found = Kept(roots, request, reports)
    assert found.run("report", "table1", "--profile", str(profile), "--rows", ROW, "--seeds", "2") == 0
    capsys.readouterr()
    return found
