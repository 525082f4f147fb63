"""Zips for a server and the scores that it gives back, as files and by the commands.

Also tests: ifrvis.commands.submission, ifrvis.harness.store.making.
"""

import json
import zipfile
from pathlib import Path

import pytest
from made_records import asked, evaluation, made_run
from made_sets import as_json

from ifrvis.cli import main
from ifrvis.datasets.ytvis import Annotations, Category, Video
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import Prediction, Scored, VideoPredictions, write_predictions
from ifrvis.evaluation.submission import comment_of, passed_over, read_server_scores, read_submission, write_submission
from ifrvis.harness.spec.compose import compose_row
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.attempts import claim, latest
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import Server, read_record

RLE = {"size": [4, 5], "counts": "34="}
VIDEOS = (Video(7, 5, 4, ("v/0.jpg", "v/1.jpg"), "v"), Video(9, 5, 4, ("w/0.jpg",), "w"))
ANNOTATIONS = Annotations(Path("valid.json"), (Category(1, "cat"),), VIDEOS, ())
TRACKS = (Prediction(7, 1, 0.1 + 0.2, (RLE, None)), Prediction(9, 1, 0.5, (RLE,)))


def packed(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes | str) else json.dumps(content), **options)
    return path


def test_a_zip_comes_back_as_it_was_and_equal_predictions_give_equal_bytes(tmp_path):
    path = tmp_path / "results.zip"
    write_submission(path, TRACKS, comment="whole-12")
    assert read_submission(path, ANNOTATIONS) == TRACKS
    assert comment_of(path) == "whole-12"
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["results.json"]
        entry = json.loads(archive.read("results.json"))[0]
    assert entry == {"video_id": 7, "category_id": 1, "score": 0.1 + 0.2, "segmentations": [RLE, None]}
    before = path.read_bytes()
    write_submission(path, TRACKS, comment="whole-12")
    assert path.read_bytes() == before
    with pytest.raises(UserError, match=r"remove .*results.zip: it has other predictions"):
        write_submission(path, TRACKS[:0], comment="whole-13")
    assert path.read_bytes() == before


ENTRY = TRACKS[0].to_json()
BROKEN = {
    "no results": ({}, "Pack results.json alone"),
    "another name": ({"result.json": []}, "it holds 'result.json'"),
    "in a folder": ({"out/results.json": []}, "Pack results.json alone"),
    "one more": ({"results.json": [], "__MACOSX/x": ""}, "Pack results.json alone"),
    "outside": ({"../results.json": []}, "Pack results.json alone"),
    "absolute": ({"/results.json": []}, "Pack results.json alone"),
    "a way out beside it": ({"results.json": [], "../../etc/passwd": ""}, "Pack results.json alone"),
    "bomb": ({"results.json": b" " * 20_000_000}, "unpacks from"),
    "not JSON": ({"results.json": "["}, "is not valid JSON"),
    "deep JSON": ({"results.json": "[" * 100_000}, "is not valid JSON"),
    "not a list": ({"results.json": {}}, "results.json: expected a list"),
    "another split's video": ({"results.json": [{**ENTRY, "video_id": 8}]}, r"results\.json: \[0\]\.video_id"),
    "too short": ({"results.json": [{**ENTRY, "segmentations": [RLE]}]}, r"\[0\]\.segmentations: expected a list of 2"),
    "runs as numbers": (
        {"results.json": [ENTRY, {**ENTRY, "segmentations": [None, {"size": [4, 5], "counts": [3, 4, 13]}]}]},
        r"\[1\]\.segmentations\[1\]: expected counts as compressed text",
    ),
    "polygons": (
        {"results.json": [{**ENTRY, "segmentations": [[[1, 1, 4, 1, 4, 4]], None]}]},
        r"\[0\]\.segmentations\[0\]",
    ),
    "score": ({"results.json": [{**ENTRY, "score": float("nan")}]}, r"\[0\]\.score"),
}


