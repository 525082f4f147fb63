"""The processes of one run, on one machine or in one job: what each is told, and those that help the first.

python -m ifrvis.harness.jobs.together MODULE:FUNCTION results/runs/<run>/attempts/0001
"""

import contextlib
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ifrvis.harness.jobs.worker_life import SIGNALS

LEAVE_LIMIT_S = 60.0  # for helpers, once the first is done


def name_of(function: Callable[[str], Any]) -> str:
    """What `pkgutil.resolve_name` finds a function by."""
    return f"{function.__module__}:{function.__qualname__}"


def run_together(processes: int, run_attempt: Callable[[str], Any], folder: str) -> None:
    """Live an attempt as the first of so many processes of this machine; the others, if there are any, end with it."""
    if processes == 1:
        run_attempt(folder)
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        meeting = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    told = [{"RANK": str(rank), "LOCAL_RANK": str(rank), **meeting} for rank in range(processes)]
    command = [sys.executable, "-m", __name__, name_of(run_attempt), folder]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # what a job is sent goes to all its processes
    helpers = [subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **each}) for each in told[1:]]
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.environ.update(told[0])  # what `training.processes` reads
    try:
        run_attempt(folder)
    finally:
        for helper in helpers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                helper.wait(LEAVE_LIMIT_S)
            helper.kill()
            helper.communicate()


def gpus_of(slot: int, gpus: Sequence[str], per_run: int, processes: int) -> list[str]:
    """The GPUs of the run in a slot of this machine; none where it has none."""
    return [gpus[(slot * per_run + rank) % len(gpus)] for rank in range(processes) if gpus]


def run_on(gpus: list[str], processes: int, run_attempt: Callable[[str], None], folder: str) -> None:
    """Live an attempt on some GPUs, or none: submitit's own `visible_gpus` knows numbers alone, and no UUIDs."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    run_together(processes, run_attempt, folder)


def _leave_with_the_first() -> None:
    """Wherever this process waits just then: its standard input ends when the first is gone."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    for each in SIGNALS:  # the first process alone stops, and takes this one along
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_leave_with_the_first, daemon=True).start()
    pkgutil.resolve_name(sys.argv[1])(sys.argv[2])
