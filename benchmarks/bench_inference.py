"""Inference beside the host's Mask2FormerVideo: time, peak memory, and what both cost per frame.

Each figure comes from fresh processes in which torch has one thread: seconds of the processor (what the kernel does
for gigabytes of new memory included, which a busy machine changes less than the clock), and peak resident memory. All
sides have the same ResNet-50 and frames, ours and the host's the same pixel decoder and 100 queries, too; `end-to-end`
goes from frames to run-length codes. The other cases make the pixel decoder's features on the fly, a frame's from its
number, outside of the time that counts, so that no side holds them before it asks for them.

    python benchmarks/bench_inference.py [--only end-to-end|decoder|memory|clips] [--scale 1.0]

writes `benchmarks/results/inference.json` and `docs/inference.svg`, or what of them was measured. `--scale 0.1` takes a
tenth of the frames, to try it, and writes nothing.
"""

import argparse
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_decoder import ROOT, build, peak_memory_mib, write

if TYPE_CHECKING:
    from ifrvis.inference.sources import FrameSource

SIZE, PADDED = (360, 640), (384, 640)
FLOOR_BYTES = 4 * 256 * 2 * PADDED[0] * PADDED[1] * (1 / 64 + 1 / 256 + 1 / 1024)  # a frame at the sizes of attention
MASK_FEATURE_BYTES = 4 * 256 * PADDED[0] * PADDED[1] / 16
INFERENCE = {"mode": "whole", "side": 360, "max_side": 1333, "resize": "pillow", "topk": 10, "tta": None}
CLIPS = {**INFERENCE, "mode": "clips", "clip_frames": 5, "stride": 1, "min_class_score": 0.01, "min_overlap": 0.05}
KEPT = 20  # instances of a clip: the weights are random, so the filter is replaced
LONG, HOST_FRAMES, OUR_FRAMES = 200, (10, 25, 40), (20, 60, 100)  # of the plot
CLIPS_FRAMES = 100
Measured = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases = {"end-to-end": end_to_end, "decoder": decoder, "memory": memory, "clips": clips}
    parser.add_argument("--only", choices=cases)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "FRAMES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure[0], int(args.measure[1]))))
        return
    results = [result for name, case in cases.items() if args.only in (None, name) for result in case(args.scale)]
    if args.scale == 1.0:
        import cv2

        write("inference", results, {"opencv": cv2.__version__})
        for result in (each for each in results if "measured" in each):
            draw(result, ROOT / "docs" / "inference.svg")


# What is claimed


def end_to_end(scale: float) -> list[Measured]:
    frames = scaled(36, scale)
    ours, seqformer, host = (in_process(f"end-to-end-{side}", frames) for side in ("ours", "seqformer", "host"))
    what = f"{frames} frames at 360x640 in memory to run-length codes"
    return [
        claim("end-to-end", what, "seconds", 0.45, ours, host),
        claim("end-to-end", what, "memory_mib", 0.25, ours, host),
        claim("end-to-end seqformer", what, "seconds", 1.0, seqformer, host),
        claim("end-to-end seqformer", what, "memory_mib", 0.3, seqformer, host),
    ]


def decoder(scale: float) -> list[Measured]:
    frames = scaled(36, scale)
    ours, host = (in_process(f"decoder-{side}", frames) for side in ("ours", "host"))
    return [claim("decoder", f"decoder and post-processing of {frames} frames", "seconds", 0.45, ours, host)]


