"""A cluster's file is checked before anything is submitted, and its script holds what was asked for.

Also tests: ifrvis.harness.jobs.launch.
"""

import re
import sys
from pathlib import Path

import pytest
import yaml

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.harness.jobs.cluster import load_cluster
from ifrvis.harness.jobs.launch import choose_profile
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
        ({"options": {"comment": "two\nlines"}}, "Correct 'comment'"),
        ({"options": {"nodes": 2}}, "Remove option 'nodes': a run takes one node"),
        ({"options": {"time": 5}}, "Remove option 'time': set 'time_min' instead"),
        ({"options": {"part": "x"}}, "Remove option 'part': set 'partition' instead"),  # sbatch takes beginnings
        ({"options": {"gres": "gpu:a100:2"}}, "Set 'gpus' to 2"),
        ({"gpus": 4, "options": {"gpus": "a100:2"}}, "Set 'gpus' to 2"),
        ({"options": {"gpus-per-n": "a100:2"}}, "Remove option 'gpus-per-n'"),
        ({"options": {"dependency": "after:1?after:2"}}, "Write option 'dependency' with ','"),
        ({"environment": {"A B": "x"}}, "Correct 'A B' in 'environment'"),
        ({"options": {"Not a flag\n": "x"}}, "Correct 'Not a flag\\n' in 'options'"),
        ({"name": "../mine"}, "Rename '../mine'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_by_its_key(load, changes, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        load(**changes)


def test_a_name_that_is_no_cluster_lists_those_there_are(capsys):
    assert main(["run", "table1", "--cluster", "nowhere"]) == 2
    assert "one of example, local" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "cure"),
    [
        (["--jobs", "2", "--cluster", "local"], "Leave out"),
        (["--wait"], "Leave out"),
        (["--dump-scripts", "here"], "Give --cluster FILE"),
    ],
)
def test_options_that_contradict_each_other_are_refused(capsys, more, cure):
    assert main(["run", "table1", *more]) == 2
    assert capsys.readouterr().err.startswith(f"ifrvis: {cure}")


def test_a_cluster_stands_for_a_gpu_when_the_profile_is_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    profile, said = choose_profile(tmp_path, on_cluster=True)
    assert profile.name == "mini"
    assert said.startswith("the data of profile paper are not")


def test_runs_for_gpus_are_not_submitted_to_a_cluster_of_which_none_is_asked(tmp_path, roots, capsys):
    (tmp_path / "cpu.yaml").write_text("name: cpu\ntime_min: 60\ncpus: 2\nmemory_gb: 4\n")
    assert main(["run", "table1", "--profile", "paper", *roots, "--cluster", str(tmp_path / "cpu.yaml")]) == 2
    assert "Set 'gpus' of cluster cpu, or choose a --profile that needs none: profile paper" in capsys.readouterr().err


def test_a_run_has_a_process_a_gpu_and_never_more_than_clips(load):
    four = TrainSpec.model_construct(global_batch=4)
    assert [load(gpus=gpus).processes(four) for gpus in (0, 1, 4, 8)] == [1, 1, 4, 4]


def script(cluster, **more):
    """Its lines, and the flags among them."""
    lines = cluster.script(["-m", "x"], Path("/r/jobs/a"), Path("/r/snap shot"), **more).splitlines()
    return lines, {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}


def test_the_script_asks_for_what_the_file_says(load):
    options = {"partition": "gpu", "qos": "long", "gpus": 8, "setup": ["module load x"], "options": {"exclude": "n1"}}
    found, flags = script(load(**options, environment={"QUOTED": "it's; rm"}), processes=4, runs=3, after="7")
    asked = {"partition=gpu", "qos=long", "exclude=n1", "mem=1536M", "time=60", "array=0-2%3", "signal=USR2@120"}
    asked |= {"job-name=a", "output=/r/jobs/a/%A_%a.out", "dependency=afterok:7"}
    assert asked | {"gpus-per-node=4", "ntasks=1", "cpus-per-task=8", "requeue", "nodes=1"} <= flags
    assert not any(flag.startswith(("account", "constraint", "wckey")) for flag in flags)
    assert found.index("module load x") < found.index("export QUOTED='it'\"'\"'s; rm'")
    assert "export PYTHONPATH='/r/snap shot'${PYTHONPATH:+:$PYTHONPATH}" in found
    assert found[-1] == f"srun --unbuffered --cpus-per-task=8 {sys.executable} -u -m x"


@pytest.mark.parametrize(
    ("changes", "there", "absent"),
    [
        ({"options": {"exclusive": True, "overcommit": False}}, {"exclusive"}, "overcommit"),
        ({"memory_gb": None, "options": {"mem-per-cpu": "4G"}}, {"mem-per-cpu=4G"}, "mem="),
        ({"array_throttle": 2}, {"array=0-2%2"}, "?"),
        ({"gpus": 2, "options": {"gres": "gpu:a100:2,lscratch:9"}}, {"gres=gpu:a100:2,lscratch:9"}, "gpus"),
        ({"gpus": 2, "options": {"gpus-per-node": "a100:2"}}, {"gpus-per-node=a100:2"}, "gpus-per-node=2"),
        ({"gpus": 2, "options": {"gres": "lscratch:9"}}, {"gres=lscratch:9", "gpus-per-node=2"}, "?"),
        ({"options": {"dependency": "after:5+3"}}, {"dependency=afterok:7,after:5+3"}, "?"),
        ({"options": {"comment": "two words # it's"}}, {"comment='two words # it'\"'\"'s'"}, "?"),
    ],
)
def test_what_else_a_file_can_say(load, changes, there, absent):
    _, flags = script(load(**changes), processes=2 if "gpus" in changes else 1, runs=3, after="7")
    assert there <= flags
    assert not any(flag.startswith(absent) for flag in flags)


def test_python_is_started_by_a_wrapper_and_srun_gets_its_arguments(load):
    found, _ = script(load(srun=["--mpi=none"], wrapper=["apptainer", "exec", "my image.sif"]))
    assert "--mpi=none apptainer exec 'my image.sif' " + sys.executable in found[-1]


@pytest.mark.parametrize("name", ["100%/jobs", "back\\slash"])
def test_a_folder_whose_name_slurm_reads_otherwise_is_refused_by_name(load, name):
    with pytest.raises(UserError, match=f"^Choose --results without '%'.*{re.escape(name)}"):
        load().script(["-V"], Path("/r") / name, Path("/s"))
