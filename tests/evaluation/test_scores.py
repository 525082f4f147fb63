"""What a record may hold of numbers, and how they are made of predictions.

Also tests: ifrvis.evaluation.scoring.
"""

from pathlib import Path

import numpy as np

from ifrvis.datasets.rle import encode
from ifrvis.datasets.ytvis import Annotations, Category, Track, Video
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.predictions import Scored, VideoPredictions, results_of, write_predictions
from ifrvis.evaluation.scores import Scores
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
    assert found.identity["change"] == 1
    assert videos.video_ids == (1, 2)
    assert {name: each.metrics for name, each in found.tracking.items()} == numbers_of(videos)["tracking"]
    assert Scores.model_validate_json(found.model_dump_json()) == found


def test_as_many_tracks_count_as_inference_has_put_out(tmp_path):
    mask, path = encode(np.ones((4, 5), bool)), tmp_path / "predictions.json.gz"
    annotations = Annotations(Path("gt.json"), (Category(1, "a"),), (Video(1, 5, 4, ("a.jpg",), "v"),), ())
    queries = tuple(Scored(query, 1, 0.9) for query in range(12))
    masks = dict.fromkeys(range(12), (mask,))
    write_predictions(path, [VideoPredictions(1, 4, 5, 1, masks, queries, queries)])
    found, _ = score_file(annotations, path)
    assert {each.metrics["tracks_per_video"] for each in found.tracking.values()} == {12}