@pytest.mark.parametrize(("members", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_zip_that_no_server_takes_is_refused(tmp_path, members, message):
    with pytest.raises(UserError, match=message) as caught:
        read_submission(packed(tmp_path / "bad.zip", members), ANNOTATIONS)
    assert "bad.zip" in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["bad.zip"]


def test_what_is_no_zip_or_was_damaged_or_locked_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bad.zip"
    with pytest.raises(UserError, match="does not exist"):
        read_submission(path, ANNOTATIONS)
    for data in (b"", b"PK\5\6", b"text", packed(tmp_path / "x", {"results.json": "[]"}).read_bytes()[:-30]):
        path.write_bytes(data)
        with pytest.raises(UserError, match="it is not a zip"):
            read_submission(path, ANNOTATIONS)
    data = bytearray(packed(path, {"results.json": [ENTRY] * 9}).read_bytes())
    for changed, message in (
        ((60, 0xFF), "cannot be unpacked"),
        ((data.index(b"PK\1\2") + 8, 1), "without a password"),
    ):
        path.write_bytes(data[: changed[0]] + bytes([changed[1]]) + data[changed[0] + 1 :])
        with pytest.raises(UserError, match=message):
            read_submission(path, ANNOTATIONS)
    path.write_bytes(data)
    monkeypatch.setattr("ifrvis.files.MAX_JSON_BYTES", 100)
    with pytest.raises(UserError, match="more than 100 bytes"):
        read_submission(path, ANNOTATIONS)


@pytest.mark.parametrize(
    ("text", "percent", "expected"),
    [
        ("mAP: 0.5\nAP_0.50 = 0.75\nAR@10 : 1e-1\ntime: 33\n", False, {"AP": 0.5, "AP50": 0.75, "AR10": 0.1}),
        ('{"AP": 50.0, "APs": -1, "AR1": 25, "user": "x"}', True, {"AP": 0.5, "APs": None, "AR1": 0.25}),
        ("AP: 0.5 %\nAR1 = 0.25\nAP75: -1", False, {"AP": 0.005, "AR1": 0.25, "AP75": None}),
        ("AP: 0.5%\nAR1 = 25", True, {"AP": 0.005, "AR1": 0.25}),
        (
            "AP: 0\nAPl: -1\nAP_M: 0.5\nAP_small: 0\nAR@100 = 1",
            False,
            {"AP": 0, "APl": None, "APm": 0.5, "APs": 0, "AR100": 1},
        ),
    ],
)
def test_scores_are_read_as_servers_write_them(tmp_path, text, percent, expected):
    path = tmp_path / "scores.txt"
    path.write_text(text)
    assert read_server_scores(path, percent=percent) == (expected, text)


OF_2022 = "mAP_S: 0.41\nAP50_S: 0.61\nAR10_S: .5\nmAP_L: 0.3\nAP50_L: 0.4\nAR1_L: 0.2\nmAP: 0.355\nframes per s: 3\nend"


@pytest.mark.parametrize(
    ("text", "half", "expected"),
    [
        (OF_2022, "short", {"AP": 0.41, "AP50": 0.61, "AR10": 0.5}),
        (OF_2022, "long", {"AP": 0.3, "AP50": 0.4, "AR1": 0.2}),
        ('{"AP": 0.5, "AP_S": 0.1, "ap_l": 0.2, "AP short": 0.9}', "sizes", {"AP": 0.5, "APs": 0.1, "APl": 0.2}),
    ],
)
def test_which_half_a_line_is_about_is_asked_and_the_rest_is_listed(tmp_path, text, half, expected):
    path = tmp_path / "scores.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=r"^Say with --half what '"):
        read_server_scores(path)
    assert read_server_scores(path, half=half)[0] == expected
    if text == OF_2022:
        assert {"mAP", "frames per s", "end"} < set(passed_over(text, half))
    assert len(passed_over(text, half)) == (len(text.splitlines()) if text == OF_2022 else 4) - len(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a line or a key with AP"),
        ("AP50: 0.1", "a line or a key with AP"),
        ("AP: 50.1", "give --percent"),
        ("AP: nan", "a line or a key with AP"),
        ('{"AP": NaN}', "a fraction from 0 to 1"),
        ("AP: 0.5\nmAP: 0.6", "AP once"),
        ('{"AP": 0.5, "AP": 0.6}', "AP once"),
        ('{"AP": true}', "a line or a key with AP"),
        ("AP: -0.5", "a fraction from 0 to 1"),
        ("[1]", "a line or a key with AP"),
        ("AP: 0.5" + " " * 70_000, "^Give a smaller file .* at most 65536 are read"),
    ],
)
def test_scores_that_are_none_are_refused(tmp_path, text, message):
    path = tmp_path / "scores.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_server_scores(path)


@pytest.fixture
def run(tmp_path):
    """A run that has predicted, and what the commands need to find it."""
    run = made_run(Store(tmp_path / "results"), seed=3)
    predicted = evaluation({"mode": "whole"}, "ab" * 32, "server")
    claim(run, asked(profile="smoke", dataset="smoke19", evaluations=(predicted,)))
    masks = {4: (RLE, None)}, {4: (RLE,)}
    videos = [
        VideoPredictions(v.id, 4, 5, v.length, m, (Scored(4, 1, 0.5),), (Scored(4, 1, 0.5),))
        for v, m in zip(VIDEOS, masks)
    ]
    write_predictions(run.predictions(predicted.inference, predicted.split), videos)
    (tmp_path / "valid.json").write_text(json.dumps(as_json(ANNOTATIONS) | {"annotations": None}))
    return run


def test_from_a_run_to_a_zip_to_a_record_of_a_server(run, tmp_path, capsys):
    roots, out = ["--results", f"{tmp_path}/results", "--data-root", f"{tmp_path}/data"], tmp_path / "out.zip"
    valid = ["--annotation", f"{tmp_path}/valid.json"]
    assert main(["submission", "mask2", *roots, *valid, "--out", str(out)]) == 0
    assert main(["submission", "--check", str(out), *roots, *valid]) == 0
    assert capsys.readouterr().out.endswith("out.zip is sound: 2 tracks in 2 videos\n")
    (tmp_path / "scores.txt").write_text("mAP: 0.25\n")
    given = ["--zip", str(out), "--scores", f"{tmp_path}/scores.txt", "--server", "a server"]
    ingest = ["ingest", "mask2", *roots, *given]
    assert main(ingest) == 0
    (path,) = (tmp_path / "results/records/smoke").iterdir()
    record = read_record(path)
    assert (record.protocol, record.origin, record.metrics, record.seed) == ("server", "server", {"AP": 0.25}, 3)
    assert record.server == Server(address="a server", said="mAP: 0.25\n")
    assert set(record.files) == {"submission", "scores"}
    assert str(tmp_path) not in path.read_text()
    capsys.readouterr()
    assert main(ingest) == 2
    assert capsys.readouterr().err.startswith(f"ifrvis: Remove {path} if these scores shall take its place")
    packed(out, {"results.json": []})
    assert main(ingest) == 2
    assert "Use a zip that `ifrvis submission mask2` wrote" in capsys.readouterr().err


def test_a_row_says_which_of_several_predictions_are_packed(run, tmp_path, capsys):
    row = next(row for row in load_table("table4").rows if row.id == "ours-swin-l-clip2-ytvis19")
    inference = compose_row(row, load_profile("smoke"), {}, num_classes=1).inference
    latest(run).end("complete")
    more = evaluation(inference, "ab" * 32, "server")
    claim(run, asked(profile="smoke", dataset="smoke19", evaluations=(more,)))
    videos = [VideoPredictions(v.id, 4, 5, v.length, {}, (), ()) for v in VIDEOS]
    write_predictions(run.predictions(inference, "ab" * 32), videos)
    roots, out = ["--results", f"{tmp_path}/results", "--annotation", f"{tmp_path}/valid.json"], tmp_path / "out.zip"
    assert main(["submission", "mask2", *roots, "--out", str(out)]) == 2
    assert "Name one row with --row table/row" in capsys.readouterr().err
    assert main(["submission", "mask2", *roots, "--out", str(out), "--row", "table4/ours-swin-l-clip2-ytvis19"]) == 0
    assert "out.zip: 0 tracks" in capsys.readouterr().out
    for name, message in (("ours", "Write table/row"), ("table4/ours-swin-l-ytvis19", "under this row are none")):
        assert main(["submission", "mask2", *roots, "--row", name]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["submission"], "Give either a run to pack or --check ZIP"),
        (["submission", "absent"], "Correct the name"),
        (["submission", "--check", "absent.zip"], "Give --annotation"),
        (["submission", "mask2"], "Give --annotation: the server split of smoke19 is no longer what was predicted"),
        (["ingest", "mask2", "--zip", "absent.zip", "--scores", "x"], "the zip absent.zip does not exist"),
    ],
)
def test_a_mistake_is_one_message_and_exit_2(run, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--results", "results", "--data-root", "data"]) == 2
    assert message in capsys.readouterr().err
