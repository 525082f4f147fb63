"""HOTA, DetA and AssA of tracking cases by TrackEval, means over its thresholds, as fractions.

Run by a Python that has TrackEval (`tests/training/reference/requirements.txt`), and nothing of ifrvis:

    python tests/evaluation/reference/hota.py tests/data/oracle/tracking >tests/data/hota.json

Each folder of the given one holds `gt.json` and `pred.json`, ground truth and results of YouTube-VIS; every entry of
the results is a track, a box is that of a mask, categories are ignored, crowds left out.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

with contextlib.redirect_stdout(io.StringIO()):  # it prints what of its own extras is missing
    from trackeval.metrics import HOTA

NAMES = ("HOTA", "DetA", "AssA")


def main(folder):
    cases = sorted(path for path in Path(folder).iterdir() if path.is_dir())
    print(json.dumps({case.name: of_case(case) for case in cases}, indent=1))


def of_case(case):
    gt, pred = (json.loads((case / name).read_text()) for name in ("gt.json", "pred.json"))
    tracks = [each for each in gt["annotations"] if not each.get("iscrowd")]
    metric = HOTA()
    sequences = {
        video["id"]: metric.eval_sequence(
            sequence(
                *([boxes(each) for each in of if each["video_id"] == video["id"]] for of in (tracks, pred)),
                video["length"],
            )
        )
        for video in gt["videos"]
    }
    merged = metric.combine_sequences(sequences)
    return {name: float(np.mean(merged[name])) for name in NAMES}


def boxes(track):
    """Left, top, right and bottom of each frame's mask; None where there is none."""
    return [rle and box(coco.decode(rle)) for rle in track["segmentations"]]


def box(mask):
    ys, xs = np.nonzero(mask)
    return (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else None


def sequence(gts, preds, length):
    """One video in the form that TrackEval takes: its tracks that have a box, numbered, and their overlaps by frame."""
    gts, preds = ([track for track in tracks if any(track)] for tracks in (gts, preds))
    there = [[[n for n, track in enumerate(tracks) if track[t]] for t in range(length)] for tracks in (gts, preds)]
    overlaps = [
        np.array([[iou(gts[g][t], preds[p][t]) for p in there[1][t]] for g in there[0][t]]).reshape(
            len(there[0][t]), len(there[1][t])
        )
        for t in range(length)
    ]
    return {
        "num_gt_ids": len(gts),
        "num_tracker_ids": len(preds),
        "num_gt_dets": sum(map(len, there[0])),
        "num_tracker_dets": sum(map(len, there[1])),
        "gt_ids": [np.array(each, int) for each in there[0]],
        "tracker_ids": [np.array(each, int) for each in there[1]],
        "similarity_scores": overlaps,
    }


def iou(one, other):
    shared = np.prod([max(min(one[k + 2], other[k + 2]) - max(one[k], other[k]), 0) for k in (0, 1)])
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (one, other)]
    return shared / (sum(areas) - shared)


if __name__ == "__main__":
    main(sys.argv[1])
