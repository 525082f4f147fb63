"""The loader beside the host's pipeline: clips per second of one core, on the same clips.

Both read JPEG frames and run-length masks, resize, mirror and pack two frames into what a data preprocessor takes.
Draws are made beforehand, and are the same. Each side runs in fresh processes of one thread, in turns; seconds are of
processor time, the least of some runs (a busy machine can only add to it). One case is synthetic videos at 720p, as
YouTube-VIS's are, the other the real clips, whose short side is 240, where IFRVIS_TEST_DATA names them.

    python benchmarks/bench_loader.py [--clips 60] [--runs 3]

writes `benchmarks/results/loader.json`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
TARGET_RATIO = 1.5
SIDES, MAX_SIDE = [360, 480], 1333  # the official recipe
SYNTHETIC: dict[str, Any] = {"height": 720, "width": 1280, "frames": (8, 8), "diameter": (150.0, 250.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", nargs=3, metavar=("SIDE", "ANNOTATION", "FRAMES"), help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure, num_clips=args.clips, profile=args.profile)))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = [compare(case, paths, args) for case, paths in cases(Path(folder)).items()]
    write(results)


def compare(case: str, paths: tuple[str, str], args: argparse.Namespace) -> dict[str, Any]:
    """The ratio of one case, from processes that take turns."""
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "host": []}
    for _ in range(args.runs):
        for side, of in runs.items():
            command = [sys.executable, __file__, "--clips", str(args.clips), "--measure", side, *paths]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            of.append(json.loads(done.stdout.splitlines()[-1]))
    assert runs["ours"][0]["masks"] == runs["host"][0]["masks"], "the two sides loaded other objects"
    per_second = {side: args.clips / min(run["seconds"] for run in of) for side, of in runs.items()}
    ratio = per_second["ours"] / per_second["host"]
    result = {"case": case, "quantity": "ratio", "value": round(ratio, 3), "target": TARGET_RATIO}
    result |= {"met": ratio >= TARGET_RATIO, "clips_per_second": per_second}
    shown = ", ".join(f"{side} {value:.1f} clips/s" for side, value in per_second.items())
    print(f"loader {case} ratio: {ratio:.2f}, target {TARGET_RATIO}, {'met' if result['met'] else 'missed'} ({shown})")
    return result


def cases(folder: Path) -> dict[str, tuple[str, str]]:
    """Annotation file and folder of frames of each case; the real clips are one if they are here."""
    from ifrvis.datasets.synthetic.making import make_split
    from ifrvis.datasets.synthetic.parameters import SyntheticParameters

    parameters = SyntheticParameters(seed=1, videos={"pretrain": 0, "train": 9, "dev": 0, "test": 0}, **SYNTHETIC)
    made = make_split(parameters, "train", folder)
    found = {"720p": (str(made), str(folder / "train" / "JPEGImages"))}
    given = os.environ.get("IFRVIS_TEST_DATA")
    if given and (Path(given) / "real_vis").is_dir():
        real = Path(given) / "real_vis"
        found["real clips"] = (str(real / "instances.json"), str(real / "JPEGImages"))
    return found


def write(results: list[dict[str, Any]]) -> None:
    import cv2
    import mmcv
    import mmdet
    import numpy as np
    import torch

    packages = (np, cv2, torch, mmcv, mmdet)
    versions = {"python": platform.python_version(), **{each.__name__: each.__version__ for each in packages}}
    path = ROOT / "benchmarks" / "results" / "loader.json"
    path.parent.mkdir(exist_ok=True)
    what = (
        f"clips of 2 frames at sides {SIDES}, from files to what a data preprocessor takes; processor time of one core"
    )
    report = {"what": what, "threads": 1, "processor": platform.processor() or platform.machine(), "versions": versions}
    path.write_text(json.dumps({**report, "results": results}, indent=1) + "\n")
    print(path)


def measure(side: str, annotation: str, frames: str, *, num_clips: int, profile: bool) -> dict[str, Any]:
    import logging
    import warnings

    import cv2
    import torch

    from ifrvis.datasets.clips import ClipSampler
    from ifrvis.datasets.ytvis import read_annotations

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    settings = {
        "num_frames": 2,
        "frame_range": 20,
        "redraw_empty": False,
        "sides": SIDES,
        "max_side": MAX_SIDE,
        "flip": 0.5,
        "resize": "pillow",
    }
    annotations = read_annotations(Path(annotation))
    sampler = ClipSampler(annotations, seed=0, global_batch=1, **settings)
    draws = [sampler.draw(iteration, 0) for iteration in range(num_clips)]
    load = {"ours": ours, "host": host}[side](annotations, annotation, Path(frames))
    load(draws[0])
    if profile:
        import cProfile

        with cProfile.Profile() as profiler:
            for draw in draws:
                load(draw)
        profiler.print_stats("tottime")
    masks, start = 0, time.process_time()
    for draw in draws:
        masks += load(draw)
    return {"seconds": time.process_time() - start, "masks": masks}


def ours(annotations: Any, _: str, frames: Path) -> Callable[[Any], int]:
    """Load and pack one clip; how many masks it has."""
    from ifrvis.datasets.clips import load_clip, padded_size
    from ifrvis.training.batches import GlobalBatch, model_inputs

    def load(draw: Any) -> int:
        clip = load_clip(annotations, frames, draw, padded_size([draw]))
        batch = GlobalBatch(draw.iteration, [clip], [], {})
        (sample,) = model_inputs(batch, batch.clips, 0)["data_samples"]
        return sum(len(frame.gt_instances) for frame in sample.video_data_samples)

    return load


def host(annotations: Any, annotation: str, frames: Path) -> Callable[[Any], int]:
    """The host's own transforms on the frames of a draw, at its side and with its flip."""
    from mmcv.transforms import TransformBroadcaster
    from mmdet.registry import TRANSFORMS
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    tracks: dict[Any, list[dict[str, Any]]] = {}
    for entry in json.loads(Path(annotation).read_text())["annotations"]:
        tracks.setdefault(entry["video_id"], []).append(entry)
    labels = annotations.labels

    def instances(video: Any, frame: int) -> list[dict[str, Any]]:
        """As the host's data set lists them: those that the frame shows."""
        shown = [entry for entry in tracks.get(video.id, []) if entry["segmentations"][frame]]
        return [
            {
                "ignore_flag": 0,
                "bbox": [0.0, 0.0, 1.0, 1.0],
                "bbox_label": labels[entry["category_id"]],
                "instance_id": entry["id"],
                "mask": entry["segmentations"][frame],
            }
            for entry in shown
        ]

    def transforms(draw: Any) -> list[Any]:
        steps = [
            {"type": "LoadImageFromFile"},
            {"type": "LoadTrackAnnotations", "with_mask": True},
            {"type": "Resize", "scale": (draw.size[1], draw.size[0]), "keep_ratio": False},
            {"type": "RandomFlip", "prob": float(draw.flip)},
        ]
        broadcast = TransformBroadcaster(transforms=steps, share_random_params=True)
        return [broadcast, TRANSFORMS.build({"type": "PackTrackInputs"})]

    made: dict[Any, list[Any]] = {}  # of each size and flip once: building them is no part of loading

    def load(draw: Any) -> int:
        video, count = draw.video, len(draw.frames)
        results: dict[str, Any] = {
            "img_path": [str(frames / video.file_names[frame]) for frame in draw.frames],
            "instances": [instances(video, frame) for frame in draw.frames],
            "height": [video.height] * count,
            "width": [video.width] * count,
            "frame_id": list(draw.frames),
            "img_id": list(draw.frames),
            "video_id": [video.id] * count,
            "key_frame_flags": [True] + [False] * (count - 1),
        }
        key = draw.size, draw.flip
        if key not in made:
            made[key] = transforms(draw)
        for step in made[key]:
            results = step(results)
        return sum(len(frame.gt_instances) for frame in results["data_samples"].video_data_samples)

    return load


if __name__ == "__main__":
    main()
