"""`setup.sh` survives what happens to it: its decisions, with stand-ins for Python, pip and the compiler.

It runs for real in CI.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FAKE_PYTHON = r"""#!/usr/bin/env bash
# A stand-in for Python and, copied into .venv, for the Python there.
[[ $0 == */.venv/bin/python ]] && name=venv || name=python
case "$*" in
    *"sys.exit(not"*) exec "$FAKE_REAL" -c "import sys; sys.version_info = (${FAKE_VERSION//./, })
$2" ;;
    *sys.base_prefix*) echo "$FAKE_BASE" ;;
    -V) echo "Python $FAKE_VERSION" ;;
    "-W ignore setup/operators.py "*)
        echo "operators ${*: -1}" >>"$FAKE_LOG"
        sleep "${FAKE_COMPILE_S:-0}"
        echo "compiled" >>"$FAKE_LOG"
        exit "${FAKE_COMPILE:-0}" ;;
    "-W ignore setup/check.py") echo "check" >>"$FAKE_LOG"; exit "${FAKE_CHECK:-0}" ;;
    "-m venv"*) echo "venv" >>"$FAKE_LOG"; mkdir -p "$3/bin"; cp "$FAKE_BASE" "$3/bin/python" ;;
    *pip*install*)
        [[ ${PIP_USER-1}${PIP_TARGET-}${PIP_PREFIX-} == 0 ]] || exit 8 # it would not go into .venv
        echo "install ${*: -1}" >>"$FAKE_LOG"
        [[ -z ${FAKE_PIP_FAILS:-} || "${*: -1}" != *"$FAKE_PIP_FAILS"* ]] ;;
    *) echo "unexpected: $name $*" >&2; exit 9 ;;
esac
"""


class Checkout:
    """A made-up checkout, and `setup.sh` run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.folder.mkdir()
        (self.folder / "ifrvis" / "models").mkdir(parents=True)
        for name in ("setup.sh", "constraints.txt", "pyproject.toml", "ifrvis/models/_ext.py"):
            shutil.copy(ROOT / name, self.folder / name)
        shutil.copytree(ROOT / "setup", self.folder / "setup", ignore=shutil.ignore_patterns("__pycache__"))
        python = folder / "python3.11"
        python.write_text(FAKE_PYTHON)
        python.chmod(0o755)
        self.log = folder / "log"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHON": str(python),
            "FAKE_BASE": str(python),
            "FAKE_LOG": str(self.log),
            "FAKE_VERSION": "3.11.7",
            "FAKE_REAL": sys.executable,
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


def test_what_pip_is_told_elsewhere_moves_no_package(checkout: Checkout) -> None:
    code, output = checkout.run(PIP_USER="1", PIP_TARGET="/elsewhere", PIP_PREFIX="/elsewhere")
    assert code == 0, output


def test_setup_gives_mmcv_its_operators_before_the_package_and_checks_last(checkout: Checkout) -> None:
    code, output = checkout.run()
    assert code == 0, output
    packages = ["install pip", "install constraints.txt", "install torch"]
    assert checkout.steps() == ["venv", *packages, "operators needed", "compiled", "install .", "check"]


def test_operators_asked_for_are_made_once_and_stay_asked_for(checkout: Checkout) -> None:
    checkout.run()
    checkout.steps()
    assert checkout.run(OPERATORS="all")[0] == 0
    steps = checkout.steps()
    assert "operators all" in steps
    assert "venv" not in steps
    assert "nothing to do" in checkout.run()[1]
    with (checkout.folder / "constraints.txt").open("a") as stream:
        stream.write("# changed\n")
    assert checkout.run()[0] == 0
    assert "operators all" in checkout.steps()
    assert "nothing to do" not in checkout.run(TORCH_CUDA_ARCH_LIST="9.0")[1]
    assert "operators needed" in checkout.steps()
    code, output = checkout.run(OPERATORS="most")
    assert code == 2
    assert "Set OPERATORS to needed or all: OPERATORS=most" in output


def test_setup_costs_nothing_the_second_time(checkout: Checkout) -> None:
    checkout.run()
    checkout.steps()
    code, output = checkout.run()
    assert code == 0
    assert "nothing to do" in output
    assert checkout.steps() == []


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml", "setup.sh", "ifrvis/models/_ext.py"])
def test_setup_runs_again_when_a_file_behind_it_changes(checkout: Checkout, name: str) -> None:
    checkout.run()
    checkout.steps()
    with (checkout.folder / name).open("a") as stream:
        stream.write("# changed\n")
    assert checkout.run()[0] == 0
    steps = checkout.steps()
    assert "check" in steps
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


@pytest.mark.parametrize("env", [{"FAKE_PIP_FAILS": "constraints.txt"}, {"FAKE_CHECK": "1"}, {"FAKE_COMPILE": "1"}])
def test_setup_that_failed_is_not_taken_for_ready_and_done_again_from_the_start(checkout: Checkout, env) -> None:
    assert checkout.run(**env)[0] != 0
    assert "FAKE_CHECK" in env or "check" not in checkout.steps()
    checkout.steps()
    code, output = checkout.run()
    assert code == 0
    assert "nothing to do" not in output
    assert checkout.steps()[0] == "venv"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_interrupted_compilation_is_done_again_from_the_start(checkout: Checkout, sent: signal.Signals) -> None:
    process = checkout.start(FAKE_COMPILE_S="1")
    checkout.wait_for("operators needed")
    process.send_signal(sent)
    process.communicate(timeout=30)
    assert process.returncode != 0
    if sent == signal.SIGTERM:
        time.sleep(1.5)
        assert "compiled" not in checkout.steps(), "it has ended its compilers"
    checkout.steps()
    assert checkout.run()[0] == 0
    assert {"venv", "compiled"} <= set(checkout.steps())


def test_two_setups_of_one_checkout_take_turns(checkout: Checkout) -> None:
    processes = [checkout.start(FAKE_COMPILE_S="1") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert checkout.steps().count("install torch") == 1


@pytest.mark.parametrize("version", ["3.9.2", "3.10.13", "3.14.0", "2.7.18"])
def test_setup_asks_for_a_python_that_the_packages_are_built_for(checkout: Checkout, version: str) -> None:
    code, output = checkout.run(FAKE_VERSION=version)
    assert code == 2
    assert f"Set PYTHON to a Python 3.11, 3.12 or 3.13: PYTHON={checkout.env['PYTHON']} is Python {version}" in output
    assert checkout.steps() == []
