"""Every pin of constraints.txt is here, whole, and the host works: prints the versions, or ends with what to do."""

import contextlib
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ifrvis.harness.upkeep.doctor import probe_host

ROOT = Path(__file__).parents[1]
HOST = ("onedl-mmcv", "onedl-mmengine", "onedl-mmdetection")
NOTE = Path(sys.prefix, ".operators")  # of operators.py


def wrong_packages() -> list[str]:
    """What is missing, of another version, or not whole."""
    wrong = []
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE):
        try:
            found = distribution(name)
            missing = [path for path in found.files or () if path.suffix != ".pyc" and not path.locate().exists()]
            if found.version.split("+")[0] != version or not found.files or missing:
                wrong.append(f"{name} {found.version}: {version} is pinned, {len(missing)} files are missing")
        except PackageNotFoundError:
            wrong.append(f"{name} is missing")
    for name in ("opencv-python", "opencv-contrib-python"):
        with contextlib.suppress(PackageNotFoundError):
            wrong.append(f"{name} {distribution(name).version} overwrites opencv-python-headless")
    return wrong


def main() -> None:
    """Look at all, and say it."""
    wrong = wrong_packages()
    if wrong:
        sys.exit("setup: Delete .venv and run this again:\n  " + "\n  ".join(wrong))
    said = probe_host()
    if "error" in said:
        sys.exit(f"setup: Delete .venv and run this again: the host does not work ({said['error']})")
    operators = NOTE.read_text() if NOTE.exists() else "its own"
    compiled = "attention" if "-cuda" in operators else "none, as a CPU needs none"
    compiled = compiled if operators.endswith("-attention") else "all"
    python = ".".join(map(str, sys.version_info[:3]))
    host = ", ".join(f"{name} {distribution(name).version}" for name in ("torch", *HOST, "opencv-python-headless"))
    print(f"setup: ready: Python {python}, {host}; operators of mmcv: {compiled}")


if __name__ == "__main__":
    main()
