"""The harness on a thousand finished runs, and what it adds to a run.

A table of 200 rows with 5 seeds each is made, with a finished attempt and a record for every run, nothing trained.
`plan`, `status` and `report` each run in fresh processes, in turn with `import torch`, which all of them do without: a
machine that is slow or busy is so for both. What a run costs beside its training is measured with the tests' fake
worker, which counts to four: from the start of a launch to the end of its only run.

    python benchmarks/bench_harness.py [--runs 3]

writes `benchmarks/results/harness.json`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench_ap import write

if TYPE_CHECKING:
    from ifrvis.evaluation.scores import Scores

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
ROWS, SEEDS = 200, 5
TARGETS_S = {"plan": 1.0, "status": 1.0, "report": 4.0, "overhead of a run": 2.0}
TARGET_RATIOS = {"plan": 0.5, "status": 0.5, "report": 1.5}  # to the time of `import torch`
WHAT = f"{ROWS} rows with {SEEDS} finished runs each; the fake worker"
# Runs a command, and says after its output whether torch was imported.
PROGRAM = "import sys; from ifrvis.cli import main; s = main(sys.argv[1:]); print('torch' in sys.modules); sys.exit(s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each command; the fastest counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder), args.runs)
    results = []
    for case, target in TARGETS_S.items():
        best = min(seconds[case])
        print(f"{case}: {best:.2f} s, target {target} s, {'met' if best <= target else 'missed'}", flush=True)
        one = {"case": case, "quantity": "seconds", "value": round(best, 3), "target": target, "met": best <= target}
        results.append(one)
    for case, target in TARGET_RATIOS.items():
        ratio = min(seconds[case]) / min(seconds["import torch"])
        said = "met" if ratio <= target else "missed"
        print(f"{case}: {ratio:.2f} of the time of import torch, target {target}, {said}", flush=True)
        one = {"case": case, "quantity": "ratio to import torch", "value": round(ratio, 3)}
        results.append({**one, "target": target, "met": ratio <= target})
    write("harness", WHAT, results, {"seconds": seconds, "runs": args.runs})


def measure(folder: Path, runs: int) -> dict[str, list[float]]:
    table, roots = make_table(folder), ["--results", f"{folder}/results", "--reports", f"{folder}/reports"]
    options = [str(table), "--profile", "smoke", "--data-root", f"{folder}/data", *roots]
    finish_runs(table, folder)
    found: dict[str, list[float]] = {name: [] for name in (*TARGET_RATIOS, "import torch")}
    for _ in range(runs):
        for name in TARGET_RATIOS:
            found[name].append(timed([name, *options]))
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        found["import torch"].append(round(time.perf_counter() - start, 3))
    return {**found, "overhead of a run": [overhead(folder / f"run{number}") for number in range(runs)]}


def timed(arguments: list[str]) -> float:
    """Seconds that a command takes in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False", f"{arguments[0]} imports torch"
    assert str(ROWS * SEEDS) in done.stdout or arguments[0] == "report", done.stdout[-500:]
    return round(seconds, 3)


def make_table(folder: Path) -> Path:
    rows = [
        f"  - {{id: ours-r50-lambda{value}-ytvis19, method: ours, backbone: r50, dataset: ytvis19, "
        f"set: {{model.track_head.lambda_e: {value / 1000}}}}}"
        for value in range(ROWS)
    ]
    head = ["name: many", "title: Many rows.", "place: Nowhere", "protocol: heldout"]
    text = "\n".join([*head, f"seeds: {list(range(SEEDS))}", "metrics: [AP, AP50, AP75, AR1, AR10]", "rows:", *rows])
    path = folder / "many.yaml"
    path.write_text(text + "\n")
    return path


def finish_runs(table: Path, folder: Path) -> None:
    """Give every run of the table an attempt that completed and a record of the size of a real one."""
    from unittest import mock

    from made_records import asked, record_of

    from ifrvis.harness.plan.plan import Request
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.harness.spec.tables import load_table
    from ifrvis.harness.store.attempts import claim
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.store.records import publish_record

    store = Store(folder / "results")
    request = Request((load_table(str(table)),), load_profile("smoke"), data_root=folder / "data", store=store)
    with mock.patch("os.fsync"):
        for training in make_plan(request).trainings:
            run = training.run(store)
            run.write_spec(training.spec)
            attempt = claim(run, asked())
            assert attempt is not None
            attempt.end("complete", seconds=4.0)
            (evaluation,) = training.evaluations
            assert training.sig is not None
            assert evaluation.sig is not None
            publish_record(store, record_of(training, evaluation, scores=scores_of(training.seed)))


def scores_of(seed: int) -> "Scores":
    """As many numbers as a real record has."""
    from ifrvis.evaluation.scores import RANGES, RECORDED, Scores, Tracked

    metrics: dict[str, int | float | None] = {name: seed if name == "IDs" else 0.5 + seed / 100 for name in RANGES}
    tracked = Tracked(threshold=0.5, metrics=metrics)
    return Scores(metrics=metrics, per_category={"1": metrics}, tracking=dict.fromkeys(RECORDED, tracked))


def overhead(folder: Path) -> float:
    """Seconds from the start of a launch of one run to its end; counting to four takes no time."""
    import fake_worker

    from ifrvis.harness.jobs.local import LocalQueue
    from ifrvis.harness.plan.plan import Request
    from ifrvis.harness.plan.planner import make_plan
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.harness.spec.tables import load_table
    from ifrvis.harness.store.paths import Store

    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    profile = load_profile("smoke")
    profile = profile.model_copy(update={"pretraining": None, "set": {**profile.set, "train.init": None}})
    rows = ("mask2former-r50-ytvis19",)
    request = Request(
        (load_table("table1"),), profile, rows, 1, data_root=folder / "data", store=Store(folder / "results")
    )
    start = time.perf_counter()
    queue = LocalQueue(make_plan(request).to_run, request, jobs=1, run_attempt=fake_worker.run_attempt)
    assert queue.run(lambda items: None)
    seconds = time.perf_counter() - start
    assert make_plan(request).to_run == []
    return round(seconds, 3)


if __name__ == "__main__":
    main()
