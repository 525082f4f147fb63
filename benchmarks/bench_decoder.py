"""The IFR decoder beside the host's Mask2Former-VIS: inference time and memory, training step.

Each figure is a ratio, ours to the host's, of medians over pairs of fresh processes of one thread, in seconds of
processor time (which a busy machine changes less than the clock). The backbone and the pixel decoder are the same.

    python benchmarks/bench_decoder.py [--pairs 3] [--only inference|train|train-thin]

writes `benchmarks/results/decoder.json`, or what of it was measured.
"""

import argparse
import copy
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
Step = tuple[Callable[[], None], int]  # and how often to repeat it
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
TARGETS = {
    "inference": {"ours": {"seconds": 0.45, "memory_mib": 0.2}},
    "train": {"ours": {"seconds": 1.05}},
    "train-thin": {"ours": {"seconds": 0.9}, "mask2former": {"seconds": 0.95}},
}
WHAT = {
    "inference": "decoder and head, 100 queries, 9 layers, features of 36 frames at 360x640, memory above the features",
    "train": "training step, one clip of 2 frames at 360x640, ResNet-50",
    "train-thin": "training step, 4 clips of 2 frames at 96x128, thin ResNet-50 of profile mini",
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
    results = [result for case in TARGETS if args.only in (None, case) for result in compare(case, args.pairs)]
    write("decoder", results)


def compare(case: str, pairs: int) -> list[dict[str, Any]]:
    """The ratios of one case, from processes that alternate."""
    runs = {side: [] for side in (*TARGETS[case], "host")}
    for _ in range(pairs):
        for side, values in runs.items():
            values.append(in_process(case, side))
    results = []
    claims = [(side, *claim) for side, targets in TARGETS[case].items() for claim in targets.items()]
    for ours, quantity, target in claims:
        medians = {side: statistics.median(run[quantity] for run in runs[side]) for side in (ours, "host")}
        ratio = medians[ours] / medians["host"]
        result = {"case": case, "what": WHAT[case], "quantity": quantity, "target": target, "ratio": round(ratio, 3)}
        result |= {"met": ratio <= target, **{side: round(value, 3) for side, value in medians.items()}, "pairs": pairs}
        if ratio > target:
            result["profile"] = {side: in_process(case, side, "--profile")["profile"] for side in medians}
        said = "met" if result["met"] else "missed"
        print(f"{case} {ours} {quantity}: {ratio:.3f}, target {target}, {said}", flush=True)
        results.append(result)
    return results


def in_process(case: str, side: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", case, side, *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def write(name: str, results: list[dict[str, Any]], versions: dict[str, str] | None = None) -> None:
    """Write `results/<name>.json`; what it says of cases that were not measured now stays."""
    import mmcv
    import mmdet
    import torch

    known = {"python": platform.python_version(), "torch": torch.__version__, "mmcv": mmcv.__version__}
    known |= {"mmdet": mmdet.__version__, **(versions or {})}
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    before = json.loads(path.read_text())["results"] if path.exists() else []
    now = {each["case"]: [other for other in results if other["case"] == each["case"]] for each in results}
    cases = dict.fromkeys([*(each["case"] for each in before), *now])
    merged = [each for case in cases for each in now.get(case, [old for old in before if old["case"] == case])]
    report = {"threads": 1, "processor": platform.processor() or platform.machine(), "versions": known}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**report, "results": merged}, indent=1) + "\n")
    print(path)


def measure(case: str, side: str, *, profile: bool) -> dict[str, Any]:
    """Seconds of the fastest of some repetitions, and peak memory in MiB above what was there before the first."""
    import logging
    import warnings

    import torch

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    step, repetitions = inference_step(side) if case == "inference" else training_step(side, thin=case == "train-thin")
    before, seconds = peak_memory_mib(), []
    for _ in range(repetitions):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    result = {"seconds": min(seconds), "memory_mib": peak_memory_mib() - before}
    if profile:
        with torch.profiler.profile() as profiler:
            step()
        result["profile"] = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=12)
    return result


