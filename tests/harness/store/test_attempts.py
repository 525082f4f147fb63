"""Attempts: claimed once, fenced, and told alive from dead by their files.

Also tests: ifrvis.harness.store.alive.
"""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from made_records import asked

from ifrvis.errors import UserError
from ifrvis.harness.store import attempts
from ifrvis.harness.store.alive import machine
from ifrvis.harness.store.attempts import attempt_at, attempts_of, claim
from ifrvis.harness.store.lives import Progress
from ifrvis.harness.store.logs import log_lines
from ifrvis.harness.store.recovery import kind_of


def write_process(attempt, pid, started):
    (attempt.folder / "job.json").write_text(json.dumps({"machine": machine(), "pid": pid, "started": started}))


def test_an_ending_that_is_written_between_two_looks_is_seen(run, monkeypatch):
    """The worker writes its ending and goes while it is looked at: complete, and neither killed nor failed."""
    attempt = claim(run, asked())
    attempt.beat(Progress(phase="training"))
    look = attempts.lives

    def goes(process):
        attempt.end("complete")
        return look(process)

    write_process(attempt, os.getpid(), "1")  # gone
    monkeypatch.setattr(attempts, "lives", goes)
    for said in (attempt.state, lambda: attempt.ended().reason, lambda: kind_of(attempt)):
        (attempt.folder / "exit.json").unlink(missing_ok=True)
        assert said() in ("complete", "")


def test_of_many_racing_launchers_one_gets_the_attempt(run):
    barrier, got = threading.Barrier(8), []

    def launch():
        barrier.wait()
        got.append(claim(run, asked()))

    threads = [threading.Thread(target=launch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [attempt.number for attempt in got if attempt] == [1]


def test_a_process_that_is_gone_is_killed_whatever_its_heartbeat(run):
    attempt = claim(run, asked())
    attempt.beat(Progress(phase="training"))
    write_process(attempt, os.getpid(), "1")  # the same id, but another process: it started at another time
    assert attempt.state() == "killed"
    assert claim(run, asked()).number == 2


@pytest.mark.parametrize(
    ("limit", "beats", "submitted"),
    [("HEARTBEAT_LIMIT_S", True, True), ("PENDING_LIMIT_S", False, True), ("CLAIM_LIMIT_S", False, False)],
)
def test_what_gave_no_sign_of_life_for_too_long_is_killed(run, limit, beats, submitted):
    attempt = claim(run, asked())
    if beats:
        attempt.beat(Progress(phase="training"))
    if not submitted:
        (attempt.folder / "submit.json").unlink()
    assert attempt.is_alive()
    old = time.time() - getattr(attempts, limit) - 1
    os.utime(attempt.folder / "heartbeat" if beats else attempt.folder, (old, old))
    assert attempt.state() == "killed"


def as_if_its_launcher_had_died(attempt):
    path = attempt.folder / "submit.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"launcher": content["launcher"] | {"started": "1"}}))


def test_a_job_that_is_about_to_begin_is_pending_though_its_launcher_died(run):
    attempt = claim(run, asked())
    as_if_its_launcher_had_died(attempt)
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", attempt.folder / "submitit"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        job.stdout.readline()
        assert attempt.state() == "pending"
        job.communicate()
    assert attempt.state() == "killed"
    assert claim(run, asked()).number == 2


BREAKS = ["", "{", "[]", "5", "null", '{"reason": []}', "[" * 100_000, '{"reason": "dancing"}', "\udcff", "[[1, 2]]"]


@pytest.mark.parametrize("text", BREAKS)
@pytest.mark.parametrize("name", ["exit.json", "heartbeat", "job.json"])
def test_a_broken_file_of_an_attempt_stops_no_command(name, text, run):
    attempt = claim(run, asked())
    (attempt.folder / name).write_bytes(text.encode(errors="surrogateescape"))
    assert attempt.state() == {"exit.json": "killed", "heartbeat": "running", "job.json": "pending"}[name]
    assert attempt.progress() is None
    assert claim(attempt.run, asked()) is None or name == "exit.json"  # the next attempt goes on


def test_a_path_that_is_not_utf_8_is_said_and_nothing_is_claimed(run):
    with pytest.raises(UserError, match=r"^Rename a folder, or set LC_ALL=C\.UTF-8: "):
        claim(run, asked(data_root=os.fsdecode(b"jos\xe9")))
    assert attempts_of(run) == []


def test_foreign_names_among_the_attempts_do_not_count(run):
    attempt = claim(run, asked())
    for name in ("\u00b2", "2", "00003", "9" * 100, "0004x"):
        (attempt.run.attempts / name).mkdir()
    assert attempts_of(attempt.run) == [attempt]
    (attempt.folder / "submit.json").write_text("[")
    with pytest.raises(UserError, match=r"^Start the same command again: .*submit\.json"):
        attempt.submission()


def test_an_attempt_is_found_by_its_folder_and_only_with_its_specification(run):
    attempt = claim(run, asked())
    assert attempt_at(attempt.folder) == attempt
    run.spec.unlink()
    with pytest.raises(UserError, match=r"^Restore .*spec\.json or move"):
        attempt_at(attempt.folder)


def test_a_followed_log_has_all_that_the_program_says_after_the_set_up_of_its_job(run, monkeypatch):
    attempt = claim(run, asked())
    output = run.store.root / "job.out"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("loading modules, which takes long\n")
    monkeypatch.setattr("ifrvis.harness.store.logs.job_output", lambda _: output)
    monkeypatch.setattr("ifrvis.harness.store.logs.time.sleep", lambda _: begin())

    def begin():
        attempt.log.write_text("one\ntwo\n")
        attempt.end("complete")

    attempt.beat(Progress(phase="training"))
    assert [*log_lines(attempt.run, 5, follow=True)] == ["loading modules, which takes long", "one", "two"]


def test_what_a_worker_said_cannot_control_the_terminal(run):
    attempt = claim(run, asked())
    attempt.end("failed", message="\x1b[2Jgone")
    attempt.log.write_bytes(b"first\n\x1b[31mred\x07\xff\tend\n")
    assert attempt.ending().message == "?[2Jgone"
    assert list(log_lines(run, 5)) == ["first", "?[31mred?\ufffd\tend"]
    assert str(UserError("Check \x1b]0;x\x07 \udcff.")) == "Check ?]0;x? ?."
