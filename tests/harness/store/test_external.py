"""Other programs' predictions are records of rows that say so, and of no others."""

import json

import numpy as np
import pytest
import yaml

from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.datasets.rle import encode
from ifrvis.evaluation.predictions import Scored, VideoPredictions, results_of, write_predictions
from ifrvis.evaluation.scores import Scores
from ifrvis.evaluation.scoring import score_file
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import Records, read_record
from ifrvis.reporting.match import make_reports

VIDEOS = ("a", "b", "c")


def bar(left, right):
    return encode(np.tile((np.arange(16) >= left) & (np.arange(16) < right), (8, 1)))


def predicted(rng, shift=0):
    """Two queries a video, near its two objects, each under both classes."""
    videos = []
    for number in range(1, len(VIDEOS) + 1):
        masks = {q: tuple(bar(8 * q + shift, 8 * q + 5) for _ in range(2)) for q in (0, 1)}
        scored = [Scored(q, c, round(float(rng.random()), 6)) for q in (0, 1) for c in (1, 2)]
        scored.sort(key=lambda each: -each.score)
        best = {each.query: each for each in reversed(scored)}
        by_query = tuple(sorted(best.values(), key=lambda each: -each.score))
        videos.append(VideoPredictions(number, 8, 16, 2, masks, tuple(scored), by_query))
    return videos


@pytest.fixture
def world(tmp_path):
    """A data set that holds all its videos out but one, a table with an external row, and files of three seeds."""
    names = [*VIDEOS, "trained"]
    videos = [
        {"id": n, "width": 16, "height": 8, "length": 2, "file_names": [f"{name}/{t}.jpg" for t in range(2)]}
        for n, name in enumerate(names, start=1)
    ]
    tracks = [
        {"id": 2 * n + q, "video_id": n, "category_id": 1 + q, "segmentations": [bar(8 * q, 8 * q + 4 + q)] * 2}
        for n in range(1, len(names) + 1)
        for q in (0, 1)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    gt = {"videos": videos, "categories": categories, "annotations": tracks}
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    for video in videos:
        for name in video["file_names"]:
            (tmp_path / "frames" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "frames" / name).touch()
    dataset = {"name": "mine", "title": "Mine", "categories": 2, "schedule": "ytvis19"}
    dataset |= {"annotation": str(tmp_path / "gt.json"), "frames": str(tmp_path / "frames")}
    dataset |= {"heldout": {"videos": [*VIDEOS]}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(dataset))
    row = {"id": "theirs", "method": "external", "backbone": "r50", "dataset": str(tmp_path / "mine.yaml")}
    ours = {**row, "id": "ours", "method": "mask2former", "label": "Ours"}
    table = {"name": "mine", "title": "T", "protocol": "heldout", "seeds": [3, 4, 5], "metrics": ["AP", "IDF1"]}
    claim = {"text": "theirs is better", "place": "here", "pairs": [["theirs", "ours"]]}
    claim["says"] = [{"metric": "AP", "of": "mean", "side": "higher"}]
    table |= {"rows": [{**row, "label": "Theirs"}, ours], "claims": [claim]}
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(table))
    for seed in range(3):
        found = predicted(np.random.default_rng(seed), shift=seed)
        write_predictions(tmp_path / f"s{seed}.json.gz", found)
        (tmp_path / f"s{seed}.json").write_text(json.dumps([each.to_json() for each in results_of(found)]))
    return tmp_path


def given(world, *files, results="results", row="theirs"):
    roots = ["--results", f"{world}/{results}", "--data-root", str(world), "--profile", "smoke"]
    predictions = ["--predictions", *(f"{world}/{each}" for each in files)]
    return ["ingest", *predictions, "--table", f"{world}/table.yaml", "--row", row, *roots]


def records_of(world, results="results"):
    return [read_record(path) for path in sorted(Store(world / results).records("smoke").glob("*.json"))]


def test_own_predictions_exported_and_ingested_give_the_same_numbers(world, capsys):
    assert main(given(world, "s0.json", "s1.json", "s2.json")) == 0
    assert capsys.readouterr().out.count("seed ") == 3
    assert main(given(world, "s0.json.gz", "s1.json.gz", "s2.json.gz", results="packed")) == 0
    annotations = load_dataset(str(world / "mine.yaml"), world).split("heldout").read()
    for seed, exported, packed in zip((3, 4, 5), records_of(world), records_of(world, "packed"), strict=True):
        expected, _ = score_file(annotations, world / f"s{seed - 3}.json.gz")
        assert 0 < expected.metrics["AP"] < 1
        for record in (exported, packed):
            assert (record.origin, record.method, record.seed, record.spec) == ("external", "external", seed, None)
            assert Scores(**{name: getattr(record, name) for name in Scores.model_fields}) == expected
    capsys.readouterr()
    main(["verify", "--results", f"{world}/results", "--data-root", str(world), "--reports", f"{world}/reports"])
    assert "0 wrong" in capsys.readouterr().out