def peak_memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def model_config(side: str, *, thin: bool, num_frames: int) -> dict[str, Any]:
    """The recipe of a method at full size or thin; of the baseline, with the host's head in its place, for `host`."""
    from models.host import host_head_cfg

    from ifrvis.harness.spec.compose import compose
    from ifrvis.harness.spec.profiles import load_profile

    method = "mask2former" if side == "host" else side
    config = compose(method, "r50", "ytvis19", load_profile("mini" if thin else "paper"), num_classes=40).model
    if side == "host":
        config["track_head"] = host_head_cfg(config["track_head"], num_frames)
    return config


def build(side: str, *, thin: bool = False, num_frames: int = 2) -> Any:
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    import ifrvis.models  # noqa: F401

    init_default_scope("mmdet")
    model = MODELS.build(model_config(side, thin=thin, num_frames=num_frames))
    model.init_weights()
    return model


def inference_step(side: str, num_frames: int = 36, size: tuple[int, int] = (384, 640)) -> Step:
    """Predict a video from pixel decoder features that lie ready; masks at the size of the frames."""
    import numpy as np
    import torch
    from models.conftest import pack

    head = build(side).track_head.eval()
    lengths = [size[0] // stride * (size[1] // stride) for stride in (32, 16, 8)]
    memory = torch.randn(num_frames, sum(lengths), 256).transpose(1, 2)  # the layout that the pixel decoder leaves
    levels = zip(memory.split(lengths, 2), (32, 16, 8))
    features = [level.unflatten(2, (size[0] // stride, -1)) for level, stride in levels]
    head.pixel_decoder = ready(torch.randn(num_frames, 256, size[0] // 4, size[1] // 4) * 0.1, features)
    shapes = {"img_shape": (360, 640), "ori_shape": (360, 640), "batch_input_shape": size}
    clip = pack(np.zeros((0, num_frames, *size), np.uint8), np.zeros(0, np.int64), **shapes)
    numbers = torch.arange(num_frames).view(-1, 1, 1, 1).float()

    def step() -> None:
        with torch.no_grad():
            head.predict([numbers] * 4, clip)

    return step, 1


def training_step(side: str, *, thin: bool) -> Step:
    """Loss, gradients, clipping and AdamW on random frames."""
    import numpy as np
    import torch
    from models.conftest import pack

    from ifrvis.models.parameters import parameter_groups

    size, num_clips = ((96, 128), 4) if thin else ((384, 640), 1)
    model = build(side, thin=thin).train()
    groups = parameter_groups(model, lr=1e-4, weight_decay=0.05, backbone_lr_mult=0.1)
    optimizer = torch.optim.AdamW(groups)
    masks = np.zeros((4, 2, *size), np.uint8)
    for m in range(4):
        masks[m, :, m * 20 : m * 20 + 40, m * 20 : m * 20 + 40] = 1
    clips = [pack(masks, np.arange(4), draw_key=(0, 0, b)) for b in range(num_clips)]
    images = torch.randn(num_clips, 2, 3, *size)

    def step() -> None:
        optimizer.zero_grad()
        # The host turns the masks of its samples into tensors in place.
        losses = model.loss(images, [copy.deepcopy(clip) for clip in clips])
        sum(value.sum() for value in losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()

    return step, 12 if thin else 3


def ready(mask_features: Any, memories: list[Any]) -> Any:
    """A pixel decoder whose features lie ready; the frames that it is asked for come as numbers."""
    import torch

    class Ready(torch.nn.Module):
        def forward(self, x: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
            frames = slice(int(x[0].min()), int(x[0].max()) + 1)
            return mask_features[frames], [memory[frames] for memory in memories]

    return Ready()


if __name__ == "__main__":
    main()
