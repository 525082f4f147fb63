"""What `plan` and `status` print, in each state that a table can be in."""

import dataclasses
import errno
import math
from pathlib import Path

import pytest
from made_records import asked, record_of

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.plan import cost
from ifrvis.harness.plan.cost import check_disk, check_links, measure_siblings
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.plan.status import cost_lines, plan_lines, status_lines
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_tables
from ifrvis.harness.store.attempts import claim
from ifrvis.harness.store.lives import Progress
from ifrvis.harness.store.records import Life, publish_record

ROOT = Path(__file__).parents[3]
ROWS = ("mask2former-r50-ytvis19", "ours-r50-ytvis19")


def complete(training, request):
    run = training.run(request.store)
    attempt = claim(run, asked())
    attempt.checkpoints.mkdir()
    (attempt.checkpoints / "iter_000004.pth").write_bytes(bytes(1000))
    attempt.end("complete", seconds=7.2)
    lives = (Life(reason="complete", kind="", seconds=7.2),)
    for evaluation in training.evaluations:
        publish_record(request.store, record_of(training, evaluation, attempts=lives))


def fail(training, request):
    claim(training.run(request.store), asked()).end("failed", kind="nan", message="loss is nan at iteration 3")


def run(training, request):
    attempt = claim(training.run(request.store), asked())
    attempt.beat(Progress(phase="training", iteration=2, iterations=4, loss=1.5, eta_s=75.0))


STATES = {
    "empty": [],
    "partial": [complete, run],
    "failed": [complete, fail, fail, complete],
    "complete": [complete] * 4,
}


@pytest.fixture
def request_in(make_request, monkeypatch):
    monkeypatch.setattr(cost, "_free_bytes", lambda path: 100_000_000)
    monkeypatch.setattr("os.fsync", lambda _: None)

    def make(state):
        request = make_request(rows=ROWS)
        for happened, training in zip(STATES[state], make_plan(request).trainings):
            happened(training, request)
        return request

    return make


@pytest.mark.parametrize("state", STATES)
def test_plan_and_status_equal_their_golden_files(state, request_in, golden):
    plan = make_plan(request_in(state))
    measure_siblings(plan)
    golden(f"plan-{state}.txt", "\n".join([*plan_lines(plan), *cost_lines(plan)]) + "\n")
    golden(f"status-{state}.txt", "\n".join(status_lines(plan) + status_lines(plan, seeds_too=True)) + "\n")


def test_hours_and_bytes_are_measured_on_siblings_else_estimated(request_in):
    plan = make_plan(request_in("partial"))
    measure_siblings(plan)
    like, *others = plan.to_run
    assert like.est_gpu_hours == pytest.approx(0.002)
    assert like.est_bytes == 2 * 1000
    assert [each.est_gpu_hours for each in others] == [0.004, 0.004]
    assert all(each.est_bytes > 1_000_000 for each in others)
    assert (cost.cost_of(plan).measured, cost.cost_of(plan).estimated) == (1, 2)


@pytest.mark.parametrize(
    ("profile", "row", "changes", "times"),
    [
        ("mini", ROWS[0], {}, 1),
        ("mini", ROWS[0], {"train.iterations": 8400}, 4),
        ("mini", ROWS[0], {"train.sampler.num_frames": 4, "train.global_batch": 2}, 1),
        ("mini", ROWS[0], {"train.pipeline.sides": [192]}, 4),
        (
            "mini",
            "seqformer-r50-coco-ytvis19",
            {},
            2.5 * 1.5**2 / 1.5,
        ),  # five frames of side 144, not two of 96, two thirds as often
        ("paper", ROWS[1], {}, 1),
    ],
)
def test_an_estimate_goes_with_what_is_trained_on(make_request, profile, row, changes, times):
    request = dataclasses.replace(
        make_request(rows=(row,), pretraining=True), profile=load_profile(profile), overrides=changes
    )
    training = next(each for each in make_plan(request).trainings if not each.is_pretraining)
    assert training.est_gpu_hours == pytest.approx(request.profile.est_hours["r50"] * times)


def test_a_sibling_of_other_iterations_tells_hours_too(request_in):
    request = request_in("partial")
    plan = make_plan(dataclasses.replace(request, overrides={"train.iterations": 12}))
    measure_siblings(plan)
    assert [each.est_gpu_hours for each in plan.to_run] == pytest.approx([0.006, 0.006, 0.012, 0.012])


def test_a_disk_that_has_less_is_refused(request_in, monkeypatch):
    plan = make_plan(request_in("empty"))
    measure_siblings(plan)
    check_disk(plan)
    monkeypatch.setattr(cost, "_free_bytes", lambda path: 5_000_000)
    with pytest.raises(UserError, match=r"Free .* MB where .* lies .*4 trainings need about .*, the disk has 5 MB"):
        check_disk(plan)


def test_results_where_no_hard_links_can_be_made_are_refused_before_anything_runs(tmp_path, monkeypatch, roots, capsys):
    def refused(*paths):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    assert check_links(tmp_path / "not" / "yet") == str(tmp_path)
    monkeypatch.setattr("os.link", refused)
    with pytest.raises(UserError, match=f"^Put --results where hard links can be made: not in {tmp_path}"):
        check_links(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert main(["run", "table1", "--profile", "smoke", "--rows", ROWS[0], *roots]) == 2
    assert capsys.readouterr().err.startswith("ifrvis: Put --results")


def test_results_where_nothing_can_be_written_say_so(tmp_path, monkeypatch):
    def refused(**options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refused)
    with pytest.raises(UserError, match=f"^Put --results where you may write: not in {tmp_path} "):
        check_links(tmp_path)


def test_the_notes_for_clusters_tell_what_tables_cost(make_request):
    said = (ROOT / "slurm" / "README.md").read_text()
    for name in ("table1", "table4", "all"):
        columns = []
        for profile in ("paper", "mini"):
            request = make_request(profile=profile, pretraining=True, rows=None, num_seeds=None)
            plan = make_plan(dataclasses.replace(request, tables=tuple(load_tables([name], request.profile))))
            hours = math.fsum(each.est_gpu_hours for each in plan.trainings)  # the same in every version of Python
            columns += [str(len(plan.trainings)), f"{hours:.0f}" if profile == "paper" else f"{hours:.1f}"]
        assert f"| {name}{', shared runs once' * (name == 'all')} | {' | '.join(columns)} |" in said


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2e9, "2 GB"), (3e15, "3,000 TB")]
)
def test_sizes_for_people(size, text):
    assert cost.size_text(size) == text
