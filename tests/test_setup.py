"""`setup.sh` survives what happens to it: its decisions, with stand-ins for Python, pip and the compiler.

It runs for real in CI.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FAKE_PYTHON = r"""#!/usr/bin/env bash
# A stand-in for Python and, copied into .venv, for the Python there.
[[ $0 == */.venv/bin/python ]] && name=venv || name=python
case "$*" in
    *sys.version_info\ \>=*) echo "$FAKE_VERSION"; exit "${FAKE_TOO_OLD:-0}" ;;
    *sys.base_prefix*) echo "$FAKE_BASE" ;;
    *Python.h*) ;;
    -V) echo "Python $FAKE_VERSION" ;;
    "-W ignore - 2.3.6") echo "key-of-wheel cpu" ;;
    "-W ignore - "*) echo "check" >>"$FAKE_LOG"; exit "${FAKE_CHECK:-0}" ;;
    "-m venv"*) echo "venv" >>"$FAKE_LOG"; mkdir -p "$3/bin"; cp "$FAKE_BASE" "$3/bin/python" ;;
    *check\ wheel\ *)
        echo "compile" >>"$FAKE_LOG"
        echo "  [1/2] c++ ..."
        sleep "${FAKE_COMPILE_S:-0}"
        echo "compiled" >>"$FAKE_LOG"
        [[ ${FAKE_COMPILE:-0} == 0 ]] || { echo "error: no such header"; exit "$FAKE_COMPILE"; }
        until [[ $1 == --wheel-dir ]]; do shift || exit 9; done
        echo whole >"$2/onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl" ;;
    *pip*install*)
        echo "install ${*: -1}" | sed 's/ .*requirements.*/ requirements/' >>"$FAKE_LOG"
        [[ -z ${FAKE_PIP_FAILS:-} || "${*: -1}" != *"$FAKE_PIP_FAILS"* ]] ;;
    *) echo "unexpected: $name $*" >&2; exit 9 ;;
esac
"""


class Checkout:
    """A made-up checkout, and `setup.sh` run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.cache = folder / "cache"
        self.folder.mkdir()
        for name in ("setup.sh", "constraints.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder / name)
        python = folder / "python3.11"
        python.write_text(FAKE_PYTHON)
        python.chmod(0o755)
        self.log = folder / "log"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(self.cache),
            "PYTHON": str(python),
            "FAKE_BASE": str(python),
            "FAKE_LOG": str(self.log),
            "FAKE_VERSION": "3.11.7",
            "CXX": "true",
        }
        self.started: list[subprocess.Popen[str]] = []

    def start(self, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["bash", "setup.sh"],
            cwd=self.folder,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, **env: str) -> tuple[int, str]:
        process = self.start(**env)
        output = process.communicate(timeout=60)[0]
        return process.returncode, output

    def steps(self) -> list[str]:
        """What was done since the last look."""
        done = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return done

    def wheels(self) -> list[Path]:
        return list(self.cache.rglob("*.whl"))

    def wait_for(self, step: str) -> None:
        for _ in range(600):
            if self.log.exists() and step in self.log.read_text().splitlines():
                return
            time.sleep(0.05)
        pytest.fail(f"set-up never reached {step!r}")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout(tmp_path)
    yield made
    for process in made.started:
        with contextlib.suppress(ProcessLookupError):  # nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


def test_setup_installs_torch_first_and_the_operators_before_the_package(checkout: Checkout) -> None:
    code, output = checkout.run()
    assert code == 0, output
    steps = [re.sub(r"/.*/", "", step) for step in checkout.steps()]
    wheel = "install onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl"
    first = ["venv", "install wheel", "install torch", "install requirements"]
    assert steps == [*first, "compile", "compiled", wheel, "install .", "check"]


def test_setup_costs_nothing_the_second_time(checkout: Checkout) -> None:
    checkout.run()
    checkout.steps()
    started = time.monotonic()
    code, output = checkout.run()
    assert code == 0
    assert "nothing to do" in output
    assert checkout.steps() == []
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml", "setup.sh"])
def test_setup_runs_again_when_a_file_behind_it_changes(checkout: Checkout, name: str) -> None:
    checkout.run()
    checkout.steps()
    with (checkout.folder / name).open("a") as stream:
        stream.write("# changed\n")
    assert checkout.run()[0] == 0
    steps = checkout.steps()
    assert "check" in steps
    assert "compile" not in steps
    assert "venv" not in steps


