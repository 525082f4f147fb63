"""What would run on the first GPU runs here, in small; a step that fails is a line and not the end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))


@pytest.mark.slow
def test_the_check_of_a_gpu_ends_with_a_whole_report_on_a_cpu(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "check_gpu.py", tmp_path, "--dry"]
    subprocess.run(command, check=True, timeout=1500)
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["complete"]
    assert {step: line.get("said") for step, line in report["steps"].items() if line["state"] != "done"} == {}
    measured = {step: line["measured"] for step, line in report["steps"].items()}
    assert all(measured.values())
    assert all(each["error"]["forward"] < 1e-5 for name, each in measured["operator"].items() if name != "runs")
    assert {each["largest relative difference"] for each in measured["agreement"].values()} == {0.0}
    assert measured["resume"]["killed by"] == 9
    assert measured["resume"]["difference"] == 0
    assert measured["mini"]["loss"][1] < measured["mini"]["loss"][0]


def test_a_step_that_fails_or_hangs_is_a_line_with_what_it_had_measured(tmp_path, monkeypatch):
    import check_gpu

    steps = {"hangs": "time.sleep(99)", "fails": "raise OSError('no such thing')", "works": "pass"}
    script = "import json, pathlib, sys, time\npathlib.Path(sys.argv[1], 'found.json').write_text('{\"a\": 1}')\n"
    (tmp_path / "script.py").write_text(f"{script}exec({steps}[sys.argv[3]])\n")
    monkeypatch.setattr(check_gpu, "__file__", str(tmp_path / "script.py"))
    monkeypatch.setattr(check_gpu, "LIMITS_S", dict.fromkeys(steps, 5))
    monkeypatch.setattr(sys, "argv", ["check_gpu", str(tmp_path / "out")])
    assert check_gpu.main() == 0
    report = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert report["complete"]
    assert [line["state"] for line in report["steps"].values()] == ["out of time", "failed", "done"]
    assert [line["measured"] for line in report["steps"].values()] == [{"a": 1}] * 3
    assert report["steps"]["fails"]["error"] == "OSError: no such thing"
