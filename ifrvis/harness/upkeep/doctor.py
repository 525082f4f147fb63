"""Whether this machine can run what is planned: one line a matter, and what to do about each no."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ifrvis.errors import UserError
from ifrvis.files import cache_folder
from ifrvis.harness.jobs.launch import jobs_at_once
from ifrvis.harness.jobs.machine import gpus, num_cores
from ifrvis.harness.plan.cost import check_links, cost_of, size_text
from ifrvis.harness.plan.plan import Plan
from ifrvis.harness.store.provenance import SHADOWED, provenance

# In a process of its own: operators that do not fit this torch can end the process that imports them. What is compiled
# for a CPU imports beside a GPU as well, so attention has to run on the device that training would take.
PROBE = """
import json, ifrvis
said = {}
try:
    import torch
    said = {"torch": torch.__version__, "cuda": torch.cuda.is_available()}
    import mmdet.datasets
    from mmcv.ops import MultiScaleDeformableAttention
    device = torch.device("cuda" if said["cuda"] else "cpu")
    attention = MultiScaleDeformableAttention(32, num_levels=1, num_heads=4, batch_first=True).to(device)
    memory = torch.rand(1, 16, 32, device=device, requires_grad=True)
    shapes, start = torch.tensor([[4, 4]], device=device), torch.tensor([0], device=device)
    points = torch.rand(1, 16, 1, 2, device=device)
    out = attention(memory, value=memory, reference_points=points, spatial_shapes=shapes, level_start_index=start)
    out.sum().backward()
    assert out.isfinite().all() and memory.grad.isfinite().all(), "attention gives no finite numbers"
    said["attention"] = torch.cuda.get_device_name(device) if said["cuda"] else "cpu"
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


def examine(plan: Plan) -> Iterator[Check]:
    """Look at all that the runs of a plan need; each matter is given when it is known."""
    yield Check("Python", "ok", platform.python_version())  # an older one does not come so far
    said = probe_host()
    yield from _host(said)
    yield _packages()
    yield _cuda(plan, said)
    yield Check("caches", "ok", f"in {cache_folder()}")
    yield from (look(plan) for look in (_threads, _disk, _links, _data, _weights))


def probe_host() -> dict[str, Any]:
    """What a process that imports torch and the host, and runs attention, says: `error` if it could not."""
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PROBE_LIMIT_S)
        said = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"error": f"the process that tried to import it was not done after {PROBE_LIMIT_S} s"}
    except (OSError, ValueError, IndexError):
        return {"error": "the process that tried to import it ended"}
    return dict(said)


def check_that(name: str, good: bool, found: str, cure: str) -> Check:
    """A matter that is as the plan needs it, or is not and has this cure."""
    return Check(name, "ok" if good else "no", found, "" if good else cure)


def _host(said: dict[str, Any]) -> list[Check]:
    error = "".join(str(said.get("error", "")).splitlines()[:1])
    torch, device = said.get("torch"), said.get("attention")
    runs = {None: error, "cpu": "not needed on a CPU"}.get(device, f"attention runs on {device}")
    cure = "Delete .venv/.ready and run `make setup` here, or elsewhere with TORCH_CUDA_ARCH_LIST=9.0 (for an H100)."
    return [
        check_that("torch", torch is not None, torch or error, "Run `make setup`, or `pip install 'ifrvis[train]'`."),
        check_that("mmcv's operators", device is not None, runs, cure),
    ]


def _packages() -> Check:
    shadowed = [name for name, found in provenance().versions.items() if SHADOWED in (found or "")]
    found = f"another in the place of {', '.join(shadowed)}" if shadowed else "those of this environment"
    own = "take an environment without OpenMMLab's own mmengine, mmcv and mmdet, which these overwrite"
    return check_that("packages", not shadowed, found, f"Unset PYTHONPATH, or {own}.")


def _cuda(plan: Plan, said: dict[str, Any]) -> Check:
    profile = plan.request.profile
    if said.get("cuda"):
        return Check("CUDA", "ok", f"{len(gpus())} GPUs")
    if not profile.needs_gpu:
        return Check("CUDA", "note", f"no GPU; profile {profile.name} needs none")
    cure = "Choose a --profile that needs none, or a machine with GPUs."
    return Check("CUDA", "no", "no GPU that torch can use", cure)


def _threads(plan: Plan) -> Check:
    threads = max((each.spec.threads for each in plan.trainings), default=1)
    found = f"{num_cores()} cores, {threads} threads a run, {jobs_at_once(plan)} runs at once"
    if threads <= num_cores():
        return Check("threads", "ok", found)
    return Check("threads", "note", found, "It works, slowly: `train.threads` is part of what a run is.")


def _links(plan: Plan) -> Check:
    try:
        return Check("hard links", "ok", f"{check_links(plan.request.store.root)} has them")
    except UserError as error:
        return Check("hard links", "no", "no record can be published", str(error))


def _disk(plan: Plan) -> Check:
    cost = cost_of(plan)
    found = f"{size_text(cost.free_bytes)} free, about {size_text(cost.bytes)} needed"
    return check_that("disk", cost.bytes <= cost.free_bytes, found, "Free some, see `ifrvis prune`, or move --results.")


def _data(plan: Plan) -> Check:
    missing = list(dict.fromkeys(each.split.missing for each in plan.trainings if each.split.fingerprint is None))
    made = {each.dataset.name for each in plan.trainings if each.split.makeable}
    found = f"made when they are needed: {', '.join(sorted(made))}" if made else "all here"
    return check_that("data", not missing, "not all here" if missing else found, " ".join(missing))


def _weights(plan: Plan) -> Check:
    wanting = {each.init_path for each in plan.trainings if each.init_path is not None and each.spec.init is None}
    missing = sorted(map(str, wanting))
    lacking = f"{len(missing)} files are not here, or are not what recipes name" if missing else ""
    found = lacking or "all here, or made by pretrainings"
    return check_that("weights", not missing, found, f"Put them where they are expected: {', '.join(missing)}.")