def test_setup_makes_a_new_venv_for_another_python(checkout: Checkout) -> None:
    checkout.run()
    checkout.steps()
    marker = checkout.folder / ".venv" / "old"
    marker.touch()
    # the Python in .venv is the same stand-in, so it would tell the new version too
    (checkout.folder / ".venv" / "bin" / "python").write_text("#!/bin/sh\necho 3.11.7\n")
    assert checkout.run(FAKE_VERSION="3.12.1")[0] == 0
    assert "venv" in checkout.steps()
    assert not marker.exists()


def test_setup_that_failed_is_done_again_from_the_start(checkout: Checkout) -> None:
    code, _ = checkout.run(FAKE_PIP_FAILS="requirements")
    assert code != 0
    assert not (checkout.folder / ".venv" / ".ready").exists()
    checkout.steps()
    assert checkout.run()[0] == 0
    assert checkout.steps()[0] == "venv"


def test_setup_whose_check_fails_is_not_taken_for_ready(checkout: Checkout) -> None:
    assert checkout.run(FAKE_CHECK="1")[0] != 0
    checkout.steps()
    code, output = checkout.run()
    assert code == 0
    assert "nothing to do" not in output


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_interrupted_compilation_leaves_no_wheel_and_is_done_again(checkout: Checkout, sent: signal.Signals) -> None:
    process = checkout.start(FAKE_COMPILE_S="2")
    checkout.wait_for("compile")
    process.send_signal(sent)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert checkout.wheels() == []
    checkout.steps()
    assert checkout.run()[0] == 0
    assert "compile" in checkout.steps()
    assert [wheel.read_text() for wheel in checkout.wheels() if ".compile" not in str(wheel)] == ["whole\n"]


def test_terminated_setup_ends_its_compilers(checkout: Checkout) -> None:
    process = checkout.start(FAKE_COMPILE_S="1")
    checkout.wait_for("compile")
    process.terminate()
    process.communicate(timeout=30)
    time.sleep(1.5)
    assert "compiled" not in checkout.steps()
    assert list(checkout.cache.rglob(".compile.*")) == []


def test_two_checkouts_compile_once(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = Checkout(tmp_path / "second")
    second.env |= {"XDG_CACHE_HOME": str(checkout.cache), "FAKE_LOG": str(checkout.log)}
    processes = [one.start(FAKE_COMPILE_S="1") for one in (checkout, second)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert checkout.steps().count("compile") == 1
    assert any("waiting for another set-up that compiles" in output for output in outputs)


def test_two_setups_of_one_checkout_take_turns(checkout: Checkout) -> None:
    processes = [checkout.start(FAKE_COMPILE_S="1") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert checkout.steps().count("install torch") == 1


def test_failed_compilation_shows_the_log_and_where_it_is(checkout: Checkout) -> None:
    code, output = checkout.run(FAKE_COMPILE="1")
    assert code == 2
    assert "error: no such header" in output
    assert "build.log" in output
    assert checkout.wheels() == []


def test_setup_asks_for_a_newer_python(checkout: Checkout) -> None:
    code, output = checkout.run(FAKE_TOO_OLD="1", FAKE_VERSION="3.9.2")
    assert code == 2
    assert "Set PYTHON to a Python 3.11 or newer" in output
    assert "3.9.2" in output
    assert checkout.steps() == []


def test_setup_asks_for_a_compiler_before_it_fetches_anything(checkout: Checkout) -> None:
    code, output = checkout.run(CXX="no-such-compiler")
    assert code == 2
    assert "Install a C++ compiler" in output
    assert checkout.steps() == []


def test_setup_needs_no_compiler_where_the_operators_are_cached(checkout: Checkout) -> None:
    checkout.run()
    (checkout.folder / ".venv" / ".ready").unlink()
    code, output = checkout.run(CXX="no-such-compiler")
    assert code == 0, output
