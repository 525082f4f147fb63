"""The package of `docs/add-a-method.md`, word for word, as it is when it is installed."""

import re
import tomllib
from pathlib import Path

GUIDE = Path(__file__).parents[1] / "docs" / "add-a-method.md"
MODULE, METHOD, ROW = "frame_classes", "frame-classes", "frame-classes-r50-ytvis19"


def install(folder):
    """Write the guide's files, and what pip makes of `pyproject.toml`; the folder is to be on Python's path."""
    for name, text in re.findall(r"^\*\*`([^`]+)`\*\*\n\n```\w+\n(.*?)^```$", GUIDE.read_text(), re.M | re.S):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{MODULE}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {value}" for name, value in project["entry-points"]["ifrvis.methods"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[ifrvis.methods]", *lines, ""]))
    return folder
