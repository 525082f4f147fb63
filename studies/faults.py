"""Plant faults in a copy of the models, one at a time, and see that the tests notice each.

    python studies/faults.py [--only NAME]

prints every fault with the first test that failed, and exits with 1 if a fault went unnoticed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MODELS = Path("ifrvis/models")


class Fault(NamedTuple):
    """A name, the module, and texts of it with what stands in their place."""

    name: str
    module: str
    changes: dict[str, str]


FAULTS = [
    Fault("lambda_e ignored", "losses", {"self.lambda_e / others if others else 0.0": "0.0"}),
    Fault(
        "cross term on the initial prediction",
        "losses",
        {"sizes = [1, *[": "sizes = [*[", " * (num_layers - 1)]": " * num_layers]"},
    ),
    Fault(
        "mean over the other frames instead of the sum",
        "losses",
        {"if self.cross_frame_mean else": "if True else"},
    ),
    Fault(
        "t1 and t2 swapped: a frame's own query in the cross term",
        "losses",
        {"rest + (rest >= own[:, None])], 1)": "own[:, None].expand(-1, num_frames - 1)], 1)"},
    ),
    Fault(
        "masks compared with another frame's ground truth",
        "losses",
        {"[of_clip.transpose(0, 1).flatten": "[of_clip.transpose(0, 1).flip(0).flatten"},
    ),
    Fault(
        "points not shared in the cost",
        "losses",
        {"torch.cat(points)[None])": "torch.cat([each.flip(0) for each in points])[None])"},
    ),
    Fault("the certain points kept", "losses", {"largest=False": "largest=True"}),
    Fault("dice without its ones", "losses", {"1.0 - (overlap + 1.0) / (": "1.0 - overlap / ("}),
    Fault(
        "focal loss with alpha on the negatives",
        "losses",
        {"targets * self.alpha + (1.0": "(1 - targets) * self.alpha + (0.0"},
    ),
    Fault("class cost with the wrong sign", "losses", {'masks - self.weights["cls"]': 'masks + self.weights["cls"]'}),
    Fault(
        "mask loss divided by the frames",
        "losses",
        {'["mask"] * mask / norms.num_instances': '["mask"] * mask / norms.num_instances / mask_features.shape[1]'},
    ),
    Fault("the host's T-fold mask loss", "losses", {" if self.host_mask_loss else 1)": ")"}),
    Fault(
        "no-object weighs as much as a class", "losses", {"weights[-1] = self.no_object_weight": "weights[-1] = 1.0"}
    ),
    Fault(
        "normalisers of the micro-batch instead of the global batch",
        "targets",
        {'if "batch_num_instances" in meta': "if not meta"},
    ),
    Fault("draws from the global generator", "targets", {"if self.draw_key is None:": "if True:"}),
    Fault("all layers draw the same points", "targets", {"self.draw_key), layer)": "self.draw_key), 0)"}),
    Fault(
        "class of an absent instance taken from the last frame", "targets", {"if absent_class is not None:": "if True:"}
    ),
    Fault("mask inverted", "attention", {"return logits > torch.zeros": "return -logits > torch.zeros"}),
    Fault("an empty mask attends nowhere", "attention", {"masked_fill(empty, -torch.inf)": "masked_fill(empty, 0.0)"}),
    Fault(
        "mask features resized by the nearest cell",
        "attention",
        {'mode="bilinear", align_corners=False': 'mode="nearest"'},
    ),
    Fault(
        "positions on the values too",
        "attention",
        {
            "F.linear(memory.frames.tokens, self._memory_weight": (
                "F.linear(memory.frames.tokens + memory.positions, self._memory_weight"
            ),
            " + F.linear(memory.positions, self._key_weight)": "",
        },
    ),
    Fault(
        "level embedding forgotten",
        "attention",
        {
            " + self._memory_weight @ memory.level\n        key, value = F.linear(memory": (
                "\n        key, value = F.linear(memory"
            ),
            " + self._memory_weight @ memory.level\n        key, value = F.linear(tokens": (
                "\n        key, value = F.linear(tokens"
            ),
        },
    ),
    Fault("scores not scaled", "attention", {"attn_mask=allowed)": "attn_mask=allowed, scale=1.0)"}),
    Fault(
        "masks from clip-level queries",
        "mask2former",
        {"self.mask_embed(norm(frame_queries))": "self.mask_embed(norm(queries[:, None]))"},
    ),
    Fault(
        "classes from frame-level queries",
        "mask2former",
        {"self.cls_embed(norm(queries))": "self.cls_embed(norm(frame_queries[:, -1]))"},
    ),
    Fault(
        "masks of the initial prediction in every layer",
        "mask2former",
        {
            "memory, output.mask_embeds)": "memory, first.mask_embeds)",
            "output = self._predict_layer(queries, queries[": "first = output = self._predict_layer(queries, queries[",
        },
    ),
    Fault("levels from high to low resolution", "mask2former", {"memories[i % len": "memories[-i % len"}),
    Fault("the clip-level half kept", "ifr", {"half = self._seen(previous, seen)": "half = clip_half"}),
    Fault(
        "a sum in Eq. 2 that is not printed",
        "ifr",
        {"queries + seen if self.residual else seen": "queries + seen"},
    ),
    Fault("temporal attention always to all queries", "ifr", {"if self.own_keys:": "if False:"}),
    Fault(
        "self-attention over the kept half alone",
        "ifr",
        {
            "torch.cat([own.key(placed), clip_key], -2)": "own.key(placed)",
            "torch.cat([own.value(half), clip_value], -2)": "own.value(half)",
        },
    ),
    Fault(
        "self-attention over the clip-level half alone",
        "ifr",
        {
            "torch.cat([own.key(placed), clip_key], -2)": "clip_key",
            "torch.cat([own.value(half), clip_value], -2)": "clip_value",
        },
    ),
    Fault(
        "previous frame taken from the next",
        "ifr",
        {
            "in enumerate(of_frames):": "in reversed(list(enumerate(of_frames))):",
            "return torch.stack(results, 1)": "return torch.stack(results[::-1], 1)",
        },
    ),
    Fault("previous frame always the first", "ifr", {"previous = results[-1]": "previous = results[0]"}),
    Fault("recurrence starts anew in every chunk", "ifr", {"if results and self.recurrence:": "if t > 0:"}),
    Fault("another frame's attention mask", "ifr", {"bias[:, t])": "bias[:, 0])"}),
    Fault(
        "query embedding missing on the keys of Eq. 3",
        "ifr",
        {"own.key(attended + query_pos)": "own.key(attended)"},
    ),
    Fault("no FFN after Eq. 3", "ifr", {"self.norms[2](self.ffn(half))": "self.norms[2](half)"}),
    Fault(
        "temporal attention over the last frame alone",
        "ifr",
        {
            "asking = frame_queries + query_pos, frame_queries, queries": (
                "asking = frame_queries[:, -1:] + query_pos, frame_queries[:, -1:], queries"
            )
        },
    ),
    Fault(
        "no self-attention of clip-level queries",
        "ifr",
        {"self.clip_norms[1](queries + ": "self.clip_norms[1](queries + 0 * "},
    ),
    Fault("weight decay on bias tables", "parameters", {"and name not in _UNDECAYED_NAMES": ""}),
    Fault("backbone at the full learning rate", "parameters", {'backbone_lr_mult if "backbone"': '1.0 if "backbone"'}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="part of a fault's name")
    only = parser.parse_args().only
    faults = [fault for fault in FAULTS if only is None or only in fault.name]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("ifrvis", "experiments", "tests/models"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "tests/conftest.py"):
            shutil.copy(ROOT / name, copy / name)
        unnoticed = [fault.name for fault in faults if not noticed(fault, copy)]
    print(f"{len(faults) - len(unnoticed)} of {len(faults)} faults noticed")
    sys.exit(1 if unnoticed else 0)


def noticed(fault: Fault, copy: Path) -> bool:
    """Whether a test fails on a copy with this fault; the copy is put right again."""
    path = copy / MODELS / f"{fault.module}.py"
    right = path.read_text()
    path.write_text(planted(fault, right))
    try:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/models"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(copy)}
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    finally:
        path.write_text(right)
    failed = re.search(r"^FAILED (\S+)", run.stdout, re.MULTILINE)
    print(
        f"{'noticed' if failed else 'UNNOTICED'}: {fault.name} ({failed[1] if failed else run.stdout[-300:]})",
        flush=True,
    )
    return failed is not None


def planted(fault: Fault, right: str) -> str:
    """The text of the module with this fault."""
    wrong = right
    for old, new in fault.changes.items():
        if wrong.count(old) != 1:
            raise ValueError(f"Update the fault {fault.name!r}: {old!r} is {wrong.count(old)} times in {fault.module}.")
        wrong = wrong.replace(old, new)
    return wrong


if __name__ == "__main__":
    main()
