"""Reading needs no heavy package; that imports point one way is checked by import-linter, in `make lint`."""

import ast
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from without_train import said_without_train

from ifrvis.cli import NEED_TRAIN

ROOT = Path(__file__).parents[1]
CASE = ROOT / "tests" / "data" / "oracle" / "ap" / "02"
OTHERS = ("frames.py", "sources.py", "check.py", "pictures.py")  # of pictures and videos
SCORED = ["--gt", str(CASE / "gt.json"), "--pred", str(CASE / "pred.json")]
SMOKE = ["--profile", "smoke", "--rows", "mask2former-r50-ytvis19"]


def test_one_place_opens_files_and_one_prints_what_they_say():
    """`files` opens what is read (the system's own files and packed templates aside); `show` and `say` print."""
    opened = re.compile(r"\.(open|read_text|read_bytes)\(|gzip\.open|np\.load\(")
    mine = re.compile(
        r'Path\(f?"/proc|Image\.|templates|command\.read_bytes|\.open\("(ab|w)"\)|archive\.open|os\.devnull'
    )
    for path in sorted((ROOT / "ifrvis").rglob("*.py")):
        lines = path.read_text().splitlines() if path.name not in ("files.py", *OTHERS) else []
        assert not [line for line in lines if opened.search(line) and not mine.search(line)], path
        printed = [line for line in lines if re.search(r"(?<![\w.])print\(", line) and path.parent.name == "commands"]
        assert not [line for line in printed if not re.search(r"json\.dumps|printable\(", line)], path


@pytest.fixture
def dataset(tmp_path):
    """A dataset of the annotations of one case, whose frames are empty files."""
    content = json.loads((CASE / "gt.json").read_text())
    for name in (name for video in content["videos"] for name in video["file_names"]):
        (tmp_path / "frames" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "frames" / name).touch()
    text = f"name: mine\ntitle: mine\ncategories: {len(content['categories'])}\nframes: {tmp_path}/frames\n"
    (tmp_path / "mine.yaml").write_text(f"{text}annotation: {CASE}/gt.json\n")
    return str(tmp_path / "mine.yaml")


def test_reading_needs_nothing_of_the_extra_train(dataset, tmp_path):
    (tmp_path / "results").mkdir()
    content = json.loads((CASE / "gt.json").read_text())
    for video in content["videos"]:
        for name in video["file_names"]:
            Image.new("RGB", (video["width"], video["height"])).save(tmp_path / "frames" / name)
    (tmp_path / "mine.json").write_bytes((CASE / "pred.json").read_bytes())
    commands = [
        ["plan", "all", *SMOKE, "--dataset", dataset],
        ["status", "table1", *SMOKE],
        ["show", "ours-r50-ytvis19", "--profile", "mini"],
        ["report", "all", *SMOKE],
        ["verify"],
        ["prune"],
        ["rescore", "table1", *SMOKE],
        ["doctor", "table1", *SMOKE],
        ["data", "check", dataset],
        ["data", "stats", dataset, "--split", "full"],
        ["data", "export", "davis", dataset, "--out", "masks"],
        ["data", "export", "coco", dataset, "--out", "coco.json"],
        ["data", "import", "davis", "masks", "--out", "mine", "--category", "x", "--heldout", "1"],
        ["compare", SCORED[3], "mine.json", *SCORED[:2]],
        *(["evaluate", metric, *SCORED] for metric in ("ap", "tracking", "identity")),
    ]
    failed = {command: said for command, said in said_without_train(commands, tmp_path).items() if said[0]}
    assert not failed


def test_what_needs_the_extra_train_says_so_in_one_line(tmp_path):
    (tmp_path / "mine.json").write_bytes((CASE / "pred.json").read_bytes())
    commands = {
        "run": ["run", "table1", *SMOKE],
        "reproduce": ["reproduce", "ours-r50-ytvis19", *SMOKE[:2]],
        "cancel": ["cancel", "table1", *SMOKE],
        "weights": ["weights", "convert", "a.pth", "b.pth"],
        "predict": ["predict", "ours", "frames"],
        "evaluate-model": ["evaluate-model", SCORED[1], "--row", "table1/ours-r50-ytvis19", "--profile", "smoke"],
        "make-mini": ["data", "make-mini", "smoke19"],
        "compare": ["compare", SCORED[3], "mine.json", *SCORED[:2], "--html", "page.html"],
    }
    assert {*NEED_TRAIN} <= {*commands}
    for command, (status, out, err) in said_without_train([*commands.values()], tmp_path).items():
        assert (status, out) == (2, ""), command
        assert re.fullmatch(r"ifrvis: Install .*`pip install 'ifrvis\[train\]'`.* needs \w+, .*\n", err), command


def private_names(tree):
    """What a module reads that begins with `_` and is not its own: attributes, and what it imports of submitit."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls", "super()"):
            yield ast.unparse(node), node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            named = [getattr(node, "module", "") or "", *(each.name for each in node.names)]
            if named[0].startswith("submitit") or any(each.startswith("submitit.") for each in named):
                yield from ((f"import {each}", part) for each in named for part in each.split("."))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "attrgetter", "methodcaller"):
            yield from ((ast.unparse(node), each.value) for each in node.args if isinstance(each, ast.Constant))


def test_nothing_private_of_submitit_or_of_what_it_made_is_read():
    """An object that submitit made may go anywhere: so nobody reads a private attribute but these of others."""
    others = {"Scored._fields", "pickle._Unpickler", "os._exit", "loop._step"}
    public = {"_replace", "_asdict"}  # of every named tuple
    folders = ("ifrvis", "experiments", "studies", "benchmarks")
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for path in (each for folder in folders for each in (ROOT / folder).rglob("*.py"))
        for text, name in private_names(ast.parse(path.read_text()))
        if re.match("_(?!_)", str(name)) and name not in public and text not in others
    }
    assert not found
    for bad in ("from submitit.slurm.slurm import _make", "import submitit.core._submit", "job._x", "getattr(j, '_x')"):
        assert any(str(name).startswith("_") for _, name in private_names(ast.parse(bad))), bad