def memory(scale: float) -> list[Measured]:
    """What a long video needs: of the host, a line through its peaks at three lengths."""
    import numpy as np

    long = scaled(LONG, scale)
    lines = {"ours": [in_process("decoder-ours", scaled(each, scale)) for each in (*OUR_FRAMES, LONG)]}
    lines["bounded"] = [in_process("decoder-bounded", long)]
    lines["host"] = [in_process("decoder-host", scaled(each, scale)) for each in HOST_FRAMES]
    slope, base = np.polyfit(*points(lines["host"]), 1)
    needs = {"memory_mib": float(base + slope * long)}
    what = f"{long} frames; the host's extrapolated from {', '.join(str(each['frames']) for each in lines['host'])}; "
    kept = claim("long", what + "as is", "memory_mib", 0.15, lines["ours"][-1], needs)
    floor = {"features": FLOOR_BYTES / 2**20, "mask features": MASK_FEATURE_BYTES / 2**20}
    few = {**lines, "ours": lines["ours"][:-1]}  # of which all mask features are kept
    kept |= {"mib_per_frame": {**slopes(few), "floor": floor}, "measured": lines}
    what += f"mask features computed again, --memory-gib {budget_gib(long)}"
    return [kept, claim("long", what, "memory_mib", 0.15, lines["bounded"][0], needs)]


def clips(scale: float) -> list[Measured]:
    frames = scaled(CLIPS_FRAMES, scale)
    measured = in_process("clips", frames)
    what = f"decoder and matching of {frames} frames, T = 5, stride 1, {KEPT} instances a clip; other: whole video"
    results = []
    for method in ("ours", "mask2former"):
        sides = ({"seconds": measured[f"{method} {mode}"]} for mode in ("clips", "whole"))
        results.append(claim(f"clips {method}", what, "seconds", 4.0, *sides))
    return results


def claim(case: str, what: str, quantity: str, target: float, ours: Measured, other: Measured) -> Measured:
    ratio = ours[quantity] / other[quantity]
    print(f"{case} {quantity}: {ratio:.3f}, target {target}, {'met' if ratio <= target else 'missed'}", flush=True)
    values = {"ours": round(ours[quantity], 2), "other": round(other[quantity], 2)}
    result = {"case": case, "what": what, "quantity": quantity, "target": target, "ratio": round(ratio, 3)}
    return {**result, "met": ratio <= target, **values}


def slopes(lines: dict[str, list[Measured]]) -> dict[str, float]:
    """MiB a frame of each line of more than one point."""
    import numpy as np

    many = {name: points(line) for name, line in lines.items() if len(line) > 1}
    return {name: round(float(np.polyfit(*line, 1)[0]), 2) for name, line in many.items()}


def points(line: list[Measured]) -> tuple[list[float], list[float]]:
    return [each["frames"] for each in line], [each["memory_mib"] for each in line]


def scaled(frames: int, scale: float) -> int:
    return max(5, round(frames * scale))


@functools.cache
def in_process(case: str, frames: int) -> Measured:
    command = [sys.executable, __file__, "--measure", case, str(frames)]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    print(f"  {case}, {frames} frames: {measured}", flush=True)
    return {"frames": frames, **measured}


# What is measured, in a process of its own


def measure(case: str, frames: int) -> Measured:
    import logging
    import warnings

    import cv2
    import torch

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    torch.manual_seed(0)
    if case == "clips":
        return {f"{m} {k}": v for m in ("ours", "mask2former") for k, v in clip_seconds(m, frames).items()}
    from made_features import Features

    what, side = case.rsplit("-", 1)
    step = prepared(what, side, frames)
    seconds = seconds_of(step) - Features.seconds
    return {"seconds": seconds, "memory_mib": peak_memory_mib()}


def prepared(what: str, side: str, frames: int) -> Callable[[], Any]:
    """One video from frames to run-length codes; for `decoder`, backbone and pixel decoder cost nothing."""
    model = build("ours" if side == "bounded" else side, num_frames=frames).eval()
    if what == "decoder":
        from made_features import Features, Numbers

        model.backbone, model.track_head.pixel_decoder = Numbers(frames), Features(PADDED)
    video = noise(frames)
    if side == "host":
        return lambda: predict_as_the_host(model, video)
    from ifrvis.inference.modes import predict_video

    budget = budget_gib(frames) if side == "bounded" else None
    return lambda: predict_video(model, video, INFERENCE, list(range(40)), memory_gib=budget)


