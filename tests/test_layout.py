"""A module's test lies where the module does, or a test says in its head that it tests the module too."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_module_has_its_test():
    packaged = [path.relative_to(ROOT) for path in (ROOT / "ifrvis").rglob("*.py") if path.stem != "__init__"]
    modules = [path for path in packaged if path.parts[1] != "configs"]
    told = set()
    for test in (ROOT / "tests").rglob("test_*.py"):
        head = ast.get_docstring(ast.parse(test.read_text(encoding="utf-8"))) or ""
        for names in re.findall(r"^Also tests: ([\w., \n]+)\.$", head, re.MULTILINE):
            told |= set(re.split(r",\s+", names))
    own = {path for path in modules if (ROOT / "tests" / Path(*path.parts[1:-1]) / f"test_{path.name}").is_file()}
    named = {path: ".".join(path.with_suffix("").parts) for path in modules}
    untested = sorted(named[path] for path in modules if path not in own and named[path] not in told)
    assert untested == [], "add tests/<room>/test_<module>.py, or `Also tests: <these>.` to the head of what tests them"
    assert sorted(told - {named[path] for path in modules if path not in own}) == [], "no module, or it has its own"
