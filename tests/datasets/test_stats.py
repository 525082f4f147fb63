"""Counts of a set that can be counted by hand, and the command that prints and draws them.

Also tests: ifrvis.commands.data.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from ifrvis.cli import main
from ifrvis.datasets.rle import encode
from ifrvis.datasets.stats import draw_stats, stats_of
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video
from ifrvis.packed import packed

DIAMETER = 2 * (100 / np.pi) ** 0.5


def track(id_, video_id, lefts, *, category_id=1, is_crowd=False):
    """A square of 10 pixels with its left side at these places; None where it is not seen."""
    masks = []
    for left in lefts:
        mask = np.zeros((20, 60), bool)
        mask[5:15, (left or 0) : (left or 0) + 10] = True
        masks.append(None if left is None else encode(mask))
    return Track(id_, video_id, category_id, tuple(masks), (None,) * len(masks), is_crowd)


def test_counts_are_those_counted_by_hand():
    videos = tuple(Video(k, 60, 20, ("a.jpg",) * n, f"v{k}") for k, n in ((1, 3), (2, 2), (3, 1)))
    tracks = (
        track(1, 1, [0, 8, 20]),
        track(2, 1, [20, 16, 0]),  # boxes of 1 and 2 share a fifth in the second frame
        track(3, 1, [20, 16, 0], category_id=2),  # another class: no crossing
        track(4, 1, [None, None, 11]),  # a tenth of track 1's at most
        track(5, 2, [0, None]),
        track(6, 2, [None, 0]),  # never at the same time
        track(7, 2, [0, 0], is_crowd=True),
    )
    categories = (Category(1, "a"), Category(2, "b"), Category(3, "c"))
    stats = stats_of(Annotations(Path("gt.json"), categories, videos, tracks))
    assert stats.lengths == [3, 2, 1]
    assert stats.instances == [4, 2, 0]
    assert stats.spans == [3, 3, 3, 1, 1, 1]
    assert stats.categories == {"a": 5, "b": 1, "c": 0}
    assert stats.crossings == [1, 0, 0]
    assert [each.twins for each in stats.strata] == [True, True, False]
    assert stats.areas == [pytest.approx(100 / 1200)] * 6
    assert stats.motions == [pytest.approx(10 / DIAMETER), *[pytest.approx(10 / DIAMETER)] * 2, None, None, None]
    # 2 and 3 share all; 1 has 8 to 18 where they have 16 to 26, then 20 to 30 where they have 0 to 10, and 4 11 to 21
    assert stats.overlaps == [pytest.approx((100 / 200 + 140 / 180 + (100 + 10) / 290) / 3), 0.0, None]
    axes = Figure().subplots(1, 4)
    draw_stats(stats, axes)
    assert [ax.get_xlabel() for ax in axes][2:] == ["crossings of a video", "tracks"]
    assert [bar.get_height() for bar in axes[2].patches] == [2, 1]
    assert [label.get_text() for label in axes[3].get_yticklabels()] == ["a", "b", "c"]


def test_the_commands_check_a_mini_set_and_print_and_draw_what_it_holds(tmp_path, capsys):
    check = ["data", "check", "smoke19", "--data-root", str(tmp_path), "--decode"]
    assert main(check) == 2
    assert "error, missing: Run `ifrvis data make-mini smoke19`" in capsys.readouterr().out
    assert main(["data", "make-mini", "smoke19", "--data-root", str(tmp_path)]) == 0
    assert main(check) == 0
    out = capsys.readouterr().out
    assert ("train: sound" in out, "heldout: sound" in out, "6 videos, 36 frames" in out) == (True, True, True)
    stats = ["data", "stats", "smoke19", "--data-root", str(tmp_path), "--split"]
    assert main([*stats, "heldout", "--plot", str(tmp_path / "stats.png")]) == 0
    assert "videos      4, 24 frames, 6 to 6, mean 6.00 a video" in capsys.readouterr().out
    assert (tmp_path / "stats.png").read_bytes()[1:4] == b"PNG"
    (tmp_path / "folder.PDF").mkdir()
    assert main([*stats, "heldout", "--plot", str(tmp_path / "folder.PDF")]) == 2
    assert "Choose another file" in capsys.readouterr().err
    assert main([*stats, "train", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["lengths"]) == 6
    assert main([*stats, "nothing"]) == 2
    assert "Choose --split among train" in capsys.readouterr().err
    assert main([*stats, "dev"]) == 2
    cure = re.search("`ifrvis (data make-mini smoke19 --contact-sheet )dev.png`", capsys.readouterr().err)[1].split()
    assert main([*cure, str(tmp_path / "dev.png"), "--data-root", str(tmp_path)]) == 0
    assert main([*stats, "dev"]) == 0
    capsys.readouterr()
    text = (packed("experiments", "datasets") / "smoke19.yaml").read_text()
    (tmp_path / "own.yaml").write_text(text.replace("name: smoke19", "name: own").replace("dev: 2", "dev: 0"))
    assert main(["data", "stats", str(tmp_path / "own.yaml"), "--split", "dev"]) == 2  # it cannot be made
    assert "Choose --split among train, heldout, pretrain, full, server: got 'dev'" in capsys.readouterr().err
    assert main(["data", "stats", "ytvis19", "--split", "dev"]) == 2
    assert "Choose --split among train, heldout, full, server: got 'dev'" in capsys.readouterr().err


def test_some_videos_can_be_counted_alone(tmp_path, capsys):
    assert main(["data", "make-mini", "smoke19", "--data-root", str(tmp_path)]) == 0
    stats = ["data", "stats", "smoke19", "--data-root", str(tmp_path), "--videos", "00002", "00004"]
    capsys.readouterr()
    assert main([*stats, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["strata"]) == 2
    assert main([*stats, "absent"]) == 2
    assert "Choose videos among 00000, 00001, 00002" in capsys.readouterr().err
    sheet = ["data", "make-mini", "smoke19", "smoke21", "--data-root", str(tmp_path), "--contact-sheet", "sheet.png"]
    assert main(sheet) == 2
    assert "Give one set with --contact-sheet" in capsys.readouterr().err


def test_what_no_video_shows_has_no_number(tmp_path, capsys):
    one = {"id": 1, "width": 4, "height": 3, "file_names": ["a/0.jpg"]}  # without a second frame nothing moves
    track = {"id": 1, "video_id": 1, "category_id": 1, "segmentations": [{"size": [3, 4], "counts": [2, 3, 7]}]}
    content = {"videos": [one], "categories": [{"id": 1, "name": "$\\frac$"}], "annotations": [track]}
    (tmp_path / "gt.json").write_text(json.dumps(content))
    (tmp_path / "a").mkdir()
    (tmp_path / "a/0.jpg").touch()
    config = "{name: my, title: x, categories: 1, schedule: ytvis19, annotation: gt.json, frames: .}"
    (tmp_path / "my.yaml").write_text(config)
    plot = ["--plot", str(tmp_path / "x.pdf")]  # in which the name is no formula
    stats = ["data", "stats", str(tmp_path / "my.yaml"), "--data-root", str(tmp_path), "--split", "full"]
    assert main([*stats, *plot]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "motion      none, diameters a frame" in lines
    assert any(line.startswith("area        median 0.250") for line in lines)


@pytest.mark.parametrize("name", ["x.foo", "x", "png", "x.pgf"])
@pytest.mark.parametrize("command", [["stats", "smoke19", "--plot"], ["make-mini", "smoke19", "--contact-sheet"]])
def test_a_picture_of_no_known_kind_is_refused_before_any_work(command, name, tmp_path, capsys):
    assert main(["data", *command, name, "--data-root", str(tmp_path)]) == 2
    assert f"Correct {command[-1]}: give a file that ends in .png or ." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
