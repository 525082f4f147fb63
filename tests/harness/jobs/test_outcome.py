"""The end of a launch: what failed and what to do, and what has learned."""

import dataclasses

import pytest
from made_records import made_record

from ifrvis.harness.jobs.outcome import failure_lines, verdicts
from ifrvis.harness.jobs.queue import Item
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import Learning
from ifrvis.harness.store.attempts import claim


@pytest.fixture
def judged(make_request):
    """A plan whose one row is complete: `judged(Learning(...), start, last, final)`."""

    def make(learning, start, last, final):
        request = make_request(num_seeds=1)
        plan = make_plan(
            dataclasses.replace(request, profile=request.profile.model_copy(update={"learning": learning}))
        )
        (evaluation,) = plan.evaluations
        evaluation.state = "complete"
        evaluation.record = made_record({"AP": final}, curve={"10": last, "0": start, "5": 0.9})
        return verdicts(plan)

    return make


@pytest.mark.parametrize(
    ("start", "last", "final", "learned"),
    [(0.02, 0.19, 0.16, True), (0.02, 0.19, 0.14, False), (0.1, 0.19, 0.16, False), (0.02, 0.11, 0.16, False)],
)
def test_a_row_has_learned_if_it_gains_and_reaches_enough(judged, start, last, final, learned):
    (line,), all_learned = judged(Learning(videos=15, gain=0.10, reach=0.15), start, last, final)
    assert all_learned is learned
    assert (": learned (" in line) is learned
    watched = f"{100 * start:.1f} with the initial weights, {100 * last:.1f} after training"
    assert f"AP {100 * final:.1f}; on 15 watched videos {watched}" in line


def test_without_bounds_nothing_is_judged(judged):
    (line,), all_learned = judged(Learning(videos=15), 0.5, 0.0, 0.0)
    assert all_learned
    assert "learned" not in line


def test_a_failure_ends_with_its_log_and_the_cure(make_request):
    request = make_request(num_seeds=1)
    (training,) = make_plan(request).trainings
    attempt = claim(training.run(request.store), {})
    attempt.log.write_text("".join(f"line {i}\n" for i in range(50)))
    attempt.end("failed", kind="memory", message="out of memory")
    lines = failure_lines([Item(training, "failed", attempt, message="out of memory")])
    assert lines[0] == "mask2former-r50-ytvis19-s0 failed: out of memory"
    assert lines[1] == "  | line 30"
    assert lines[20] == "  | line 49"
    again = "`ifrvis retry mask2former-r50-ytvis19-s0` and the same command again"
    assert lines[-1].strip() == f"Choose fewer --jobs, then {again}."
