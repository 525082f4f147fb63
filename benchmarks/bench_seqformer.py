"""SeqFormer beside the host's Mask2Former-VIS, with the same ResNet-50 and frames: training step, and inference.

Each figure is a ratio, SeqFormer's to the host's, of medians over pairs of fresh processes of one thread: seconds of
processor time, and peak resident memory of the process.

    python benchmarks/bench_seqformer.py [--pairs 3] [--only inference|train]

writes `benchmarks/results/seqformer.json`, or what of it was measured.
"""

import argparse
import copy
import json
import statistics
import subprocess
import sys
import time
from typing import Any

from bench_decoder import Step, build, peak_memory_mib, write

TARGETS = {"inference": {"seconds": 1.0, "memory_mib": 0.3}, "train": {"seconds": 1.3}}
WHAT = {
    "inference": "36 frames at 360x640 in memory to run-length codes, whole video",
    "train": "training step, one clip of 5 frames at 360x640, ResNet-50",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--only", choices=TARGETS)
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure, profile=args.profile)))
        return
    write("seqformer", [each for case in TARGETS if args.only in (None, case) for each in compare(case, args.pairs)])


def compare(case: str, pairs: int) -> list[dict[str, Any]]:
    """The ratios of one case, from processes that alternate."""
    runs = {"seqformer": [], "host": []}
    for _ in range(pairs):
        for side, values in runs.items():
            values.append(in_process(case, side))
            print(f"  {case} {side}: {values[-1]}", flush=True)
    results = []
    for quantity, target in TARGETS[case].items():
        medians = {side: statistics.median(run[quantity] for run in values) for side, values in runs.items()}
        ratio = medians["seqformer"] / medians["host"]
        result = {"case": case, "what": WHAT[case], "quantity": quantity, "target": target, "ratio": round(ratio, 3)}
        result |= {"met": ratio <= target, **{side: round(value, 3) for side, value in medians.items()}, "pairs": pairs}
        if ratio > target:
            result["profile"] = {side: in_process(case, side, "--profile")["profile"] for side in runs}
        print(f"{case} {quantity}: {ratio:.3f}, target {target}, {'met' if result['met'] else 'missed'}", flush=True)
        results.append(result)
    return results


def in_process(case: str, side: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", case, side, *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def measure(case: str, side: str, *, profile: bool) -> dict[str, Any]:
    """Seconds of the fastest of some repetitions, and peak memory in MiB of the process."""
    import logging
    import warnings

    import cv2
    import torch

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    torch.manual_seed(0)
    step, repetitions = inference_step(side) if case == "inference" else training_step(side)
    seconds = []
    for _ in range(repetitions):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    result: dict[str, Any] = {"seconds": min(seconds), "memory_mib": peak_memory_mib()}
    if profile:
        with torch.profiler.profile() as profiler:
            step()
        result["profile"] = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=14)
    return result


def inference_step(side: str, frames: int = 36) -> Step:
    """One video from frames to run-length codes."""
    from bench_inference import INFERENCE, Video, predict_as_the_host

    from ifrvis.inference.modes import predict_video

    model, video = build(side, num_frames=frames).eval(), Video(frames)
    if side == "host":
        return (lambda: predict_as_the_host(model, video)), 1
    return (lambda: predict_video(model, video, INFERENCE, list(range(40)))), 1


def training_step(side: str, frames: int = 5, size: tuple[int, int] = (384, 640)) -> Step:
    """Loss, gradients, clipping and AdamW on random frames."""
    import numpy as np
    import torch
    from models.conftest import pack

    from ifrvis.models.drop_path import draw_drop_path_for, replace_drop_path
    from ifrvis.models.parameters import parameter_groups

    model = build(side, num_frames=frames).train()
    replace_drop_path(model)
    draw_drop_path_for(model, [(0, 0, 0)])
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=1e-4, weight_decay=1e-4, backbone_lr_mult=0.1))
    masks = np.zeros((4, frames, *size), np.uint8)
    for m in range(4):
        masks[m, :, m * 20 : m * 20 + 40, m * 20 : m * 20 + 40] = 1
    clip, images = pack(masks, np.arange(4), draw_key=(0, 0, 0)), torch.randn(1, frames, 3, *size)

    def step() -> None:
        optimizer.zero_grad()
        losses = model.loss(images, [copy.deepcopy(clip)])  # the host turns masks into tensors in place
        sum(value.sum() for value in losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    return step, 2


if __name__ == "__main__":
    main()
