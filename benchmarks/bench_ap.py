"""AP beside the host's YTVISeval: 400 synthetic videos of 30 frames at 720p with 10 predictions each, on one core.

Each side runs in fresh processes of one thread, in turns, on the same two files; seconds are of processor time, the
least of some runs (a busy machine can only add to it), and all twelve statistics must agree to 1e-9. The target is on
the evaluation alone, from what each side has read into memory; the way from the files to the numbers, on which ours
checks every mask and the host's none, stands beside it.

    python benchmarks/bench_ap.py [--videos 400] [--runs 3]

writes `benchmarks/results/ap.json`.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
HEIGHT, WIDTH, FRAMES, PREDICTIONS, CATEGORIES = 720, 1280, 30, 10, 40
STATISTICS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
TARGET_RATIO, TARGET_MEMORY_GB = 5.0, 1.5
WHAT = (
    f"{{}} videos of {FRAMES} frames at {WIDTH}x{HEIGHT}; 2 to 5 objects of one category, in each fourth video of two; "
    f"{PREDICTIONS} predictions, 8 near an object, 80 % under its category; masks of 80 to 400 columns with rough edges"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps({"ours": measure_ours, "host": measure_host}[args.measure[0]](Path(args.measure[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder), args.videos)
        runs = in_turns(__file__, folder, args.runs)
    assert_same(runs["ours"][0]["statistics"], runs["host"][0]["statistics"])
    seconds = {side: {k: min(run[k] for run in of) for k in ("evaluate_s", "total_s")} for side, of in runs.items()}
    memory = max(run["peak_memory_gb"] for run in runs["ours"])
    ratios = {k: seconds["host"][k] / seconds["ours"][k] for k in ("evaluate_s", "total_s")}
    results = [
        result("evaluation", "ratio", ratios["evaluate_s"], TARGET_RATIO, ratios["evaluate_s"] >= TARGET_RATIO),
        result("evaluation", "peak_memory_gb", memory, TARGET_MEMORY_GB, memory < TARGET_MEMORY_GB),
        result("files to numbers", "ratio", ratios["total_s"], None, None),
    ]
    write("ap", WHAT.format(args.videos), results, {"seconds": seconds, "runs": args.runs})


def result(case: str, quantity: str, value: float, target: float | None, met: bool | None) -> dict[str, Any]:
    text = "no target" if met is None else f"target {target}, {'met' if met else 'missed'}"
    print(f"ap {case} {quantity}: {value:.2f}, {text}", flush=True)
    return {"case": case, "quantity": quantity, "value": round(value, 3), "target": target, "met": met}


def write(name: str, what: str, results: list[dict[str, Any]], more: dict[str, Any]) -> None:
    import motmetrics
    import numpy as np

    versions = {"python": platform.python_version(), "numpy": np.__version__, "motmetrics": motmetrics.__version__}
    report = {"what": what, "threads": 1, "processor": platform.processor() or platform.machine(), "versions": versions}
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**report, **more, "results": results}, indent=1) + "\n")
    print(path)


def in_turns(script: str, folder: str, num_runs: int) -> dict[str, list[dict[str, Any]]]:
    """What each side measures, in processes that take turns."""
    runs = {"ours": [], "host": []}
    for _ in range(num_runs):
        for side, of in runs.items():
            command = [sys.executable, script, "--measure", side, str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            of.append(json.loads(done.stdout.splitlines()[-1]))
    return runs


def assert_same(ours: dict[str, Any], host: dict[str, Any]) -> None:
    for name, value in host.items():
        value = None if value == -1 else value
        assert ours[name] == value or abs(ours[name] - value) < 1e-9, (name, ours[name], value)


def measure_ours(folder: Path) -> dict[str, Any]:
    from ifrvis.datasets.ytvis import read_annotations
    from ifrvis.evaluation.ap import average_precision
    from ifrvis.evaluation.predictions import read_results

    start = time.process_time()
    annotations = read_annotations(folder / "gt.json")
    predictions = read_results(folder / "pred.json", annotations)
    before = time.process_time()
    scores = average_precision(annotations, predictions)
    return measured({name: scores[name] for name in STATISTICS}, start, before)


def measure_host(folder: Path) -> dict[str, Any]:
    import warnings

    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from mmdet.evaluation.functional import YTVIS, YTVISeval

        start = time.process_time()
        gt = YTVIS(str(folder / "gt.json"))
        predictions = gt.loadRes(str(folder / "pred.json"))
        before = time.process_time()
        evaluator = YTVISeval(gt, predictions)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return measured(dict(zip(STATISTICS, map(float, evaluator.stats))), start, before)


def measured(statistics: dict[str, Any], start: float, before: float) -> dict[str, Any]:
    now = time.process_time()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    seconds = {"evaluate_s": round(now - before, 3), "total_s": round(now - start, 3)}
    return {"statistics": statistics, **seconds, "peak_memory_gb": memory}


def make_data(folder: Path, num_videos: int, seed: int = 0) -> None:
    """Write `gt.json` and `pred.json`."""
    import numpy as np

    rng = np.random.default_rng(seed)
    gt = {"videos": [], "annotations": [], "categories": [{"id": c, "name": f"c{c}"} for c in range(1, CATEGORIES + 1)]}
    results = []
    for video_id in range(1, num_videos + 1):
        names = [f"{video_id:05d}/{t:05d}.jpg" for t in range(FRAMES)]
        head = {"id": video_id, "width": WIDTH, "height": HEIGHT, "length": FRAMES, "file_names": names}
        gt["videos"].append(head)
        blobs = [draw_blob(rng) for _ in range(rng.integers(2, 6))]
        labels = rng.choice(rng.integers(1, CATEGORIES + 1, 1 + (rng.random() < 0.25)), len(blobs))
        for blob, label in zip(blobs, labels):
            masks = [draw_mask(blob, t) if rng.random() > 0.05 else None for t in range(FRAMES)]
            areas, masks = [mask and mask[1] for mask in masks], [mask and mask[0] for mask in masks]
            one = {"id": len(gt["annotations"]) + 1, "video_id": video_id, "category_id": int(label), "iscrowd": 0}
            gt["annotations"].append({**one, "segmentations": masks, "areas": areas})
        for k in range(PREDICTIONS):
            blob = blobs[k % len(blobs)] if k < 8 else draw_blob(rng)
            label = int(labels[k % len(blobs)] if rng.random() < 0.8 else rng.integers(1, CATEGORIES + 1))
            scale, shift = rng.uniform(0.8, 1.2), rng.normal(0, 8, 2)
            masks = [
                draw_mask(blob, t, shift + rng.normal(0, 2, 2), scale) if rng.random() > 0.05 else None
                for t in range(FRAMES)
            ]
            head = {"video_id": video_id, "category_id": label, "score": float(rng.random())}
            results.append({**head, "segmentations": [mask and mask[0] for mask in masks]})
    (folder / "gt.json").write_text(json.dumps(gt))
    (folder / "pred.json").write_text(json.dumps(results))


def draw_blob(rng: Any) -> dict[str, Any]:
    low, high = [200, 150, -8, -5, 40, 40], [WIDTH - 200, HEIGHT - 150, 8, 5, 200, 180]
    return {**dict(zip(("x", "y", "vx", "vy", "rx", "ry"), rng.uniform(low, high))), "phase": rng.uniform(0, 6.28, 4)}


def draw_mask(blob: dict[str, Any], t: int, shift: Any = (0.0, 0.0), scale: float = 1.0) -> Any:
    """A moving ellipse with rough edges as compressed runs, and its area; None outside the frame."""
    import numpy as np
    from pycocotools import mask as coco_mask

    x0, y0 = blob["x"] + blob["vx"] * t + shift[0], blob["y"] + blob["vy"] * t + shift[1]
    rx, ry, phase = blob["rx"] * scale, blob["ry"] * scale, blob["phase"]
    x = np.arange(max(0, int(x0 - rx) + 1), min(WIDTH, int(x0 + rx)))
    if len(x) < 2:
        return None
    half = ry * np.sqrt(np.clip(1 - ((x - x0) / rx) ** 2, 0, 1))
    rough = [1 + 0.1 * np.sin(x / 9 + p + t * 0.3) + 0.05 * np.sin(x / 3.1 + q) for p, q in (phase[:2], phase[2:])]
    top = np.clip(y0 - half * rough[0], 0, HEIGHT - 1).astype(np.int64)
    bottom = np.maximum(np.clip(y0 + half * rough[1], 0, HEIGHT - 1).astype(np.int64), top + 1)
    edges = np.column_stack([x * HEIGHT + top, x * HEIGHT + bottom]).ravel()
    runs = np.diff(edges, prepend=0, append=HEIGHT * WIDTH).astype(np.uint32)
    code = coco_mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": runs}, HEIGHT, WIDTH)
    return {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()}, int((bottom - top).sum())


if __name__ == "__main__":
    main()