def test_predictions_of_a_video_that_is_not_held_out_are_refused_by_its_name(world, capsys):
    entries = json.loads((world / "s0.json").read_text())
    (world / "all.json").write_text(json.dumps([*entries, entries[0] | {"video_id": 4}]))
    assert main(given(world, "all.json")) == 2
    said = capsys.readouterr().err
    command = f"data split {world}/mine.yaml"
    assert f"Score the 3 held-out videos alone, which `ifrvis {command}` lists: video 4 (trained) in " in said
    assert main([*command.split(), "--data-root", str(world)]) == 0
    (world / "wrong.json").write_text(json.dumps([*entries, entries[0] | {"video_id": 5}]))
    assert main(given(world, "wrong.json")) == 2
    assert "expected an id that the annotation file defines, got 5" in capsys.readouterr().err


def test_a_report_shows_them_headed_so_and_in_no_trained_row(world, capsys):
    assert main(given(world, "s0.json", "s1.json")) == 0
    table = load_table(str(world / "table.yaml"))
    records = Records(Store(world / "results").records("smoke")).all_readable()
    (report,) = make_reports(TableRequest((table,), load_profile("smoke")), records)
    theirs, ours = report.rows
    assert (sorted(theirs.found), dict(ours.found)) == ([3, 4], {})
    assert report.cells["theirs", "AP"].n == 2
    roots = ["--results", f"{world}/results", "--reports", f"{world}/reports", "--data-root", str(world)]
    assert main(["report", str(world / "table.yaml"), "--profile", "smoke", *roots]) == 0
    shown = (world / "reports/smoke/mine.md").read_text()
    assert "Theirs (external)" in shown
    assert "theirs: predicted by another program, scored here" in shown.replace("\\", "")
    capsys.readouterr()
    assert main(["plan", str(world / "table.yaml"), "--profile", "smoke", "--set", "train.init=null", *roots]) == 0
    assert "theirs" not in capsys.readouterr().out


def test_what_would_be_wrong_or_a_second_record_is_refused_and_nothing_is_written(world, capsys):
    entries = json.loads((world / "s0.json").read_text())
    changed = {
        "missing": ([each for each in entries if each["video_id"] != 2], "has no entry of 1 of the 3 videos"),
        "extra": ([*entries, {**entries[0], "video_id": 4}], "video 4 (trained) in "),
        "wrong": ([{**entries[0], "segmentations": entries[0]["segmentations"][:1]}], "segmentations"),
        "score": ([{**each, "score": each["score"] + 3} for each in entries], "a score from 0 to 1"),
    }
    for name, (content, message) in changed.items():
        (world / f"{name}.json").write_text(json.dumps(content))
        assert main(given(world, "s1.json", f"{name}.json")) == 2
        assert message in capsys.readouterr().err
    for files, row, message in (
        (["s0.json", "s0.json"], "theirs", "is the same as"),
        (["s0.json"] * 4, "theirs", "at most 3 files"),
        (["s0.json"], "ours", "`method: external`"),
        (["s0.json"], "none", "no row 'none'"),
    ):
        assert main(given(world, *files, row=row)) == 2
        assert message in capsys.readouterr().err
    assert not (world / "results").exists()
    assert main([*given(world, "missing.json"), "--absent-are-empty"]) == 0
    assert main(given(world, "s0.json")) == 2
    assert "if another file shall take its place" in capsys.readouterr().err
    for both in (["run", "--predictions", f"{world}/s0.json"], []):
        assert main(["ingest", *both]) == 2
        assert "Give a run, --zip and --scores; or --predictions FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"set": {"train.iterations": 3}}, "Remove 'set' and 'inference' of an external row"),
        ({"inference": {"side": 3}}, "Remove 'set' and 'inference' of an external row"),
    ],
)
def test_an_external_row_says_nothing_of_a_training(world, change, message, capsys):
    content = yaml.safe_load((world / "table.yaml").read_text())
    content["rows"][0] |= change
    (world / "table.yaml").write_text(yaml.safe_dump(content))
    assert main(given(world, "s0.json")) == 2
    assert message in capsys.readouterr().err
