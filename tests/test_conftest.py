"""--fail-on-skip, and what hides GPUs, in runs of their own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def run_with_guard(folder: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder / "conftest.py")
    (folder / "test_made_up.py").write_text(f"import pytest\n{body}\n")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--fail-on-skip", *options, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("def test_it(): pass", 0),
        ("def test_it(): pytest.skip('why')", 1),
        ("pytest.skip('why', allow_module_level=True)", 1),
        ("@pytest.mark.gpu\ndef test_it(): pytest.skip('no GPU')", 0),
        ("@pytest.mark.xfail\ndef test_it(): assert False", 0),
        ("def test_it(real_vis): pass", 1),
    ],
)
def test_fail_on_skip_lets_no_skip_pass_but_of_a_gpu_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, code: int
) -> None:
    monkeypatch.delenv("IFRVIS_TEST_DATA", raising=False)
    done = run_with_guard(tmp_path, body)
    assert done.returncode == code, done.stdout
    assert code == 0 or "--fail-on-skip was given" in done.stdout


@pytest.mark.parametrize("mark", ["gpu", "not slow and not slurm", ""])
def test_a_gpu_is_seen_where_its_tests_alone_are_asked_for(tmp_path: Path, monkeypatch, mark: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    seen = "0" if mark == "gpu" else ""
    body = f"import os\n@pytest.mark.gpu\ndef test_it(): assert os.environ['CUDA_VISIBLE_DEVICES'] == {seen!r}"
    done = run_with_guard(tmp_path, body, "-m", mark)
    assert done.returncode == 0, done.stdout
