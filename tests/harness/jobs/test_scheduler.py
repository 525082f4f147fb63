"""What SLURM's commands print is read as it is, in one question for all jobs."""

import subprocess
from pathlib import Path

import pytest

from ifrvis.errors import UserError
from ifrvis.harness.jobs import scheduler
from ifrvis.harness.jobs.scheduler import Job, RefusedError, jobs_of, settings, submit


@pytest.fixture
def answers(monkeypatch):
    """Say what each command prints, None for no answer; the commands that were asked are kept."""
    asked = []

    def give(**texts):
        def ask(*command):
            asked.append(command)
            text = texts.get(command[0])
            return None if text is None else subprocess.CompletedProcess(command, 0, text, "")

        monkeypatch.setattr(scheduler, "ask", ask)
        return asked

    return give


def test_a_thousand_jobs_are_one_question(answers):
    keys = {(f"ifrvis-{array}", index) for array in range(10) for index in range(100)}
    lines = [f"{name}|{index}|7{name[-1]}_{index}|RUNNING|0|None|" for name, index in keys]
    asked = answers(squeue="\n".join(lines))
    found = jobs_of(keys)
    assert found.keys() == keys
    assert found["ifrvis-3", 99] == Job("73_99", "RUNNING", "None", "0:0")
    assert [command[0] for command in asked] == ["squeue"]


def test_accounting_is_asked_once_for_what_left_the_queue(answers):
    said = "JobID|JobName|State|ExitCode\n7_0|ifrvis-1|TIMEOUT|0:9\n7_[1-2%3]|ifrvis-1|CANCELLED by 1000|0:0\n"
    asked = answers(squeue="ifrvis-1|3|7_3|PENDING|0|Resources|\n", sacct=said)
    found = jobs_of({("ifrvis-1", index) for index in range(5)})
    states = {index: job.state for (_, index), job in found.items()}
    assert states == {0: "TIMEOUT", 1: "CANCELLED", 2: "CANCELLED", 3: "PENDING"}
    assert [command[0] for command in asked] == ["squeue", "sacct"]


def test_without_accounting_the_queue_is_enough(answers):
    answers(squeue="ifrvis-1|0|7_0|FAILED|768|NonZeroExitCode|\n")
    assert jobs_of({("ifrvis-1", 0), ("ifrvis-1", 1)}) == {
        ("ifrvis-1", 0): Job("7_0", "FAILED", "NonZeroExitCode", "3:0")
    }


def test_no_answer_is_not_an_empty_one(answers):
    answers()
    assert jobs_of({("ifrvis-1", 0)}) is None
    assert not settings()
    answers(scontrol="slurm_load_ctl_conf error: Unable to contact slurm controller\n")
    assert not settings()


def test_what_a_site_prints_beside_its_answer_is_no_job(answers):
    line = "ifrvis-1|0|7_0|RUNNING|0|None|"
    answers(squeue=f"Welcome to the cluster\n\n{line}\n")
    assert jobs_of({("ifrvis-1", 0)}) == {("ifrvis-1", 0): Job("7_0", "RUNNING", "None", "0:0")}
    said = "a|note\nJobID|JobName|State|ExitCode\n7_0|ifrvis-1|FAILED|1:0\n7_1|ifrvis-1||\n7_2|ifrvis-1|FA"
    answers(squeue="", sacct=said)
    assert jobs_of({("ifrvis-1", 0), ("ifrvis-1", 1)}) == {("ifrvis-1", 0): Job("7_0", "FAILED", "", "1:0")}


def test_an_error_that_is_printed_like_an_answer_says_of_no_job_that_it_is_gone(answers):
    said = "slurm_load_jobs error: Unable to contact slurm controller\n"
    answers(squeue=said)
    assert jobs_of({("ifrvis-1", 0)}) is None
    answers(squeue=said, sacct="JobID|JobName|State|ExitCode\n7_0|ifrvis-1|FAILED|1:0\n")
    assert jobs_of({("ifrvis-1", 0)}) == {("ifrvis-1", 0): Job("7_0", "FAILED", "", "1:0")}
    assert jobs_of({("ifrvis-1", 0), ("ifrvis-1", 1)}) is None


def test_commands_get_nothing_of_the_job_that_they_are_called_from(monkeypatch):
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "SUBMITIT_EXECUTOR"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    said = scheduler.ask("env").stdout.splitlines()
    assert "SLURM_CONF=/etc/slurm.conf" in said
    assert not [line for line in said if line.startswith(("SLURM_J", "SBATCH_", "SUBMITIT_"))]


def test_a_command_that_is_not_here_is_no_answer():
    assert scheduler.ask("sbatch-that-is-nowhere") is None


def sbatch(monkeypatch, code, out="", err=""):
    monkeypatch.setattr(scheduler, "ask", lambda *command: subprocess.CompletedProcess(command, code, out, err))
    return submit(Path("x.sh"))


@pytest.mark.parametrize("said", ["7\n", "*** 3 tickets, job 12 ***\n7;here\n", "2029: a year\n7\ngood bye\n"])
def test_only_a_number_is_the_id_of_a_job(monkeypatch, said):
    assert sbatch(monkeypatch, 0, said) == "7"


POLICY = "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or ...)"


@pytest.mark.parametrize(
    ("code", "said", "kind", "is_full"),
    [
        (1, f"sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: {POLICY}", RefusedError, True),
        (1, f"sbatch: error: QOSGrpSubmitJobsLimit\nsbatch: error: {POLICY}", RefusedError, True),
        (1, f"sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: {POLICY}", RefusedError, False),
        (1, "sbatch: error: invalid partition specified: x", RefusedError, False),
        (1, "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", UserError, None),
        (0, "welcome", UserError, None),
    ],
)
def test_a_limit_a_mistake_and_no_answer_are_told_apart(monkeypatch, code, said, kind, is_full):
    with pytest.raises(UserError) as caught:
        sbatch(monkeypatch, code, err=said)
    assert type(caught.value) is kind
    assert getattr(caught.value, "is_full", None) is is_full
    assert said.split()[-1] in str(caught.value) or is_full
