"""GPUs are counted as CUDA counts them, and a job gets one by whatever name it has."""

import json
import math
from dataclasses import replace

import pytest

from ifrvis.cli import main
from ifrvis.harness.jobs import machine
from ifrvis.harness.jobs.machine import gpus, visible

TWO_GPUS = {"GPU-1111-aa": [], "GPU-1122-bb": ["MIG-33", "MIG-44"]}
LISTED = """GPU 0: NVIDIA GPU of a long name (UUID: GPU-1111-aa)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-1122-bb)
  MIG 2g.20gb     Device  0: (UUID: MIG-33)
  MIG 2g.20gb     Device  1: (UUID: MIG-44)
"""


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "250000 100000"}, 2.5),
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000", "cpu.max": "400000 100000"}, 3),
        ("0::/docker/1\n", {"cpu.max": "150000 100000"}, 1.5),  # the host's path, in a container
        (
            "4:cpu,cpuacct:/x\n1:memory:/\n",
            {"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("4:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_a_quota_of_a_container_is_all_the_cores_that_there_are(groups, files, cores, tmp_path):
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert machine._quota(tmp_path / "groups", tmp_path / "root") == cores


def test_cores_are_whole_and_at_least_one(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))
    for granted, cores in ((math.inf, 64), (2.9, 2), (0.5, 1)):
        monkeypatch.setattr(machine, "_quota", lambda *_, granted=granted: granted)
        assert machine.num_cores() == cores


@pytest.mark.parametrize(
    ("given", "entries"),
    [
        ("", []),
        ("0", ["0"]),
        ("1,0", ["1", "0"]),
        (" 1 , 0 ", ["1", "0"]),
        ("+1,00", ["1", "0"]),
        ("1gpu2,0ampere", ["1", "0"]),
        ("0,-1,1", ["0"]),
        ("-1", []),
        ("0,2,1", ["0"]),  # there is no GPU 2
        ("0,1,0", []),  # one that comes twice
        ("0,,1", ["0"]),
        ("NoDevFiles", []),
        ("none", []),
        ("GPU-1111-aa", ["GPU-1111-aa"]),
        ("GPU-1122,GPU-1111", ["GPU-1122", "GPU-1111"]),
        ("GPU-11", []),  # two begin so
        ("GPU-1111,GPU-9,GPU-1122", ["GPU-1111"]),
        ("GPU-1111,GPU-1111-aa", []),
        ("GPU-1111,1", ["GPU-1111"]),
        ("0,GPU-1122", ["0"]),
        ("GPU-", []),
        ("MIG-44", ["MIG-44"]),
        ("MIG-44,MIG-3", ["MIG-44", "MIG-3"]),
        ("MIG-55", []),
        ("MIG-GPU-1122-bb/1/0", ["MIG-GPU-1122-bb/1/0"]),
        ("MIG-GPU-9/1/0", []),
    ],
)
def test_what_cuda_makes_of_its_variable(given, entries):
    assert visible(given, TWO_GPUS) == entries


@pytest.mark.parametrize(
    ("given", "entries"),
    [("0,5,-1,1", ["0", "5"]), ("GPU-9,GPU-8", ["GPU-9", "GPU-8"]), ("MIG-9", ["MIG-9"]), ("GPU-9,GPU-9", [])],
)
def test_where_nobody_lists_the_gpus_what_is_well_formed_counts(given, entries):
    assert visible(given, None) == entries


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Put a stand-in first on the path: `nvidia_smi(lines of shell)`."""

    def make(script):
        path = tmp_path / "bin" / "nvidia-smi"
        path.parent.mkdir()
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent), prepend=":")

    return make


@pytest.mark.parametrize(
    ("given", "entries"), [(None, ["0", "MIG-33", "MIG-44"]), ("1", ["1"]), ("MIG-33", ["MIG-33"]), ("2", [])]
)
def test_a_gpu_is_a_line_that_says_so_and_its_instances_stand_for_it(nvidia_smi, monkeypatch, given, entries):
    nvidia_smi(f"cat <<'END'\n{LISTED}END")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert gpus() == entries


@pytest.mark.parametrize("script", ["exec sleep 60", "echo 'GPU 0: x (UUID: GPU-1)'; exit 9"])
def test_a_driver_that_hangs_or_fails_has_no_gpus(nvidia_smi, monkeypatch, script):
    nvidia_smi(script)
    monkeypatch.setattr(machine, "ANSWER_LIMIT_S", 0.2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == []


def test_a_node_whose_gpu_has_a_uuid_does_not_train_the_toy_profile(nvidia_smi, monkeypatch, tmp_path, capsys):
    nvidia_smi(f"cat <<'END'\n{LISTED}END")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-33")
    assert main(["plan", "table1", "--data-root", str(tmp_path)]) == 0
    assert "the data of profile paper are not all here" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize("needs_gpu", [True, False])
def test_a_worker_is_told_that_its_run_is_meant_for_a_gpu(make_request, fake, launch, monkeypatch, needs_gpu):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("shutil.which", lambda name: None)
    fake()
    request = make_request(num_seeds=1)
    profile = request.profile.model_copy(update={"needs_gpu": needs_gpu})
    _, queue = launch(replace(request, profile=profile))
    assert queue.items[0].attempt.submission().on_gpu is needs_gpu


def test_each_job_gets_a_gpu_of_its_own_by_its_name(make_request, fake, launch, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1111,GPU-1122")
    monkeypatch.setattr("shutil.which", lambda name: None)
    fake(slow_s=0.2)
    succeeded, queue = launch(make_request())
    assert succeeded
    environments = [json.loads((item.attempt.folder / "env.json").read_text()) for item in queue.items]
    assert [each["variables"]["CUDA_VISIBLE_DEVICES"] for each in environments] == ["GPU-1111", "GPU-1122"]
