"""The documents: they link to what is there, and every command stands among the commands."""

import re
from pathlib import Path

import pytest

from ifrvis.cli import GROUPS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("slurm/*.md")]


def anchor(heading: str) -> str:
    """The name that a heading has for links."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_what_is_there(document):
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", document.read_text()):
        path, _, place = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE) if place else []
        assert not place or place in map(anchor, headings), target


def test_every_command_stands_among_the_commands():
    text = (ROOT / "docs" / "commands.md").read_text()
    assert [name for names in GROUPS.values() for name in names.split() if f"`ifrvis {name}" not in text] == []
