"""A cluster's file is checked before anything is submitted, and its script holds what was asked for.

Also tests: ifrvis.harness.jobs.launch.
"""

import re
from pathlib import Path

import pytest
import yaml

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.jobs.cluster import load_cluster
from ifrvis.harness.jobs.launch import choose_profile
from ifrvis.harness.jobs.slurm import script_text
from ifrvis.harness.spec.signatures import TrainSpec

GOOD = {"name": "mine", "time_min": 60, "memory_gb": 1.5, "cpus": 2}


@pytest.fixture
def load(tmp_path):
    def write_and_load(**changes):
        path = tmp_path / "cluster.yaml"
        path.write_text(yaml.safe_dump(GOOD | changes))
        return load_cluster(str(path))

    return write_and_load


@pytest.mark.parametrize("name", ["example", "local"])
def test_packed_clusters_are_sound(name):
    assert load_cluster(name).name == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_min": 0}, "Correct 'time_min'"),
        ({"memory_gb": float(10**8)}, "Correct 'memory_gb'"),
        ({"gpus": -1}, "Correct 'gpus'"),
        ({"signal_delay_s": 3600}, "Set 'signal_delay_s'"),
        ({"partition": "main\n#SBATCH --uid=0"}, "Correct 'partition'"),
        ({"options": {"output": "/etc/x"}}, "Remove option 'output'"),
        ({"options": {"exclude": "n[1-3] n4"}}, "Correct 'exclude'"),
        ({"environment": {"A B": "x"}}, "Rename the variable 'A B'"),
        ({"name": "../mine"}, "Rename '../mine'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_by_its_key(load, changes, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        load(**changes)


def test_a_name_that_is_no_cluster_lists_those_there_are(capsys):
    assert main(["run", "table1", "--cluster", "nowhere"]) == 2
    assert "one of example, local" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--jobs", "2", "--cluster", "local"], ["--wait"]])
def test_options_that_contradict_each_other_are_refused(capsys, more):
    assert main(["run", "table1", *more]) == 2
    assert capsys.readouterr().err.startswith("ifrvis: Leave out")


def test_a_cluster_stands_for_a_gpu_when_the_profile_is_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    profile, said = choose_profile(tmp_path, on_cluster=True)
    assert profile.name == "mini"
    assert said.startswith("the data of profile paper are not")


def test_a_run_has_a_process_a_gpu_and_never_more_than_clips(load):
    assert [load(gpus=gpus).processes(TrainSpec.model_construct(global_batch=4)) for gpus in (0, 1, 4, 8)] == [
        1,
        1,
        4,
        4,
    ]


def test_the_script_asks_for_what_the_file_says(load):
    options = {"partition": "gpu", "qos": "long", "gpus": 8, "setup": ["module load x"], "options": {"exclude": "n1"}}
    cluster = load(**options, environment={"QUOTED": "it's; rm"})
    lines = script_text(cluster, ["-m", "x"], Path("/r/jobs/a"), Path("/r/snap shot"), processes=4, map_count=3)
    found = lines.splitlines()
    flags = {line.removeprefix("#SBATCH --") for line in found if line.startswith("#SBATCH")}
    asked = {"partition=gpu", "qos=long", "exclude=n1", "mem=1536M", "time=60", "array=0-2%3", "signal=USR2@120"}
    assert asked | {"gpus-per-node=4", "ntasks-per-node=4", "cpus-per-task=2", "requeue", "nodes=1"} <= flags
    assert not any(flag.startswith(("account", "constraint", "wckey")) for flag in flags)
    assert found.index("module load x") < found.index("export QUOTED='it'\"'\"'s; rm'")
    assert "export PYTHONPATH='/r/snap shot'${PYTHONPATH:+:$PYTHONPATH}" in found
    assert "--cpus-per-task=2" in next(line for line in found if line.startswith("srun "))
