"""The local queue with real processes and the fake worker.

Also tests: ifrvis.harness.jobs.queue.
"""

import contextlib
import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.store.attempts import attempts_of, latest


def test_every_run_completes_once_and_a_second_launch_runs_nothing(make_request, fake, launch, states, tmp_path):
    fake(log=str(tmp_path / "starts"))
    request = make_request(num_seeds=3)
    assert launch(request)[0]
    assert states(request) == ["complete"] * 3
    assert make_plan(request).to_run == []
    assert launch(request)[0]
    assert len((tmp_path / "starts").read_text().splitlines()) == 3


def test_slots_bound_the_jobs_at_once(make_request, fake, launch):
    fake(slow_s=0.2)
    most = []
    launch(make_request(), jobs=1, on_poll=lambda items: most.append(Counter(i.state for i in items)))
    assert max(each["running"] for each in most) == 1


def test_a_pretraining_runs_once_and_before_those_that_start_from_it(make_request, fake, launch, states, tmp_path):
    fake(log=str(tmp_path / "starts"))
    request = make_request(pretraining=True)
    assert launch(request)[0]
    assert states(request) == ["complete"] * 3
    starts = [line.split("-")[0] for line in (tmp_path / "starts").read_text().splitlines()]
    assert starts == ["pretraining", "mask2former", "mask2former"]


def test_every_row_has_its_first_seed_before_any_has_its_second(make_request, fake, launch, tmp_path):
    fake(log=str(tmp_path / "starts"))
    rows = ("mask2former-r50-ytvis19", "ours-r50-ytvis19")
    assert launch(make_request(rows=rows, pretraining=True), jobs=1)[0]
    starts = [line.split()[0].split("-") for line in (tmp_path / "starts").read_text().splitlines()]
    assert [(method, last) for method, *_, last in starts] == [
        ("pretraining", "smoke19"),
        *((method, seed) for seed in ("s0", "s1") for method in ("mask2former", "ours")),
    ]


def test_two_launchers_start_each_run_once(make_request, fake, launch, states, tmp_path):
    fake(log=str(tmp_path / "starts"), slow_s=0.2)
    request = make_request(num_seeds=2)
    other = os.fork()
    if other == 0:
        os._exit(0 if launch(request)[0] else 1)
    assert launch(request)[0]
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0
    assert len((tmp_path / "starts").read_text().splitlines()) == 2
    assert states(request) == ["complete"] * 2


def test_a_killed_worker_goes_on_from_its_last_checkpoint_in_the_same_launch(make_request, fake, midway, states):
    fake(slow_s=0.2)
    request = make_request(num_seeds=1, overrides={"train.iterations": 60})

    def kill(items):
        os.kill(json.loads((items[0].attempt.folder / "job.json").read_text())["pid"], signal.SIGKILL)
        fake()  # the next attempt need not be slow

    assert midway(request, 3, kill)[0]
    assert states(request) == ["complete"]
    first, second = attempts_of(make_plan(request).trainings[0].run(request.store))
    assert first.ending().reason == first.ending().kind == "killed"
    counts = [int((each.checkpoints / "count").read_text()) for each in (first, second)]
    assert 3 - 1 <= counts[0] < counts[1] == 60
    assert second.log.read_text().splitlines()[0].endswith(f"from {counts[0]}")


def test_a_worker_outlives_what_submitit_watches_it_with(make_request, fake, midway, states):
    fake(slow_s=0.2)
    request = make_request(num_seeds=1, overrides={"train.iterations": 20})
    assert midway(request, 2, lambda items: os.kill(int(items[0].job.job_id), signal.SIGKILL))[0]
    assert states(request) == ["complete"]
    assert len(attempts_of(make_plan(request).trainings[0].run(request.store))) == 1


def test_interrupting_stops_at_a_safe_point_and_the_next_launch_goes_on(
    make_request, fake, launch, midway, states, capsys
):
    fake(slow_s=0.2)
    request = make_request(num_seeds=1, overrides={"train.iterations": 60})

    def interrupt(items):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        midway(request, 2, interrupt)
    said = capsys.readouterr().out
    assert said.startswith("stopping at the next safe point (1 running, at most 120 s); Ctrl-C again leaves at once")
    attempt = latest(make_plan(request).trainings[0].run(request.store))
    assert attempt.state() == "stopped"
    assert int((attempt.checkpoints / "count").read_text()) < 60
    fake()
    assert launch(request)[0]
    assert states(request) == ["complete"]


PASSED_TO_TORCH = ("CUDA_DEVICE_ORDER", "PYTORCH_CUDA_ALLOC_CONF", "TORCH_NCCL_ASYNC_ERROR_HANDLING", "NCCL_DEBUG")


def test_jobs_inherit_named_variables_only(make_request, fake, launch, tmp_path, monkeypatch):
    secret, environments = "s3cr3t-of-the-shell", []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    passed = [f"{name}=7".encode() for name in PASSED_TO_TORCH]
    for name in PASSED_TO_TORCH:
        monkeypatch.setenv(name, "7")
    fake(slow_s=0.3)

    def look(items):
        attempt = items[0].attempt
        with contextlib.suppress(OSError):  # it may have ended just now
            process = json.loads((attempt.folder / "job.json").read_text())["pid"] if attempt else "absent"
            environments.append(Path(f"/proc/{process}/environ").read_bytes())

    assert launch(make_request(num_seeds=1), jobs=1, on_poll=look)[0]
    assert any(b"IFRVIS_FAKE=" in each for each in environments)
    assert any(set(passed) <= set(each.split(b"\0")) for each in environments)
    assert not any(secret.encode() in each for each in environments)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"env.json", "submit.json", "spec.json", "exit.json"} <= {path.name for path in written}
    assert not [path for path in written if secret.encode() in path.read_bytes()]
