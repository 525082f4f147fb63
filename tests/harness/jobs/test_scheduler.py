"""What SLURM's commands print is read as it is, in one question for all jobs."""

import subprocess

import pytest

from ifrvis.harness.jobs import scheduler
from ifrvis.harness.jobs.scheduler import Job, jobs_of, settings


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
    lines = [f"{name}|{index}|7{name[-1]}_{index}|RUNNING|None" for name, index in keys]
    asked = answers(squeue="\n".join(lines))
    found = jobs_of(keys)
    assert found.keys() == keys
    assert found["ifrvis-3", 99] == Job("73_99", "RUNNING", "None")
    assert [command[0] for command in asked] == ["squeue"]


def test_accounting_is_asked_once_for_what_left_the_queue(answers):
    said = "JobID|JobName|State\n7_0|ifrvis-1|TIMEOUT\n7_[1-2%3]|ifrvis-1|CANCELLED by 1000\n"
    asked = answers(squeue="ifrvis-1|3|7_3|PENDING|Resources\n", sacct=said)
    found = jobs_of({("ifrvis-1", index) for index in range(5)})
    states = {index: job.state for (_, index), job in found.items()}
    assert states == {0: "TIMEOUT", 1: "CANCELLED", 2: "CANCELLED", 3: "PENDING"}
    assert [command[0] for command in asked] == ["squeue", "sacct"]


def test_without_accounting_the_queue_is_enough(answers):
    answers(squeue="ifrvis-1|0|7_0|COMPLETED|None\n")
    assert jobs_of({("ifrvis-1", 0), ("ifrvis-1", 1)}) == {("ifrvis-1", 0): Job("7_0", "COMPLETED", "None")}


def test_no_answer_is_not_an_empty_one(answers):
    answers()
    assert jobs_of({("ifrvis-1", 0)}) is None
    assert settings() is None
    answers(scontrol="slurm_load_ctl_conf error: Unable to contact slurm controller\n")
    assert settings() is None


def test_commands_get_nothing_of_the_job_that_they_are_called_from(monkeypatch):
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "SUBMITIT_EXECUTOR"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    said = scheduler.ask("env").stdout.splitlines()
    assert "SLURM_CONF=/etc/slurm.conf" in said
    assert not [line for line in said if line.startswith(("SLURM_J", "SBATCH_", "SUBMITIT_"))]


def test_a_command_that_is_not_here_is_no_answer():
    assert scheduler.ask("sbatch-that-is-nowhere") is None
