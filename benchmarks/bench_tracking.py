"""Tracking metrics beside a plain loop that decodes masks and updates motmetrics frame by frame, on one core.

The input is that of `bench_ap.py`; the metrics are those of protocol `top10`, and must be equal. Both sides start from
checked predictions in memory, in fresh processes of one thread, in turns; seconds are of processor time.

    python benchmarks/bench_tracking.py [--videos 400] [--runs 1]

writes `benchmarks/results/tracking.json`.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_ap import WHAT, in_turns, make_data, measured, write

Box = tuple[int, int, int, int]  # left, top, right, bottom
TARGET_RATIO = 4.0
METRICS = {"IDF1": "idf1", "MOTA": "mota", "IDP": "idp", "IDR": "idr", "IDs": "num_switches"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--runs", type=int, default=1, help="of each side; the plain loop takes minutes")
    parser.add_argument("--measure", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure[0], Path(args.measure[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder), args.videos)
        runs = in_turns(__file__, folder, args.runs)
    assert runs["ours"][0]["statistics"] == runs["host"][0]["statistics"], [of[0] for of in runs.values()]
    seconds = {side: min(run["evaluate_s"] for run in of) for side, of in runs.items()}
    ratio = seconds["host"] / seconds["ours"]
    met = ratio >= TARGET_RATIO
    print(f"tracking ratio: {ratio:.2f}, target {TARGET_RATIO}, {'met' if met else 'missed'}", flush=True)
    result = {
        "case": "protocol top10",
        "quantity": "ratio",
        "value": round(ratio, 3),
        "target": TARGET_RATIO,
        "met": met,
    }
    more = {"seconds": {"ours": seconds["ours"], "plain loop": seconds["host"]}, "runs": args.runs}
    write("tracking", WHAT.format(args.videos), [result], more)


def measure(side: str, folder: Path) -> dict[str, Any]:
    import motmetrics  # noqa: F401  so that no side's seconds hold its import

    import ifrvis.evaluation.tracking  # noqa: F401  nor this one's
    from ifrvis.datasets.ytvis import read_annotations
    from ifrvis.evaluation.predictions import read_tracks

    annotations = read_annotations(folder / "gt.json")
    tracks = read_tracks(folder / "pred.json", annotations, "queries")
    start = time.process_time()
    return measured({"ours": ours, "host": plain_loop}[side](annotations, tracks), start, start)


def ours(annotations: Any, tracks: Any) -> dict[str, Any]:
    from ifrvis.evaluation.protocols import load_protocol
    from ifrvis.evaluation.tracking import follow

    scores = follow(annotations, tracks, [load_protocol("top10")])["top10"].metrics
    return {name: scores[name] for name in METRICS}


def plain_loop(annotations: Any, tracks: Any) -> dict[str, Any]:
    import motmetrics
    import numpy as np

    host, parts = motmetrics.metrics.create(), []
    names = [*METRICS.values(), "num_objects", "num_predictions"]
    for video in annotations.videos:
        accumulator = motmetrics.MOTAccumulator(auto_id=True)
        preds = [track for track in tracks if track.video_id == video.id]
        for t in range(video.length):
            gt_ids, gt_boxes = boxes_of(annotations.tracks_of(video.id), t)
            pred_ids, pred_boxes = boxes_of(preds, t)
            distances = np.array([[distance(gt, pred) for pred in pred_boxes] for gt in gt_boxes], float)
            accumulator.update(gt_ids, pred_ids, distances.reshape(len(gt_ids), len(pred_ids)))
        parts.append(host.compute(accumulator, metrics=names, return_dataframe=False, return_cached=True))
    merged = host.compute_overall(parts, metrics=names, return_dataframe=False)
    found = {name: float(merged[key]) for name, key in METRICS.items()}
    return found | {"IDs": int(found["IDs"])}


def boxes_of(tracks: Any, t: int) -> tuple[list[int], list[Box]]:
    """The numbers of the tracks that have a mask in a frame, and their tight boxes."""
    import numpy as np

    from ifrvis.datasets.rle import decode

    ids, boxes = [], []
    for number, track in enumerate(tracks):
        if track.masks[t] is not None:
            mask = decode(track.masks[t])
            xs, ys = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
            if len(xs):
                ids.append(number)
                boxes.append((xs[0], ys[0], xs[-1] + 1, ys[-1] + 1))
    return ids, boxes


def distance(gt: Box, pred: Box) -> float:
    width, height = (min(gt[k + 2], pred[k + 2]) - max(gt[k], pred[k]) for k in (0, 1))
    shared = max(width, 0) * max(height, 0)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (gt, pred)]
    iou = shared / (sum(areas) - shared)
    return 1 - iou if iou >= 0.5 else float("nan")


if __name__ == "__main__":
    main()
