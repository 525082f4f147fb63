"""What the first GPU does with this project: about six minutes, step by step.

    python benchmarks/check_gpu.py OUT [--dry] [--only STEP]

Each step (`gpu_steps`) is a process of its own with a time limit; after each, OUT/gpu.json is written anew. A step that
fails or runs out of its time is a line there, with what it had measured, and the others go on. `--dry` does the same in
small on a CPU. `benchmarks/pack_gpu_check.sh` makes a folder for a machine without network.

It needs Python 3.11 or newer, torch, numpy, scipy, OpenCV, pandas, Pillow, PyYAML, pytest and hypothesis, and what the
pack brings; for the operator a CUDA compiler of torch's major version, a C++ compiler and ninja.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]
LIMITS_S = {  # in order; those that tell most come first
    "environment": 40,
    "build": 150,
    "operator": 40,
    "agreement": 60,
    "amp": 60,
    "steps": 120,
    "inference": 90,
    "marked": 120,
    "mini": 120,
    "resume": 60,
    "ddp": 40,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--dry", action="store_true", help="in small, on a CPU")
    parser.add_argument("--only", choices=LIMITS_S, action="append")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        import gpu_steps

        gpu_steps.run(given.step, given.out, dry=given.dry)
        return 0
    report: dict[str, Any] = {"dry": given.dry, "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    report["steps"] = {}
    for step in given.only or LIMITS_S:
        report["steps"][step] = line = in_process(step, LIMITS_S[step] * (5 if given.dry else 1), dry=given.dry)
        report["seconds"] = round(sum(each["seconds"] for each in report["steps"].values()), 1)
        report["complete"] = report["steps"].keys() == LIMITS_S.keys()
        write(given.out, report)
        print(f"{step}: {line['state']} in {line['seconds']} s {line.get('error', '')}", flush=True)
    return 0


def in_process(step: str, limit_s: float, *, dry: bool) -> dict[str, Any]:
    """One step: its state, seconds, what it measured, and why it failed if it did."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-u", "-W", "ignore", __file__, folder, "--step", step, *["--dry"] * dry]
        # A session of its own, all of whose processes end with it.
        with Path(folder, "log").open("wb+") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            try:
                state = "done" if child.wait(limit_s) == 0 else "failed"
            except subprocess.TimeoutExpired:
                state = "out of time"
            end_session(child)
            log.seek(0)
            said = log.read().decode(errors="replace").splitlines()
        found = Path(folder, "found.json")
        measured = json.loads(found.read_text()) if found.exists() else {}
    line = {"state": state, "seconds": round(time.monotonic() - began, 1), "measured": measured}
    if state != "done":
        line |= {"error": said[-1][:400] if said else "it said nothing", "said": said[-25:]}
    return line


def end_session(child: subprocess.Popen[bytes]) -> None:
    """End a step's processes: its own, and what they have left in their session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def write(out: Path, report: dict[str, Any]) -> None:
    """Write OUT/gpu.json, whole at any instant."""
    out.mkdir(parents=True, exist_ok=True)
    part = out / "gpu.json.part"
    part.write_text(json.dumps(report, indent=1) + "\n")
    part.replace(out / "gpu.json")


if __name__ == "__main__":
    sys.exit(main())
