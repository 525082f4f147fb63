"""Studies are run seldom: they begin, what they plant in the code lies there still, and they count rightly."""

import runpy
import sys

import numpy as np
import pytest

from ifrvis.evaluation.ap import ap_of
from ifrvis.evaluation.videos import Detections
from studies.coverage import shares, simulated
from studies.faults import FAULTS, MODELS, ROOT, planted

SCRIPTS = [
    path
    for folder in ("benchmarks", "experiments", "studies")
    for path in sorted((ROOT / folder).glob("*.py"))
    if "__main__" in path.read_text()
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_what_it_takes(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.setattr(sys, "path", [str(script.parent), *sys.path])
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted(fault):
    right = (ROOT / MODELS / f"{fault.module}.py").read_text()
    wrong = planted(fault, right)
    assert wrong != right
    compile(wrong, fault.module, "exec")


def method(seed, hit):
    """What sixty videos of one object and two predictions add, of which so many find it."""
    rng, none = np.random.default_rng(seed), (0, 0)
    return [
        Detections(
            objects={"1": (1, 1, 0, 0)},
            categories=("1", "1"),
            scores=tuple(sorted(rng.random(2), reverse=True)),
            hits=((1023 * int(rng.random() < hit), 0), none, none, none),
            ignored=(none, none, none, none),
        )
        for _ in range(60)
    ]


def test_a_simulation_estimates_what_was_drawn_and_goes_on_as_it_would_have():
    methods = [[method(0, 0.5), method(1, 0.5)], [method(0, 0.8), method(1, 0.8)]]
    lines = [simulated(methods, number, subset=40, resamples=50) for number in range(3)]
    assert simulated(methods, 2, subset=40, resamples=50) == lines[2] != lines[1]
    for line in lines:
        first, second, difference = line["estimates"]
        assert difference == pytest.approx(second - first)
        assert 0.1 < first < second < 0.9
        assert all(low < high for low, high in line["over_videos"])
    alone = simulated([runs[:1] for runs in methods], 0, subset=40, resamples=50)
    assert (alone["seeds"], alone["over_seeds"]) == ([0], [None] * 3)
    whole = simulated([[[video] * 9 for video in runs[0][:1]] for runs in methods], 0, subset=1, resamples=5)
    assert whole["estimates"][0] == ap_of(methods[0][0][:1], np.ones((1, 1), np.int64))[0]


def test_shares_are_of_the_runs_that_were_drawn_and_of_all_runs():
    def line(seeds, estimates, videos, seeds_half):
        around = [[(value - half, value + half) for value in estimates] for half in (videos, seeds_half)]
        shown = {"over_videos": around[0], "percentiles": around[1], "over_seeds": around[1]}
        return {"seeds": seeds, "estimates": estimates, **shown}

    truth = [[0.2, 0.4], [0.5, 0.7]]  # 0.3, 0.6 and 0.3 of all runs
    lines = [line([0, 0], [0.21, 0.52, 0.31], 0.03, 0.095), line([1, 0], [0.36, 0.6, 0.24], 0.05, 0.04)]
    found = shares(lines, truth)
    assert found["bias"] == pytest.approx([0.035, 0.01, -0.025])
    assert found["given the runs"] == [0.5, 1.0, 0.5]
    assert found["percentile intervals"] == [0.5, 1.0, 0.5]
    assert found["of all runs, over videos"] == [0.0, 0.5, 0.5]
    assert found["of all runs, over seeds"] == [0.5, 1.0, 0.5]
    assert found["of all runs, both"] == [1.0, 1.0, 1.0]
