"""The decoders beside the host's Mask2Former-VIS: inference time and memory, training steps.

Each figure is a ratio, ours to the host's, of medians over rounds of fresh processes of one thread, in seconds of
processor time (which a busy machine changes less than the clock). Backbone, frames and optimizer settings are the same;
a step of ours is that of the training loop, a step of the host's that of its Runner, each with its own optimizer and as
it settles torch.

    python benchmarks/bench_decoder.py [--rounds N] [--only inference|train|train-five|train-thin]

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
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"
Step = Callable[[], None]
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


class Case(NamedTuple):
    """What is measured, and what is asked of each of ours, as a share of the host's.

    num_clips, num_frames and size are those of a training step.
    """

    what: str
    targets: dict[str, dict[str, float]]
    rounds: int
    repetitions: int
    num_clips: int = 1
    num_frames: int = 2
    size: tuple[int, int] = (384, 640)


CASES = {
    "inference": Case(
        "decoder and head, 100 queries, 9 layers, features of 36 frames at 360x640, memory above the features",
        {"ours": {"seconds": 0.45, "memory_mib": 0.2}},
        *(1, 1),
    ),
    "train": Case("training step, one clip of 2 frames at 360x640, ResNet-50", {"ours": {"seconds": 1.05}}, 2, 2),
    "train-five": Case(
        "training step, one clip of 5 frames at 360x640, ResNet-50",
        {"seqformer": {"seconds": 1.3}},
        *(1, 2, 1, 5),
    ),
    "train-thin": Case(
        "training step, 4 clips of 2 frames at 96x128, thin ResNet-50 of profile mini",
        {"ours": {"seconds": 0.9}, "mask2former": {"seconds": 0.95}},
        *(5, 12, 4, 2, (96, 128)),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="of every case (default: each as many as it needs)")
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure, profile=args.profile)))
        return
    results = [result for case in CASES if args.only in (None, case) for result in compare(case, args.rounds)]
    write("decoder", results)


def compare(case: str, rounds: int | None) -> list[dict[str, Any]]:
    """The ratios of one case, from processes that take turns."""
    what, asked, rounds = CASES[case].what, CASES[case].targets, rounds or CASES[case].rounds
    runs = {side: [] for side in (*asked, "host")}
    for _ in range(rounds):
        for side, values in runs.items():
            values.append(in_process(case, side))
    results = []
    claims = [(side, *claim) for side, targets in asked.items() for claim in targets.items()]
    for ours, quantity, target in claims:
        medians = {side: statistics.median(run[quantity] for run in runs[side]) for side in (ours, "host")}
        ratio = medians[ours] / medians["host"]
        result = {"case": case, "what": what, "quantity": quantity, "target": target, "ratio": round(ratio, 3)}
        result |= {
            "met": ratio <= target,
            **{side: round(value, 3) for side, value in medians.items()},
            "rounds": rounds,
        }
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
    step = inference_step(side) if case == "inference" else training_step(side, case)
    before, seconds = peak_memory_mib(), []
    for _ in range(CASES[case].repetitions):
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


def recipe(side: str, *, thin: bool = False, num_frames: int = 2) -> Any:
    """The recipe of a method at full size or thin; the baseline's, with the host's head in its place, for `host`."""
    from models.host import host_head_cfg

    from ifrvis.harness.spec.compose import compose
    from ifrvis.harness.spec.profiles import load_profile

    method = "mask2former" if side == "host" else side
    composed = compose(method, "r50", "ytvis19", load_profile("mini" if thin else "paper"), num_classes=40)
    if side == "host":
        composed.model["track_head"] = host_head_cfg(composed.model["track_head"], num_frames)
    return composed


def build(side: str, **size: Any) -> Any:
    from ifrvis.training.build import build_model

    return build_model(recipe(side, **size).model, seed=0)


def inference_step(side: str) -> Step:
    """Predict a video from pixel decoder features that lie ready; masks at the size of the frames."""
    import numpy as np
    import torch
    from models.conftest import pack

    num_frames, size = 36, (384, 640)
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

    return step


def training_step(side: str, case: str) -> Step:
    """Loss, gradients, clipping and AdamW on random frames."""
    import numpy as np
    import torch
    from models.conftest import pack

    from ifrvis.models.drop_path import draw_drop_path_for
    from ifrvis.training.build import settle_torch

    *_, num_clips, num_frames, size = CASES[case]
    given: dict[str, Any] = {"thin": case == "train-thin", "num_frames": num_frames}
    if side != "host":
        settle_torch(1, "fp32")
    model = build(side, **given).train()
    optimizer = optimizer_of(side, model, recipe(side, **given).train["optimizer"])
    masks = np.zeros((4, num_frames, *size), np.uint8)
    for m in range(4):
        masks[m, :, m * 20 : m * 20 + 40, m * 20 : m * 20 + 40] = 1
    keys = [(0, 0, b) for b in range(num_clips)]
    draw_drop_path_for(model, keys)
    clips = [pack(masks, np.arange(4), draw_key=key) for key in keys]
    images = torch.randn(num_clips, num_frames, 3, *size)

    def step() -> None:
        # The host turns the masks of its samples into tensors in place.
        losses = model.loss(images, [copy.deepcopy(clip) for clip in clips])
        optimizer.update_params(sum(value.sum() for value in losses.values()))

    return step


def optimizer_of(side: str, model: Any, settings: dict[str, Any]) -> Any:
    """The training loop's optimizer, or the host's: AdamW as MMEngine makes it of the same settings."""
    import torch
    from mmengine.optim import OptimWrapper

    from ifrvis.models.parameters import parameter_groups
    from ifrvis.training.build import build_optimizer

    if side != "host":
        return build_optimizer(model, settings, precision="fp32")
    rules = {key: settings[key] for key in settings if key not in ("betas", "eps", "clip_grad")}
    adamw = torch.optim.AdamW(parameter_groups(model, **rules), betas=tuple(settings["betas"]), eps=settings["eps"])
    return OptimWrapper(adamw, clip_grad={"max_norm": settings["clip_grad"], "norm_type": 2})


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
