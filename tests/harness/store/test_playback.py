"""What the page's viewer plays, as a file: what was written is read, and what could harm a page is refused."""

import base64
import json

import pytest

from ifrvis.errors import UserError
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.tables import load_tables
from ifrvis.harness.store.playback import read_scenes, rows_to_play

FRAME = base64.b64encode(b"\xff\xd8\xff\xe0 frame").decode()
TRACK = {"identity": 0, "name": "1", "category": "disc", "masks": ["01200", None]}  # the first row of 3 x 2 pixels
ERROR = {"kind": "lost", "frames": [1], "text": "object 1: no track"}
PANE = {"title": "Ours", "row": "ours", "tracks": [{**TRACK, "score": 0.5}], "errors": [ERROR], "lost": 0}
VIDEO = {"name": "one", "width": 2, "height": 3, "frames": [FRAME, FRAME]}
NAME = "smoke19-2ba3056e95d2.json"


def scene(pane=PANE, **video):
    panes = [{"title": "Ground truth", "tracks": [TRACK]}, pane]
    sides = {"rows": ["baseline", "ours"], "records": ["a" * 64, "b" * 64]}
    return {"schema": 1, "dataset": "smoke19", "seed": 0, **sides, "videos": [{**VIDEO, "panes": panes, **video}]}


def track(**changes):
    return scene({**PANE, "tracks": [{**TRACK, **changes}]})


def test_a_scene_is_read_as_it_was_written(tmp_path):
    (tmp_path / NAME).write_text(json.dumps(scene()))
    (found,) = read_scenes(tmp_path)
    assert found.file_name == NAME
    assert json.loads(found.text())["videos"][0]["panes"][1]["errors"] == [ERROR]
    (tmp_path / NAME).write_bytes(found.text())
    assert read_scenes(tmp_path) == [found]
    assert read_scenes(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "content",
    [
        {**scene(), "schema": 2},
        {**scene(), "more": 1},
        scene(frames=[FRAME, "%%%"]),
        scene(frames=[FRAME, base64.b64encode(b"<svg onload=alert(1)>").decode()]),
        scene(frames=[FRAME]),  # fewer than masks
        scene(width=10**6),
        scene({**PANE, "errors": [{**ERROR, "frames": [2]}]}),
        scene({**PANE, "errors": [{**ERROR, "kind": "</script>"}]}),
        track(masks=["0120", None]),  # not all pixels
        track(masks=["~" * 20, None]),  # a run that would take a browser for ever
        track(masks=["01200"]),
        track(identity=-1),
        track(score=float("inf")),
    ],
)
def test_what_no_viewer_should_play_is_refused(tmp_path, content):
    (tmp_path / NAME).write_text(json.dumps(content))
    with pytest.raises(UserError, match=NAME):
        read_scenes(tmp_path)


def test_a_scene_under_another_name_is_refused(tmp_path):
    (tmp_path / f"Copy of {NAME}").write_text(json.dumps(scene()))
    with pytest.raises(UserError, match=f"rename it to {NAME}"):
        read_scenes(tmp_path)


def test_rows_that_claims_compare_are_played_table_3_and_its_largest_backbone_first():
    tables = tuple(load_tables(["all"], load_profile("paper")))
    pairs = list(rows_to_play(TableRequest(tables, load_profile("mini"))))
    assert [row.id for row in pairs[0]] == ["mask2former-swin-l-q200-ytvis21", "ours-swin-l-q200-ytvis21"]
    assert all(one.method in ("mask2former", "seqformer") and other.method == "ours" for one, other in pairs)
