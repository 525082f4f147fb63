"""`ifrvis evaluate` reads video by video: the same numbers, in the same memory, by any number of processes.

Also tests: ifrvis.commands.terminal.
"""

import json
import tracemalloc

import pytest
from made_sets import written
from rich.console import Console

from ifrvis.cli import main
from ifrvis.commands.terminal import progress
from ifrvis.datasets.rle import encode


@pytest.fixture
def made(tmp_path, rng):
    """`made(number)`: the options that name ground truth and predictions of so many videos, of ten frames each."""

    def make(number):
        masks = [encode(rng.random((40, 50)) < 0.5) for _ in range(20)]
        gt = {"videos": [], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], "annotations": []}
        entries = []
        for video_id in range(number):
            names = [f"{video_id}/{t}.jpg" for t in range(10)]
            gt["videos"].append({"id": video_id, "width": 50, "height": 40, "file_names": names})
            for index in range(5):
                tube = [masks[k] for k in rng.integers(20, size=10)]
                one = {"video_id": video_id, "category_id": index % 2 + 1, "segmentations": tube}
                if index < 2:
                    gt["annotations"].append({**one, "id": 2 * video_id + index})
                entries.append({**one, "score": float(rng.random())})
        return written(tmp_path, gt, rng.permutation(entries).tolist())

    return make


COMMANDS = [["ap"], ["tracking", "--protocol", "matched"], ["identity", "--protocol", "common"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_processes_that_share_the_videos_print_the_same_bytes(made, capsys, command):
    given, said = made(20), []
    for jobs in ("1", "2"):
        assert main(["evaluate", *command, *given, "--jobs", jobs, "--json"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_first_video_that_is_wrong_is_said_whoever_works_on_it(made, tmp_path, capsys, jobs):
    given = made(20)
    entries = json.loads((tmp_path / "pred.json").read_text())
    entries[40]["score"], entries[50]["segmentations"] = None, 3
    first = min((40, 50), key=lambda index: entries[index]["video_id"])
    (tmp_path / "pred.json").write_text(json.dumps(entries))
    assert main(["evaluate", "ap", *given, "--jobs", jobs]) == 2
    assert f"pred.json: [{first}]." in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_memory_does_not_grow_with_the_number_of_videos(made, capsys, monkeypatch, command):
    monkeypatch.setattr("ifrvis.parts._AT_ONCE", 1 << 14)  # else what is read at a time is as large as all of this
    peaks = []
    for number in (8, 8, 80):  # the first loads what is loaded once
        given = made(number)
        tracemalloc.start()
        assert main(["evaluate", *command, *given]) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1]


def test_where_no_terminal_is_progress_is_a_line_every_thirty_seconds(monkeypatch, capsys):
    now = iter([0.0, 10.0, 31.0, 31.0, 40.0, 62.0, 62.0])
    monkeypatch.setattr("ifrvis.commands.terminal.time.monotonic", lambda: next(now))
    with progress("scoring videos", Console(stderr=True, force_terminal=False)) as update:
        for done in (1, 2, 3, 4):
            update(done, 4)
    assert capsys.readouterr().err.splitlines() == ["scoring videos: 50 %", "scoring videos: 100 %"]
