"""What this machine has: cores, GPUs, and the environment that a job may see. Asks no torch."""

import contextlib
import functools
import math
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ifrvis.files import read_text

INHERITED = re.compile(
    "CUDA_(CACHE_PATH|DEVICE_ORDER|HOME)|HOME|LANG|LC_ALL|LD_LIBRARY_PATH|LOGNAME|MPLCONFIGDIR|OPENBLAS_(CORETYPE|L2_SIZE)"
    "|PATH|PYTHON(DONTWRITEBYTECODE|PATH)|PYTORCH_(CUDA_)?ALLOC_CONF|SLURM_CONF|TMPDIR|TORCHINDUCTOR_CACHE_DIR|TORCH_HOME"
    "|TRITON_CACHE_DIR|USER|VIRTUAL_ENV|XDG_(CACHE|CONFIG)_HOME|(IFRVIS|NCCL|TORCH_NCCL)_.*"
)
ANSWER_LIMIT_S = 20.0  # of nvidia-smi: a driver that hangs is no reason to
Listed = Mapping[str, list[str]]  # GPUs in order, by UUID: the instances that each is divided into


def num_cores() -> int:
    """Cores this process may use: those it may run on, and of their time no more than a container's quota."""
    return max(1, int(min(len(os.sched_getaffinity(0)), _quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))))


def _quota(groups: Path, root: Path) -> float:
    """Cores whose time the control groups of this process grant; infinite where none sets a quota.

    Args:
        groups: Lines `number:controllers:path` (cgroups(7)), of version 2 without controllers.
        root: Where they are mounted. In a container a path may lead nowhere: then its own group lies at the top.
    """
    found = [math.inf]
    with contextlib.suppress(ValueError):  # UserError is one: nothing says it here
        for controllers, path in (line.split(":", 2)[1:] for line in read_text(groups, "groups").splitlines()):
            if controllers and "cpu" not in controllers.split(","):
                continue
            own = Path(root, "cpu" if controllers else "", path.strip("/"))
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
            for folder in (own, *own.parents):
                with contextlib.suppress(ValueError):  # there is no such group, or it says `max`
                    quota, period = (int(each) for name in names for each in read_text(folder / name, name).split())
                    found += [quota / period] if quota > 0 else []
    return min(found)


def gpus() -> list[str]:
    """What CUDA sees here: each entry can be a job's CUDA_VISIBLE_DEVICES."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    listed = None if given == "" else _listed(shutil.which("nvidia-smi"))
    if given is not None:
        return visible(given, listed)
    of_gpus = (listed or {}).values()
    return [each for number, instances in enumerate(of_gpus) for each in instances or [str(number)]]


def visible(given: str, listed: Listed | None) -> list[str]:
    """The entries of CUDA_VISIBLE_DEVICES that CUDA takes (its programming guide, and torch's reading of it).

    The first entry says whether they are numbers or UUIDs, which may be cut short. One that is invalid ends the list;
    one that comes twice empties it.

    Args:
        given: The variable.
        listed: The GPUs of this machine; None where nobody says, so that what is well-formed counts.
    """
    found: dict[str, str] = {}
    prefix = next((each for each in ("GPU-", "MIG-") if given.startswith(each)), "")
    for entry in given.split(","):
        device = _named(entry, prefix, listed) if prefix else _numbered(entry.strip(), listed)
        if not device:
            break
        if device in found:
            return []
        found[device] = entry if prefix else device
    return list(found.values())


def _numbered(entry: str, listed: Listed | None) -> str:
    """The number that an entry begins with, as C reads it; empty if there is no such GPU."""
    number = re.match(r"\+?([0-9]+)", entry)
    if number is None or (listed is not None and int(number[1]) >= len(listed)):
        return ""
    return str(int(number[1]))


def _named(entry: str, prefix: str, listed: Listed | None) -> str:
    """The one UUID that begins with an entry; empty if none does, or more than one."""
    if not entry.startswith(prefix) or entry == prefix:
        return ""
    if listed is None:
        return entry
    if entry.startswith("MIG-GPU-"):  # an older form: MIG-<GPU's UUID>/<GPU instance>/<compute instance>
        return entry if entry.removeprefix("MIG-").partition("/")[0] in listed else ""
    known: Iterable[str] = listed if prefix == "GPU-" else [each for of_gpu in listed.values() for each in of_gpu]
    matching = [each for each in known if each.startswith(entry)]
    return matching[0] if len(matching) == 1 else ""


@functools.cache
def _listed(command: str | None) -> Listed | None:
    """The GPUs of this machine, as `nvidia-smi -L` has them; None if it is not here, or does not answer."""
    if command is None:
        return None
    try:
        done = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=ANSWER_LIMIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if gpu := re.match(r"GPU [0-9]+: .*\(UUID: (GPU-[^)]+)\)", line):
            instances = found.setdefault(gpu[1], [])
        elif found and (instance := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)):
            instances.append(instance[1])
    return found


def kills_for_memory() -> int:
    """How many processes this machine has killed for want of memory since it booted; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


@contextlib.contextmanager
def handled(signals: Iterable[signal.Signals], handler: Any) -> Iterator[None]:
    """While the block lasts, some signals are handled so: one that is ignored stays so in processes started inside."""
    kept = {each: signal.signal(each, handler) for each in signals}
    try:
        yield
    finally:
        for each, before in kept.items():
            signal.signal(each, before)


@contextlib.contextmanager
def job_environment(threads: int) -> Iterator[None]:
    """Processes started inside inherit named variables only, and one thread pool size."""
    whole = dict(os.environ)
    kept = {key: value for key, value in whole.items() if INHERITED.fullmatch(key)}
    kept.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    os.environ.clear()
    os.environ.update(kept)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(whole)
