"""Whether this machine can run what is planned: one line a matter, and what to do about each no."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

from ifrvis.harness.jobs.machine import default_jobs, gpus, num_cores
from ifrvis.harness.plan.cost import cost_of, size_text
from ifrvis.harness.plan.plan import Plan

# In a process of its own: operators that do not fit this torch can end the process that imports them.
PROBE = """
import json
said = {}
try:
    import torch
    said = {"torch": torch.__version__, "cuda": torch.cuda.is_available()}
    from mmcv.ops import MultiScaleDeformableAttention
    from mmcv.utils import ext_loader
    ext_loader.load_ext("_ext", ["ms_deform_attn_forward"])
    said["operators"] = True
except Exception as error:
    said["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""
PROBE_LIMIT_S = 120


@dataclass(frozen=True)
class Check:
    """One matter: whether it is as the plan needs it, what was found, and what to do if it is not."""

    name: str
    state: Literal["ok", "no", "note"]
    found: str
    cure: str = ""


def examine(plan: Plan) -> list[Check]:
    """Look at all that the runs of a plan need."""
    said = _probe()
    return [_python(), *_host(said), _cuda(plan, said), _threads(plan), _disk(plan), _data(plan), _weights(plan)]


def _probe() -> dict[str, Any]:
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PROBE_LIMIT_S)
        said = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {"error": "the process that tried to import it ended"}
    return dict(said)


def _check(name: str, good: bool, found: str, cure: str) -> Check:
    return Check(name, "ok" if good else "no", found, "" if good else cure)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return _check("Python", sys.version_info >= (3, 11), found, "Install Python 3.11 or newer, then `make setup`.")


def _host(said: dict[str, Any]) -> list[Check]:
    error = str(said.get("error", "")).splitlines()[:1]
    torch, operators = said.get("torch"), said.get("operators", False)
    return [
        _check("torch", torch is not None, torch or "".join(error), "Run `make setup`, which installs it."),
        _check(
            "mmcv's operators",
            operators,
            "compiled for this torch" if operators else "".join(error),
            "Run `make setup`, which compiles them once per machine; it needs a C++ compiler.",
        ),
    ]


def _cuda(plan: Plan, said: dict[str, Any]) -> Check:
    profile = plan.request.profile
    if said.get("cuda"):
        return Check("CUDA", "ok", f"{len(gpus())} GPUs")
    if not profile.needs_gpu:
        return Check("CUDA", "note", f"no GPU; profile {profile.name} needs none")
    return Check("CUDA", "no", "no GPU that torch can use", "Choose --profile mini, or a machine with GPUs.")


def _threads(plan: Plan) -> Check:
    threads = max((int(each.spec["threads"]) for each in plan.trainings), default=1)
    found = f"{num_cores()} cores, {threads} threads a run, {default_jobs(threads)} runs at once"
    if threads <= num_cores():
        return Check("threads", "ok", found)
    return Check("threads", "note", found, "It works, slowly: `train.threads` is part of what a run is.")


def _disk(plan: Plan) -> Check:
    cost = cost_of(plan)
    found = f"{size_text(cost.free_bytes)} free, about {size_text(cost.bytes)} needed"
    return _check("disk", cost.bytes <= cost.free_bytes, found, "Free some, see `ifrvis prune`, or move --results.")


def _data(plan: Plan) -> Check:
    missing = list(dict.fromkeys(each.split.missing for each in plan.trainings if each.split.fingerprint is None))
    made = {each.dataset.name for each in plan.trainings if each.split.makeable}
    found = f"made when they are needed: {', '.join(sorted(made))}" if made else "all here"
    return _check("data", not missing, "not all here" if missing else found, " ".join(missing))


def _weights(plan: Plan) -> Check:
    wanting = {each.init_path for each in plan.trainings if each.init_path is not None and each.spec["init"] is None}
    missing = sorted(map(str, wanting))
    found = (
        f"{len(missing)} files are not here, or are not what recipes name"
        if missing
        else "all here, or made by pretrainings"
    )
    return _check("weights", not missing, found, f"Put them where they are expected: {', '.join(missing)}.")
