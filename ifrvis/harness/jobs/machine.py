"""What this machine has: cores, GPUs, and the environment that a job may see. Asks no torch."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INHERITED = (
    "CUDA_HOME",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "PATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
    "SLURM_CONF",
    "TMPDIR",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
)
PREFIXES = ("IFRVIS_", "NCCL_")


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def gpus() -> list[int]:
    """Indices of the NVIDIA GPUs that jobs may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [int(index) for index in visible.split(",") if re.fullmatch("[0-9]+", index.strip())]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return list(range(listed.stdout.count("GPU "))) if listed.returncode == 0 else []


def kills_for_memory() -> int:
    """How many processes this machine has killed for want of memory since it booted; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def default_jobs(threads: int) -> int:
    """How many runs go on at once: one a GPU, else as many as the cores carry."""
    return max(1, len(gpus()) or num_cores() // max(1, threads))


@contextmanager
def job_environment(threads: int) -> Iterator[None]:
    """Processes started inside inherit named variables only, and one thread pool size."""
    whole = dict(os.environ)
    kept = {key: value for key, value in whole.items() if key in INHERITED or key.startswith(PREFIXES)}
    kept.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    os.environ.clear()
    os.environ.update(kept)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(whole)
