"""Imports point one way, and what a plan or a report needs never imports torch (docs/architecture.md).

A module is read, not run: its import statements wherever they stand, but for those under `if TYPE_CHECKING`, which
never run. Importing a module imports its packages too, and so does this graph.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room and what it may import; what those may import comes with it, so `reporting` may read `datasets`.
ARROWS = {
    "worker": {"training", "harness"},
    "training": {"models", "datasets", "inference", "evaluation"},
    "inference": {"models", "datasets", "evaluation"},
    "models": set(),
    "reporting": {"harness"},
    "harness": {"evaluation"},
    "evaluation": {"datasets"},
    "datasets": set(),
    "configs": set(),
}
# Modules beside the rooms that every room may import, and that import no room. `cli` and `commands` import any; nobody
# else imports them.
COMMON = {"", "errors", "files", "packed", "schema", "streams"}
FRONT = {"cli", "commands", "__main__"}
# The only modules of these rooms that may import torch.
TORCH_ROOMS = {"worker", "training", "inference", "models", "configs"}
TORCH_MODULES = {f"ifrvis.datasets.{name}" for name in ("clips", "resizing", "stills")}  # what training reads
TORCH_PACKAGES = {"torch", "torchvision", "mmcv", "mmdet", "mmengine", "functorch"}
TORCH_FREE_EXCEPTIONS = {"mmengine.config"}  # imports no torch by itself: the subprocess test would see it


@dataclass(frozen=True)
class Import:
    module: str  # that imports
    target: str  # "a.b" of `import a.b`; "a.b.c" of `from a.b import c`
    line: int
    inside_function: bool


def imports_of(module: str, source: str, is_package: bool) -> Iterator[Import]:
    """The import statements of one module, relative ones resolved."""
    package = module if is_package else module.rpartition(".")[0]

    def visit(node: ast.AST, inside_function: bool) -> Iterator[Import]:
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(module, alias.name, node.lineno, inside_function)
            case ast.ImportFrom():
                base = node.module or ""
                if node.level:
                    kept = package.split(".")[: len(package.split(".")) - node.level + 1]
                    base = ".".join([*kept, *([base] if base else [])])
                for alias in node.names:
                    yield Import(module, f"{base}.{alias.name}", node.lineno, inside_function)
            case ast.Call(func=ast.Name(id="import_module") | ast.Attribute(attr="import_module")):
                if node.args and isinstance(node.args[0], ast.Constant):
                    yield Import(module, str(node.args[0].value), node.lineno, inside_function)
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                for child in node.orelse:
                    yield from visit(child, inside_function)
                return
        within = inside_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, within)

    yield from visit(ast.parse(source), False)


def room_of(module: str) -> str:
    """`harness` of `ifrvis.harness.plan.plan`; the empty name of `ifrvis` itself."""
    return module.split(".")[1] if "." in module else ""


def may_import(room: str) -> set[str]:
    """All rooms that one room may import: its arrows and theirs."""
    reached, waiting = {room}, [room]
    while waiting:
        for target in ARROWS.get(waiting.pop(), set()) - reached:
            reached.add(target)
            waiting.append(target)
    return reached


class Graph:
    """The modules of a package, given as their sources; a package's name ends in `.__init__`."""

    def __init__(self, sources: dict[str, str]) -> None:
        packages = {name.removesuffix(".__init__") for name in sources if name.endswith(".__init__")}
        self.imports: dict[str, list[Import]] = {}
        for name, source in sources.items():
            module = name.removesuffix(".__init__")
            self.imports[module] = list(imports_of(module, source, module in packages))

    def modules_behind(self, target: str) -> list[str]:
        """The modules of this graph that an import of `target` runs: its packages, then itself."""
        parts = target.split(".")
        names = (".".join(parts[: i + 1]) for i in range(len(parts)))
        return [name for name in names if name in self.imports]

    def broken_arrows(self) -> list[str]:
        """Every import that crosses rooms against the arrows, in words."""
        found = []
        for module, imports in self.imports.items():
            room = room_of(module)
            allowed = COMMON if room in COMMON else COMMON | may_import(room)
            for one in imports:
                if one.target.split(".")[0] != "ifrvis":
                    continue
                target = room_of(one.target)
                if target not in COMMON | FRONT | ARROWS.keys() and f"ifrvis.{target}" not in self.imports:
                    continue  # a name of ifrvis/__init__.py
                if room in FRONT and (target not in FRONT or target == "commands" or room == "__main__"):
                    continue
                if target not in allowed:
                    found.append(f"{module}:{one.line} imports {one.target}")
        return found

    def torch_free(self) -> list[str]:
        """The modules that have to do without torch."""
        return [name for name in self.imports if room_of(name) not in TORCH_ROOMS and name not in TORCH_MODULES]

    def ways_to_torch(self) -> list[str]:
        """For each module that has to do without torch and does not: the chain of imports that leads to it."""
        found = []
        for start in self.torch_free():
            seen, waiting = set(), [(name, (name,)) for name in self.modules_behind(start)]
            while waiting:
                module, chain = waiting.pop()
                if module in seen:
                    continue
                seen.add(module)
                for one in self.imports[module]:
                    if one.inside_function and room_of(module) in FRONT:
                        continue  # a command imports heavy things when it runs
                    if brings_torch(one.target):
                        found.append(" -> ".join([*chain, one.target]))
                    waiting += [(name, (*chain, name)) for name in self.modules_behind(one.target)]
        return found


