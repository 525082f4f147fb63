"""Whether a process lives, as far as that can be seen from this machine, and how old a file is."""

import contextlib
import os
import tempfile
import time
from pathlib import Path

from ifrvis.schema import Model


class Process(Model):
    """A process: its id and when it started, in the kernel's ticks, name it for good on its machine."""

    machine: str
    pid: int
    started: str | None


def machine() -> str:
    """What process ids refer to: this machine since its last boot, and in a container, that container."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + str(Path("/proc/self/ns/pid").readlink())


def this_process() -> Process:
    """This process."""
    return Process(machine=machine(), pid=os.getpid(), started=process_start(os.getpid()))


def process_start(pid: int) -> str | None:
    """When a process started; None if there is none with this id, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def lives(process: Process | None) -> bool | None:
    """Whether a process lives; None if it cannot be seen from here."""
    if process is None or process.machine != machine():
        return None
    return process.started is not None and process_start(process.pid) == process.started


def names_a_command(name: str) -> bool:
    """Whether the command of any process here has a name in it: a job that is about to begin, or to be submitted."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if name.encode() in command.read_bytes():
                return True
    return False


def age_s(path: Path) -> float:
    """Age of a file by the file server's own clock, where we may write beside it."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            now = os.fstat(probe.fileno()).st_mtime
    except OSError:
        now = time.time()
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0
