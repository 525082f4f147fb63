"""Where a number came from: code, versions and hardware. No host, no user, no path."""

import operator
import os
import platform
import subprocess
import sys
from importlib.metadata import distribution, distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from ifrvis import __version__
from ifrvis.files import read_bytes, read_text, sha256_bytes
from ifrvis.harness.spec.allowed import brought_by
from ifrvis.harness.spec.signatures import Sha256
from ifrvis.schema import Model, read_model

COPIED_FROM = "code.json"  # in a copy of the code: what `_code` said of the original

HOST = {"onedl-mmengine": "mmengine", "onedl-mmcv": "mmcv", "onedl-mmdetection": "mmdet"}
PACKAGES = {each: each for each in ("torch", "numpy", "scipy", "pycocotools", "submitit")} | HOST  # and what to import
SHADOWED = " (not what is imported)"
OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")
ALLOWED_VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_CORETYPE")


class Brought(Model):
    """A package from outside: the version that was installed, and the hash of its files."""

    version: str | None
    sha256: Sha256


class Code(Model):
    """The state of the code: version, commit, a hash of what was not committed, and the packages that it builds on."""

    version: str
    commit: str | None = None
    uncommitted: str | None = None
    methods: dict[str, Brought] = Field(default={}, exclude_if=operator.not_)


class Hardware(Model):
    """The machine, by what its numbers may depend on."""

    machine: str
    processor: str
    cores: int | None
    system: str


class Provenance(Model):
    """Code, versions of the packages behind it (null: not installed), and hardware."""

    code: Code
    versions: dict[str, str | None]
    hardware: Hardware


class Environment(Provenance):
    """`env.json`: an allow-list of variables, so that no secret of the environment is ever written."""

    variables: dict[str, str]


def provenance(model: dict[str, Any] | None = None) -> Provenance:
    """What this process runs, and on what; packages from outside are named where `model` is of one."""
    packages = brought_by(model or {})
    brought = {each.name: Brought(version=each.version, sha256=each.digest()) for each in packages}
    code = _code().model_copy(update={"methods": brought})
    return Provenance(code=code, versions=_versions(), hardware=hardware())


def environment() -> Environment:
    """This process."""
    variables = {name: os.environ[name] for name in ALLOWED_VARIABLES if name in os.environ}
    return Environment(**dict(provenance()), variables=variables)


def _code() -> Code:
    """The commit of the checkout that this package lies in; where there is none or git fails, the version alone."""
    folder, ours = Path(__file__).resolve().parents[3], ("--", "ifrvis", "experiments")
    if (folder / COPIED_FROM).is_file():
        return read_model(Code, folder / COPIED_FROM, "where a copy of the code comes from")
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        tracked = _git(folder, "diff", "--no-ext-diff", "--no-textconv", "HEAD", *ours)
        added = _git(folder, "ls-files", "-z", "--others", "--exclude-standard", *ours)
    except (OSError, subprocess.SubprocessError):
        return Code(version=__version__)
    contents = [read_bytes(folder / name) for name in added.split("\0") if (folder / name).is_file()]
    changes = b"\0".join([tracked.encode(), added.encode(), *contents])
    uncommitted = sha256_bytes(changes) if tracked or added else None
    return Code(version=__version__, commit=commit.strip(), uncommitted=uncommitted)


def _git(folder: Path, *arguments: str) -> str:
    """What git says of the checkout in a folder: of somebody else's too, whose `.git` it takes by name alone, and never
    of the repository whose hook has started this.
    """
    plain = {name: value for name, value in os.environ.items() if name not in OF_HOOKS}
    command = ["git", "-C", str(folder), "--git-dir=.git", *arguments]
    done = subprocess.run(command, capture_output=True, check=True, timeout=20, env=plain)
    return done.stdout.decode(errors="replace")


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name, module in PACKAGES.items():
        try:
            found[name] = version(name) + SHADOWED * _is_shadowed(name, module)
        except ImportError:  # PackageNotFoundError is one
            found[name] = None
    return found


def _is_shadowed(package: str, module: str) -> bool:
    """Whether an installed package's module may be another's: of a checkout that PYTHONPATH names, or OpenMMLab's own
    package of that name, whose files lie in the same folder.
    """
    if package in HOST and any(any(distributions(name=module + kind)) for kind in ("", "-lite", "-full")):
        return True
    installed, spec = Path(str(distribution(package).locate_file(""))).resolve(), find_spec(module)
    return bool(spec and spec.origin and not Path(spec.origin).resolve().is_relative_to(installed))


def pinned_versions() -> dict[str, str]:
    """The versions that this checkout pins; where there are none, as in a wheel, those that are installed."""
    path = Path(__file__).resolve().parents[3] / "constraints.txt"
    if not path.is_file():
        return {name: each.partition("+")[0] for name, each in _versions().items() if each and name != "python"}
    lines = (line.split("==") for line in read_text(path, "the pinned versions").splitlines() if line[:1].isalpha())
    return dict(line for line in lines if line[0] in PACKAGES)


def hardware() -> Hardware:
    """This machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return Hardware(machine=platform.machine(), processor=model, cores=os.cpu_count(), system=sys.platform)
