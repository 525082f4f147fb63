"""What lies beside a record: small, read back as it was written, and nothing else is taken for it."""

import gzip
import json

import pytest
from made_sets import videos_of

from ifrvis.errors import UserError
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.identity import identity_errors
from ifrvis.evaluation.protocols import load_protocol
from ifrvis.evaluation.scores import together
from ifrvis.evaluation.scoring import numbers_of
from ifrvis.evaluation.tracking import follow
from ifrvis.evaluation.videos import read_videos


def test_a_file_reads_back_and_gives_every_number(case, tmp_path):
    (tmp_path / "a.gz").write_bytes(videos_of(*case).packed())
    found = numbers_of(read_videos(tmp_path / "a.gz"))
    expected, tracked = average_precision(*case), follow(*case, [load_protocol("all")])["all"].metrics
    assert found["per_category"] == expected.pop("per_category")
    assert {name: list(values) for name, values in found["by_iou"].items()} == {
        name: expected.pop(f"{name}_by_iou") for name in ("AP", "AR100")
    }
    assert found["metrics"] == expected | tracked
    assert found["identity"] == together(each.counts for each in identity_errors(*case))
    assert found["tracking"] == {"matched": tracked}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said | {"schema": 2}, "schema"),
        (lambda said: said | {"categories": []}, "Name in 'categories'"),
        (lambda said: said | {"video_ids": said["video_ids"][1:]}, "Give each video detections, tracking and identity"),
        (lambda said: said["identity"].pop() and said, "Give each video detections, tracking and identity"),
        (lambda said: said["identity"][0].update(tracked=10**6) or said, "'tracked' and 'never_found'"),
        (lambda said: said["tracking"][0].clear() or said, "Count all videos under the same tracking protocols"),
        (lambda said: said["detections"][0]["scores"].append(0.1) or said, "Give each prediction"),
        (lambda said: said["detections"][0]["hits"][0].append(1 << 10) or said, "hits"),
        (lambda said: said["tracking"][0]["matched"].update(switches=-1) or said, "switches"),
        (lambda said: said["tracking"][0]["matched"]["pairs"].append([1, 1, [1]]) or said, "pairs"),
        (lambda said: [said], "be keys and values"),
    ],
)
def test_what_is_something_else_is_refused_by_its_file(case, tmp_path, change, message):
    path, said = tmp_path / "a.gz", json.loads(gzip.decompress(videos_of(*case).packed()))
    path.write_bytes(gzip.compress(json.dumps(change(said)).encode()))
    with pytest.raises(UserError, match=message) as caught:
        read_videos(path)
    assert str(path) in str(caught.value)
