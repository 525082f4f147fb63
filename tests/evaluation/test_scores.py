"""What a record may hold of numbers, and how they are made of predictions.

Also tests: ifrvis.evaluation.scoring.
"""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from ifrvis.datasets.rle import encode
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.predictions import Scored, VideoPredictions, results_of, write_predictions
from ifrvis.evaluation.scores import Identity, Scores, together
from ifrvis.evaluation.scoring import numbers_of, score_file


def test_a_record_carries_ap_three_protocols_a_curve_and_identity_errors(tmp_path):
    mask = encode(np.ones((4, 5), bool))
    videos = (Video(1, 5, 4, ("a.jpg",) * 3, "v"), Video(2, 5, 4, ("a.jpg",), "w"))
    track = Track(1, 1, 1, (mask,) * 3, (None,) * 3)
    annotations = Annotations(Path("gt.json"), (Category(1, "a"), Category(2, "b")), videos, (track,))
    scored = (Scored(5, 1, 0.9), Scored(6, 2, 0.7))
    masks = {5: (mask, None, None), 6: (None, mask, mask)}
    predictions = [VideoPredictions(1, 4, 5, 3, masks, scored, scored), VideoPredictions(2, 4, 5, 1, {}, (), ())]
    write_predictions(tmp_path / "predictions.json.gz", predictions)
    found, videos = score_file(annotations, tmp_path / "predictions.json.gz")
    ap = average_precision(annotations, results_of(predictions))
    assert (found.per_category, list(found.by_iou["AP"])) == (ap.pop("per_category"), ap.pop("AP_by_iou"))
    assert list(found.by_iou["AR100"]) == ap.pop("AR100_by_iou")
    assert found.metrics.items() >= ap.items()
    assert (found.metrics["IDF1"], found.metrics["IDs"]) == (4 / 6, 1)
    assert found.tracking.keys() == {"top10", "common", "matched"}
    assert found.tracking["matched"].metrics.items() <= found.metrics.items()
    assert {len(values) for values in found.over_thresholds.values()} == {len(found.over_thresholds["threshold"])}
    assert found.identity == together(videos.identity) == Identity(change=1, tracked=3, object_frames=3, objects=1)
    thresholds = found.over_thresholds["threshold"]
    at = {threshold: place for place, threshold in enumerate(thresholds)}
    assert [found.identity_curve[name][at[0.7]] for name in ("change", "lost", "tracked")] == [1, 0, 3]
    assert [found.identity_curve[name][at[0.75]] for name in ("change", "lost", "tracked")] == [0, 1, 1]
    assert {len(values) for values in found.identity_curve.values()} == {len(thresholds)}
    assert videos.video_ids == (1, 2)
    assert {name: each.metrics for name, each in found.tracking.items()} == numbers_of(videos)["tracking"]
    assert Scores.model_validate_json(found.model_dump_json()) == found


CURVE = dict.fromkeys(("switch", "merged", "lost", "duplicate", "never_found"), (0,) * 4)
CURVE |= {"change": (9, 5, 5, 1), "lost": (1, 0, 0, 0), "tracked": (80, 60, 70, 20)}


@pytest.mark.parametrize(
    ("recall", "errors"),
    [
        (0.2, 1 / 20),  # at the last threshold
        (0.1, 0.5 / 10),  # half way to no track at all
        (0.45, 3 / 45),  # half way between 20 and 70 object-frames tracked
        (0.65, 4.6 / 65),  # first reached there, too
        (0.75, 8.75 / 75),  # three quarters of the way from 60 to 80
        (0.8, 10 / 80),
        (0.81, None),
    ],
)
def test_errors_at_a_share_of_tracked_object_frames_are_interpolated(recall, errors):
    """So that the scores of two methods need not be alike."""
    scores = Scores(
        metrics={},
        over_thresholds={"threshold": (0.0, 0.3, 0.6, 0.9)},
        identity=Identity(object_frames=100),
        identity_curve=CURVE,
    )
    assert scores.errors_at(recall) == (errors and pytest.approx(errors))
    assert Scores(metrics={}).errors_at(recall) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity_curve": CURVE | {"lost": (0,) * 3}}, "each at every threshold"),
        ({"identity_curve": {"lost": (0,) * 4}}, "each at every threshold"),
        ({"identity": {"tracked": 3, "object_frames": 2}}, "'tracked' and 'never_found'"),
        ({"identity": {"never_found": 1}}, "'tracked' and 'never_found'"),
    ],
)
def test_numbers_of_identity_errors_that_do_not_agree_are_refused(changes, message):
    sound = {"metrics": {}, "over_thresholds": {"threshold": (0.0, 0.3, 0.6, 0.9)}, "identity_curve": CURVE}
    Scores.model_validate(sound)
    with pytest.raises(ValidationError, match=message):
        Scores.model_validate(sound | changes)


def test_as_many_tracks_count_as_inference_has_put_out(tmp_path):
    mask, path = encode(np.ones((4, 5), bool)), tmp_path / "predictions.json.gz"
    annotations = Annotations(Path("gt.json"), (Category(1, "a"),), (Video(1, 5, 4, ("a.jpg",), "v"),), ())
    queries = tuple(Scored(query, 1, 0.9) for query in range(12))
    masks = dict.fromkeys(range(12), (mask,))
    write_predictions(path, [VideoPredictions(1, 4, 5, 1, masks, queries, queries)])
    found, _ = score_file(annotations, path)
    assert {each.metrics["tracks_per_video"] for each in found.tracking.values()} == {12}
