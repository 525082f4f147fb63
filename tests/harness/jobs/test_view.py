"""The end of a launch: what failed and what to do."""

from made_records import asked

from ifrvis.harness.jobs.queue import Item
from ifrvis.harness.jobs.view import failure_lines
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.store.attempts import claim


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
    assert lines[-1].strip() == f"Choose fewer --jobs, then {again}."
