"""The environment: what is pinned is what is here, and the host works in it."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, distributions, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ifrvis
from ifrvis.__main__ import NEEDS

ROOT = Path(__file__).parents[1]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

OLDER = "import runpy, sys; sys.version_info = (3, 9); runpy.run_path(sys.argv[1], run_name='__main__')"

# What `pip check` reports and constraints.txt explains.
MEANT_TO_BE_UNMET = {
    ("onedl-mmcv", "opencv-python"),
    ("imaug", "opencv-python"),
    ("imaug", "opencv-python-headless"),
    ("imaug", "imagecorruptions-imaug"),
}


def needs_of(name: str) -> list[Requirement]:
    requirements = map(Requirement, distribution(name).requires or [])
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]


def test_every_direct_dependency_is_pinned() -> None:
    build, project, extras = PROJECT["build-system"], PROJECT["project"], PROJECT["project"]["optional-dependencies"]
    direct = build["requires"] + project["dependencies"] + extras["train"] + extras["test"]
    for requirement in map(Requirement, direct):
        version = PINS.get(canonicalize_name(requirement.name))
        assert version is not None, f"pin {requirement.name} in constraints.txt"
        assert requirement.specifier.contains(version)


def test_what_is_installed_is_what_is_pinned() -> None:
    installed = {name: distribution(name).version.split("+")[0] for name in PINS}
    assert installed == PINS


def test_every_need_of_a_pinned_package_is_pinned_and_met() -> None:
    unmet = set()
    for name in PINS:
        for need in needs_of(name):
            wanted = canonicalize_name(need.name)
            if name == "torch" and re.match(r"nvidia-|triton|cuda-", wanted):
                continue  # a CUDA build pins its own
            if not need.specifier.contains(PINS.get(wanted, "0"), prereleases=True) or wanted not in PINS:
                unmet.add((name, wanted))
    assert unmet == MEANT_TO_BE_UNMET


def test_headless_opencv_is_alone() -> None:
    named = {canonicalize_name(found.metadata["Name"]) for found in distributions()}
    assert {name for name in named if name.startswith("opencv")} == {"opencv-python-headless"}


def test_the_command_is_installed() -> None:
    try:
        entries = distribution("ifrvis").entry_points
    except PackageNotFoundError:
        pytest.fail("run `make setup`: ifrvis is not installed")
    assert [(one.name, one.value) for one in entries] == [("ifrvis", "ifrvis.cli:main")]


def test_a_python_without_the_packages_says_how_to_come_to_them() -> None:
    """As the one that a terminal has before .venv is activated."""
    known = packages_distributions()
    needed = {canonicalize_name(known[name][0]) for name in NEEDS}
    assert needed == {canonicalize_name(Requirement(each).name) for each in PROJECT["project"]["dependencies"]}
    script, cure = str(ROOT / "experiments/run_table.py"), "ifrvis: Run `make setup`, then `. .venv/bin/activate`"
    for command in (["-I", "-S", script, "table1"], ["-S", "-c", OLDER, script]):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr[: len(cure)], done.stderr.count("\n")) == ("", cure, 1)
        assert done.returncode > 0


def test_tests_run_on_one_thread() -> None:
    import torch

    assert torch.get_num_threads() == 1


def test_the_citation_and_the_containers_say_what_the_project_does() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (ifrvis.__version__, PROJECT["project"]["license"])
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Dockerfile", "apptainer.def")}
    commands = re.findall(r"^make \w+", texts["README.md"], re.MULTILINE)
    assert sorted(re.findall(r"make \w+", texts["Dockerfile"].replace('", "', " "))) == sorted(commands)
    assert sorted(re.findall(r"&& (make \w+)", texts["apptainer.def"])) == sorted(commands)
    left_out = ["git", "-C", str(ROOT), "ls-files", "--", *(ROOT / ".dockerignore").read_text(encoding="utf-8").split()]
    assert subprocess.run(left_out, capture_output=True, check=False).stdout == b""  # no test would have it there
    assert f"## [{ifrvis.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
