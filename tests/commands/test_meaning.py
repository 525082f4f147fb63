"""A name on the command line is a row, a run or a record, of which each command takes what it needs."""

import shutil
from dataclasses import replace

import pytest
from made_records import record_of

from ifrvis.harness.store.records import publish_record

ROW = "mask2former-r50-ytvis19"


@pytest.fixture
def row(kept, tmp_path, capsys):
    """A command on a row of which two seeds are kept: its status and what it said."""

    def call(command, *arguments):
        (tmp_path / "frames").mkdir(exist_ok=True)
        status = kept.run(command, *arguments, "--profile", f"{tmp_path}/smoke.yaml")
        return status, "".join(capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        ("logs", [], "has no log"),
        ("retry", [], "nothing of it waits"),
        ("cancel", [], "nothing of it runs"),
        ("prune", [], f"{ROW}-s1-"),
        ("submission", ["--out", "{tmp}/results.zip"], "results.zip: "),
        ("predict", ["{tmp}/frames"], "Give the folder that has the frames itself"),
    ],
)
def test_a_row_and_a_seed_stand_for_a_run(command, more, said, row, tmp_path):
    more = [each.format(tmp=tmp_path) for each in more]
    for name in (ROW, f"table1/{ROW}"):
        assert said in (found := row(command, name, *more, "--seed", "1")[1])
        assert f"{ROW}-s0-" not in found
    status, found = row(command, ROW, *more, "--seed", "4")
    assert (status, f"Run {ROW} first" in found) == (2, True)
    assert "with seed 4, but with 0, 1 under profile smoke" in found


def test_a_row_without_a_seed_may_be_several_runs(row):
    for arguments, message in (
        (("logs", ROW), "Name one run, or add --seed: of those in "),
        (("show", ROW[:-2]), f"; rows that begin so are {ROW}, mask2former-r50-ytvis21: of those in "),
        (("retry", "table1", "--seed", "0"), "Name a row with --seed"),
        (("logs", "mask2fromer-r50-ytvis19"), f"did you mean {ROW!r}?"),
    ):
        status, found = row(*arguments)
        assert (status, message in found) == (2, True)


def test_a_run_that_was_evaluated_in_two_ways_is_told_how_to_name_one_of_its_records(kept, capsys):
    store, plan = kept.request.store, kept.plan()
    training = next(each for each in plan.trainings if each.seed == 0)
    clips = replace(training.evaluations[0], inference={**training.evaluations[0].inference, "topk": 5})
    publish_record(store, other := record_of(training, clips, {"AP": 0.5}))
    assert kept.run("compare", f"{ROW}-s0", f"{ROW}-s1") == 2
    said = capsys.readouterr().err
    assert f"Name its row, or give one of its records: {ROW}-s0 has {store.root}" in said
    assert str(other.path(store)) in said


AGAIN = "`ifrvis reproduce {again}`: kept of {run} is its record"
TRAINED = "trained on one in 0.01 hours, by commit cccccccccccc"


@pytest.mark.parametrize("lost", ["attempts", "."])
@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("logs RUN", 2, [AGAIN, "not its log", TRAINED]),
        ("logs ROW", 2, [AGAIN, "not its log", TRAINED]),
        ("predict RUN frames", 2, [AGAIN, "not its checkpoint", TRAINED]),
        ("submission ROW", 2, ["trained"]),
        ("show RUN", 0, ["run: {run}", "global_batch"]),
        ("cancel RUN", 0, ["nothing of it runs"]),
        ("retry ROW", 0, ["nothing of it waits for a retry"]),
        ("prune ROW", 0, ["nothing can go"]),
        ("explain RUN --row table1/" + ROW, 0, ["Looked at: the record"]),
        ("compare RUN OTHER", 0, ["A: ", "B: "]),
    ],
)
def test_what_is_kept_of_a_run_that_was_trained_elsewhere(kept, command, status, said, lost, capsys, tmp_path):
    (folder,) = kept.request.store.root.glob("runs/*-s1-*")
    (record,) = kept.request.store.root.glob(f"records/smoke/{folder.name}-*[0-9a-f].json")
    shutil.rmtree(folder / lost)
    row, name = f"{ROW} --seed 1 --profile {tmp_path}/smoke.yaml", folder.name.rpartition("-")[0]
    typed = command.replace("RUN", name).replace("ROW", row).replace("OTHER", f"{ROW}-s0").split()
    assert kept.run(*typed) == status
    printed = " ".join("".join(capsys.readouterr()).split())
    for each in said:
        assert each.format(run=folder.name, again=row if "ROW" in command else record) in printed


def test_a_complete_run_without_checkpoints_is_trained_again_not_first(kept, capsys):
    (folder,) = kept.request.store.root.glob("runs/*-s1-*")
    assert kept.run("prune", str(folder), "--yes") == 0
    (folder / "weights.pth").unlink()
    assert kept.run("predict", str(folder), "frames") == 2
    assert f"kept of {folder.name} is its record" in capsys.readouterr().err
