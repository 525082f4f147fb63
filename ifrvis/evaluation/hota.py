"""HOTA, DetA and AssA of predicted tracks, by TrackEval, which is an extra that nothing else needs.

Means over the 19 thresholds of box IoU, from 0.05 to 0.95, as its authors report them.
"""

import contextlib
import io
from collections.abc import Iterable
from typing import Any

import numpy as np

from ifrvis.datasets.ytvis import Annotations
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import Prediction
from ifrvis.evaluation.processes import tasks_of
from ifrvis.evaluation.tracking import Boxes, boxes_of

# Its own requirements ask for other versions than those that everything here was tried with; HOTA needs none of them.
_INSTALL = "python -m pip install --no-deps trackeval==1.3.0"


def hota_scores(annotations: Annotations, tracks: Iterable[Prediction]) -> dict[str, float]:
    """HOTA, DetA and AssA over all videos.

    Args:
        annotations: Ground truth; crowds are left out.
        tracks: The predicted tracks that count (`tracking.kept_tracks`).

    Raises:
        UserError: If TrackEval is not installed.
    """
    metric = _metric()
    tasks = tasks_of(annotations, tracks, crowds=False)
    merged = metric.combine_sequences(
        {task.video.id: metric.eval_sequence(_sequence(boxes_of(*task))) for task in tasks}
    )
    return {name: float(np.mean(merged[name])) for name in ("HOTA", "DetA", "AssA")}


def _metric() -> Any:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what of its own extras is missing
            from trackeval.metrics import HOTA  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise UserError(f"Install TrackEval to get HOTA, or leave --hota out: `{_INSTALL}` ({error}).") from error
    return HOTA()


def _sequence(boxes: Boxes) -> dict[str, Any]:
    """One video in the form that TrackEval takes: numbers of those that are there, frame by frame."""
    g, p = (present.any(axis=0) for present in (boxes.gts, boxes.preds))  # TrackEval divides by their numbers of boxes
    ious = boxes.ious[:, g][:, :, p]
    gts, preds = ([np.flatnonzero(frame) for frame in present] for present in (boxes.gts[:, g], boxes.preds[:, p]))
    return {
        "num_gt_ids": int(g.sum()),
        "num_tracker_ids": int(p.sum()),
        "num_gt_dets": int(boxes.gts.sum()),
        "num_tracker_dets": int(boxes.preds.sum()),
        "gt_ids": gts,
        "tracker_ids": preds,
        "similarity_scores": [iou[np.ix_(*there)] for iou, *there in zip(ious, gts, preds)],
    }