def brings_torch(target: str) -> bool:
    parts = target.split(".")
    excepted = any(".".join(parts[: i + 1]) in TORCH_FREE_EXCEPTIONS for i in range(len(parts)))
    return parts[0] in TORCH_PACKAGES and not excepted


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.fixture(scope="module")
def graph() -> Graph:
    # configs are no modules: their names have dashes, and MMEngine parses them as text
    paths = [path for path in sorted((ROOT / "ifrvis").rglob("*.py")) if "-" not in path.stem]
    return Graph({module_name(path): path.read_text(encoding="utf-8") for path in paths})


def test_imports_follow_the_arrows(graph: Graph) -> None:
    assert graph.broken_arrows() == []


def test_every_room_and_module_has_its_place(graph: Graph) -> None:
    rooms = {room_of(module) for module in graph.imports}
    assert rooms <= ARROWS.keys() | COMMON | FRONT, "say in ARROWS or COMMON what the new one may import"


def test_plan_and_report_reach_no_torch(graph: Graph) -> None:
    assert graph.ways_to_torch() == []


def test_importing_torch_free_modules_leaves_torch_out(graph: Graph) -> None:
    modules = [name for name in graph.torch_free() if not name.endswith("__main__")]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name + ' imports torch'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# The checks themselves, on a made-up package.

SOUND = {
    "ifrvis.__init__": "",
    "ifrvis.errors": "import os",
    "ifrvis.files": "from ifrvis.errors import UserError",
    "ifrvis.datasets.__init__": "",
    "ifrvis.datasets.rle": "import numpy\nfrom ifrvis.files import read_json",
    "ifrvis.datasets.clips": "import torch",
    "ifrvis.evaluation.__init__": "",
    "ifrvis.evaluation.ap": "from ifrvis.datasets import rle",
    "ifrvis.harness.__init__": "",
    "ifrvis.harness.plan.plan": "from mmengine.config import Config\nimport ifrvis.datasets.rle",
    "ifrvis.reporting.__init__": "",
    "ifrvis.reporting.frame": "from ifrvis.harness.plan.plan import plan\nfrom ifrvis.datasets.rle import area",
    "ifrvis.models.__init__": "from mmdet.registry import MODELS",
    "ifrvis.inference.__init__": "",
    "ifrvis.inference.modes": "import ifrvis.models\nfrom ifrvis.evaluation.ap import ap",
    "ifrvis.training.__init__": "",
    "ifrvis.training.loop": "import ifrvis.inference.modes",
    "ifrvis.worker": "from ifrvis.training import loop\nfrom ifrvis.harness import plan",
    "ifrvis.cli": "from ifrvis.reporting import frame\ndef predict():\n    import torch\n    import ifrvis.worker",
    "ifrvis.__main__": "from ifrvis.cli import main",
}


def test_a_sound_package_passes() -> None:
    graph = Graph(SOUND)
    assert graph.broken_arrows() == []
    assert graph.ways_to_torch() == []


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("ifrvis.datasets.rle", "from ifrvis.evaluation.ap import ap"),
        ("ifrvis.datasets.rle", "from ..evaluation import ap"),
        ("ifrvis.evaluation.ap", "import ifrvis.harness.plan.plan"),
        ("ifrvis.harness.plan.plan", "from ifrvis.reporting import frame"),
        ("ifrvis.harness.plan.plan", "from ifrvis import worker"),
        ("ifrvis.harness.plan.plan", "def later():\n    from ifrvis.training import loop"),
        ("ifrvis.harness.plan.plan", "import importlib\nimportlib.import_module('ifrvis.training.loop')"),
        ("ifrvis.models.__init__", "from ifrvis.training import loop"),
        ("ifrvis.training.loop", "from ifrvis.harness.plan.plan import plan"),
        ("ifrvis.inference.modes", "from ifrvis.training.loop import train"),
        ("ifrvis.worker", "from ifrvis.cli import main"),
        ("ifrvis.reporting.frame", "def later():\n    from ifrvis.cli import main"),
        ("ifrvis.errors", "from ifrvis.harness import plan"),
    ],
)
def test_a_broken_arrow_is_found(module: str, statement: str) -> None:
    graph = Graph({**SOUND, module: f"{SOUND[module]}\n{statement}"})
    assert [text.split(":")[0] for text in graph.broken_arrows()] == [module.removesuffix(".__init__")]


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("ifrvis.harness.plan.plan", "import torch"),
        ("ifrvis.harness.plan.plan", "def later():\n    import torch.nn"),
        ("ifrvis.harness.plan.plan", "from mmengine.runner import Runner"),
        ("ifrvis.harness.plan.plan", "import mmengine"),
        ("ifrvis.evaluation.__init__", "from mmcv import ops"),
        ("ifrvis.datasets.__init__", "from ifrvis.datasets import clips"),
        ("ifrvis.datasets.rle", "from .clips import draw"),
        ("ifrvis.cli", "import ifrvis.worker"),
        ("ifrvis.files", "try:\n    import torch\nexcept ImportError:\n    pass"),
    ],
)
def test_a_way_to_torch_is_found(module: str, statement: str) -> None:
    graph = Graph({**SOUND, module: f"{SOUND[module]}\n{statement}"})
    name = module.removesuffix(".__init__")
    assert any(way.split(" -> ")[0] == name for way in graph.ways_to_torch())


def test_imports_for_type_checkers_alone_do_not_count() -> None:
    statement = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n    import ifrvis.cli"
    graph = Graph({**SOUND, "ifrvis.harness.plan.plan": statement})
    assert graph.broken_arrows() == []
    assert graph.ways_to_torch() == []
