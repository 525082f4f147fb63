"""What lies beside a record: small, read back as it was written, and nothing else is taken for it."""

import gzip
import json

import pytest

from ifrvis.datasets.ytvis import read_annotations
from ifrvis.errors import UserError
from ifrvis.evaluation.ap import average_precision, detections
from ifrvis.evaluation.identity import count_errors, identity_errors
from ifrvis.evaluation.predictions import read_results
from ifrvis.evaluation.protocols import load_protocol
from ifrvis.evaluation.scores import together
from ifrvis.evaluation.scoring import numbers_of
from ifrvis.evaluation.tracking import follow
from ifrvis.evaluation.videos import Videos, read_videos


@pytest.fixture
def case(request):
    """Ground truth and results of one of the oracle's cases."""
    folder = request.path.parents[1] / "data/oracle/ap/07"
    annotations = read_annotations(folder / "gt.json")
    return annotations, read_results(folder / "pred.json", annotations)


@pytest.fixture
def videos(case):
    followed = follow(*case, [load_protocol("all")])["all"]
    return Videos(
        categories=tuple(map(str, case[0].labels)),
        video_ids=tuple(sorted(case[0].video_by_id)),
        detections=tuple(detections(*case)),
        tracking=tuple({"all": counts} for counts in followed.counts),
        identity=tuple(of[None] for of in count_errors(case[0], followed.candidates, [None])),
    )


def test_a_file_reads_back_and_gives_every_number(case, videos, tmp_path):
    (tmp_path / "a.gz").write_bytes(videos.packed())
    found = numbers_of(read_videos(tmp_path / "a.gz"))
    expected = average_precision(*case)
    assert found["per_category"] == expected.pop("per_category")
    assert {name: list(values) for name, values in found["by_iou"].items()} == {
        name: expected.pop(f"{name}_by_iou") for name in ("AP", "AR100")
    }
    assert found["metrics"] == expected
    assert found["identity"] == together(each.counts for each in identity_errors(*case))
    assert found["tracking"] == {"all": follow(*case, [load_protocol("all")])["all"].metrics}


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
        (lambda said: said["tracking"][0]["all"].update(switches=-1) or said, "switches"),
        (lambda said: said["tracking"][0]["all"]["pairs"].append([1, 1, [1]]) or said, "pairs"),
        (lambda said: [said], "be keys and values"),
    ],
)
def test_what_is_something_else_is_refused_by_its_file(videos, tmp_path, change, message):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(json.dumps(change(json.loads(gzip.decompress(videos.packed())))).encode()))
    with pytest.raises(UserError, match=message) as caught:
        read_videos(path)
    assert str(path) in str(caught.value)
