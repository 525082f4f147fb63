"""What all tests share: one thread, no GPU, a seeded generator, the real clips, and no silent skips in CI."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Before anything imports torch, which reads it then; commands that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
# What a contributor's shell, or the hook of a repository that runs the tests, has set would change what they see.
for name in [*os.environ]:
    is_terminal = name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES", "MATPLOTLIBRC")
    if is_terminal or name in ("IFRVIS_DATA", "IFRVIS_RESULTS") or name.startswith("GIT_"):
        del os.environ[name]

# On a busy machine an example takes as long as it takes.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

ROOTS = {"data-root": "data", "results": "results", "reports": "reports"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skip", action="store_true", help="fail the run if a test is skipped, but for want of a GPU"
    )


def skipped(config: pytest.Config) -> list[str]:
    """What was skipped though it may not be: a test marked `gpu` may, and an expected failure is no skip."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")  # none in a worker
    reports = terminal.stats.get("skipped", []) if terminal and config.getoption("--fail-on-skip") else []
    return [each.nodeid for each in reports if "gpu" not in getattr(each, "keywords", ())]


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("markexpr") != "gpu":  # `pytest -m gpu` runs the tests that need one, and nothing else
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if skipped(session.config) and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED  # so that CI cannot pass by running nothing


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if nodes := skipped(config):
        terminalreporter.section("skipped, and --fail-on-skip was given", red=True)
        terminalreporter.write_line("\n".join(nodes))


@pytest.fixture
def rng() -> np.random.Generator:
    """A numpy generator with the same seed in every test."""
    return np.random.default_rng(0)


@pytest.fixture
def roots(tmp_path: Path) -> list[str]:
    """The options that say where data, results and reports lie."""
    return [f"--{name}={tmp_path}/{folder}" for name, folder in ROOTS.items()]


@pytest.fixture(scope="session")
def real_vis() -> Path:
    """The folder of real annotated clips, which only CI is given; elsewhere the test is skipped."""
    folder = os.environ.get("IFRVIS_TEST_DATA")
    if not folder:
        pytest.skip("IFRVIS_TEST_DATA is not set: there are no real clips here")
    clips = Path(folder).resolve() / "real_vis"
    if not clips.is_dir():
        pytest.skip(f"IFRVIS_TEST_DATA={folder} has no folder real_vis: there are no real clips here")
    return clips


@pytest.fixture
def golden(request: pytest.FixtureRequest):
    """Compare a text with a golden file; with UPDATE_GOLDEN=1 in the environment write it instead."""

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / request.path.parent.name / name
        if os.environ.get("UPDATE_GOLDEN") == "1":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, "review the change, then run with UPDATE_GOLDEN=1"

    return check
