"""What a launch shows of many runs, and its end: what failed and what to do."""

import io
import re

import pytest
from made_records import asked
from rich.console import Console

from ifrvis.harness.jobs.queue import Item
from ifrvis.harness.jobs.view import failure_lines, live_view
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.store.attempts import claim
from ifrvis.harness.store.lives import Progress


def test_a_failure_ends_with_its_log_and_the_cure(make_request):
    request = make_request(num_seeds=1)
    (training,) = make_plan(request).trainings
    attempt = claim(training.run(request.store), asked())
    attempt.log.write_text("".join(f"line {i}\n" for i in range(50)))
    attempt.end("failed", kind="memory", message="out of memory")
    lines = failure_lines([Item(training, "failed", attempt, message="out of memory")])
    assert lines[0] == "mask2former-r50-ytvis19-s0 failed: out of memory"
    assert lines[1] == "  | line 30"
    assert lines[20] == "  | line 49"
    again = "`ifrvis retry mask2former-r50-ytvis19-s0` and the same command again"
    assert lines[-1].strip() == f"Choose fewer --jobs, or --micro-batch 1, then {again}."


@pytest.fixture
def items(make_request):
    """Two rows of three seeds after their pretraining, which runs, beside the first run of the first row."""
    request = make_request(num_seeds=3, rows=("mask2former-r50-ytvis19", "ours-r50-ytvis19"), pretraining=True)
    found = [Item(training) for training in make_plan(request).trainings]
    for item, eta_s in zip(found, (60.0, 300.0)):
        item.state, item.attempt = "running", claim(item.training.run(request.store), asked())
        item.attempt.beat(Progress(phase="training", iteration=700, iterations=1400, loss=1.5, eta_s=eta_s))
        item.training.est_hours = 2 * eta_s / 3600  # as expected
    for item in found[2:]:
        item.training.est_hours = 0.5
    found[3].state = "complete"
    return found


def shown(items, polls=1, *, width=200, **options):
    console = Console(file=io.StringIO(), width=width, **options)
    with live_view(console, on_interrupt="Ctrl-C stops") as show:
        for _ in range(polls):
            show(items)
    return console.file.getvalue()


def test_a_log_gets_a_line_every_half_minute_at_most_and_one_at_the_end(items, monkeypatch):
    now = iter(range(0, 10_000, 2))
    monkeypatch.setattr("ifrvis.harness.jobs.view.time.monotonic", lambda: next(now))
    lines = shown(items, polls=200).splitlines()
    assert 2 < len(lines) <= 2 + 200 * 4 / 30
    assert "2 running, 4 waiting, 1 complete; pretraining-r50-smoke19 training 700/1400 loss 1.50; mask2" in lines[0]
    # On two places: the minute of the pretraining, then five minutes and four times half an hour.
    assert lines[0].endswith("about 60 s of pretraining, then about 62 min left")


def test_what_waits_is_estimated_at_the_pace_of_timed_iterations(items):
    items[0].attempt.beat(Progress(phase="predicting", iteration=1400, iterations=1400, eta_s=60.0))  # has no pace
    items[1].training.est_hours /= 2  # this machine has half the speed that was expected
    assert shown(items).splitlines()[0].endswith("then about 2 h 02 min left")


@pytest.mark.parametrize(
    ("phase", "eta_s", "left"), [("predicting", 90.0, "; about 2 min left"), ("scoring", None, "")]
)
def test_what_is_trained_has_its_prediction_left_and_then_nothing_worth_a_number(items, phase, eta_s, left):
    alone = items[1:2]
    alone[0].attempt.beat(Progress(phase=phase, iteration=10, iterations=150, eta_s=eta_s))
    assert shown(alone).splitlines()[0] == f"1 running; mask2former-r50-ytvis19-s0 {phase} 10/150{left}"


@pytest.mark.parametrize("width", [200, 80])
def test_a_terminal_gets_a_line_a_row(items, width):
    said = shown(items, width=width, force_terminal=True, color_system=None)
    (row,) = (line for line in said.splitlines() if "mask2former-r50-ytvis19" in line)
    assert re.search("1/3 +running +training 700/1400 +1.50 +5 min", row)
    assert said.count("ours-r50-ytvis19") == 1
    said = " ".join(said.split())
    assert "1 of 7 runs complete; about 60 s of pretraining, then about 62 min left; Ctrl-C stops" in said