def budget_gib(frames: int) -> float:
    """A budget that holds the features that every method must keep, and no mask features."""
    return round(1 + 0.0135 * frames, 1)


def predict_as_the_host(model: Any, video: "FrameSource") -> None:
    """All frames at once; masks to run-length codes as its metric does."""
    import numpy as np
    import torch
    from mmdet.structures import DetDataSample, TrackDataSample
    from pycocotools import mask as coco_mask

    sample = TrackDataSample()
    shapes = {"img_shape": SIZE, "ori_shape": SIZE}
    sample.video_data_samples = [DetDataSample(metainfo=shapes) for _ in range(video.length)]
    inputs = [torch.from_numpy(np.stack(list(video))).permute(0, 3, 1, 2)]
    with torch.no_grad():
        results = model.test_step({"inputs": inputs, "data_samples": [sample]})[0]
    for frame in results:
        for mask in frame.pred_track_instances.masks:
            coco_mask.encode(np.asfortranarray(mask.numpy()))


def clip_seconds(method: str, frames: int) -> dict[str, float]:
    """Seconds of decoding a whole video and of decoding and joining clips of it, from features that lie ready."""
    import torch

    from ifrvis.inference.clips import track_clips
    from ifrvis.models.attention import Level

    head = build(method).track_head.eval()
    head.kept_queries = lambda logits: torch.arange(len(logits)) < KEPT
    levels = []
    for stride in (32, 16, 8):
        height, width = PADDED[0] // stride, PADDED[1] // stride
        tokens, features = torch.randn(frames, height * width, 256), torch.randn(frames, 256, height, width) * 0.1
        levels.append(Level(tokens, features))
    with torch.inference_mode():
        whole = seconds_of(lambda: head.decode_clips(levels, frames))
        joined = seconds_of(lambda: track_clips(head, levels, CLIPS, on_frames=lambda n: None))
    return {"whole": whole, "clips": joined}


def seconds_of(step: Callable[[], Any]) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


def noise(length: int) -> "FrameSource":
    """A video of noise, the same in every process."""
    import numpy as np

    from ifrvis.inference.sources import FrameSource

    def frames() -> Iterator[Any]:
        coarse = np.random.default_rng(0).integers(0, 256, (length, 9, 16, 3), np.uint8)
        return (frame.repeat(40, 0).repeat(40, 1) for frame in coarse)

    return FrameSource(1, *SIZE, length, frames)


# What is written


def draw(result: Measured, path: Path) -> None:
    """Peak memory and seconds against frames."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "ifrvis"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    names = {"ours": "ours", "host": "host (Mask2FormerVideo)", "bounded": "ours, mask features computed again"}
    for name, line in result["measured"].items():
        frames = [each["frames"] for each in line]
        slope = result["mib_per_frame"].get(name)
        label = names[name] + (f": {slope:.0f} MiB a frame" if slope else "")
        axes[0].plot(frames, [each["memory_mib"] / 1024 for each in line], "o-", label=label)
        axes[1].plot(frames, [each["seconds"] for each in line], "o-")
    kept = result["mib_per_frame"]["floor"]
    frames = [0, result["measured"]["ours"][-1]["frames"]]
    for extra, label in (("features", "features at the sizes of attention"), ("mask features", "and mask features")):
        floor = kept["features"] + (kept["mask features"] if extra == "mask features" else 0)
        ends = [floor * each / 1024 for each in frames]
        axes[0].plot(frames, ends, "--", lw=1, label=f"{label}: {floor:.0f} MiB a frame")
    axes[0].set(xlabel="frames", ylabel="peak memory of the process, GiB", ylim=0)
    axes[1].set(xlabel="frames", ylabel="processor seconds without backbone", ylim=0)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
