"""What `setup/operators.py` compiles and what it leaves, and mmcv with the stand-in for what is not compiled.

Also tests: ifrvis.models._ext.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def operators() -> ModuleType:
    spec = importlib.util.spec_from_file_location("operators", ROOT / "setup" / "operators.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Environment:
    """`setup/operators.py` in a made-up environment, with what it did."""

    def __init__(self, folder: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = module
        self.mmcv, self.done = folder / "mmcv", list[str]()
        self.mmcv.mkdir()
        found = importlib.util.spec_from_file_location("mmcv", self.mmcv / "__init__.py")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
        made: dict[str, object] = {
            "NOTE": folder / ".operators",
            "LOG": folder / "operators.log",
            "architectures": lambda: "",
            "imports": lambda: True,
            "announce": lambda what, how: self.done.append(f"compile {what}"),
            "install_mmcv": lambda *options, **env: self.done.append("install mmcv"),
            "compile_attention": lambda mmcv, target: None,
            "compile_all": lambda target: (self.mmcv / "_ext.cpython-311.so").touch(),
        }
        for name, value in made.items():
            monkeypatch.setattr(self.module, name, value)

    def run(self, *, everything: bool = False) -> list[str]:
        self.done.clear()
        self.module.main(everything)
        return [*self.done, *(["stand-in"] if (self.mmcv / "_ext.py").exists() else [])]


@pytest.fixture
def environment(tmp_path: Path, operators: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Environment:
    return Environment(tmp_path, operators, monkeypatch)


def test_a_cpu_gets_the_stand_in_and_a_gpu_attention_once(environment: Environment, monkeypatch) -> None:
    assert environment.run() == ["stand-in"]
    monkeypatch.setattr(environment.module, "architectures", lambda: "9.0")
    assert environment.run() == ["compile deformable attention", "stand-in"]
    assert environment.run() == ["stand-in"]
    monkeypatch.setattr(environment.module, "architectures", lambda: "8.0;9.0")
    assert environment.run() == ["compile deformable attention", "stand-in"]


def test_every_operator_is_compiled_once_and_serves_for_the_needed_ones(
    environment: Environment,
) -> None:
    environment.run()
    assert environment.run(everything=True) == ["compile every operator", "stand-in"]
    assert environment.run(everything=True) == ["stand-in"]
    assert environment.run() == ["stand-in"]


@pytest.mark.parametrize(
    ("note", "imports", "done"),
    [
        ("", True, []),  # an environment that brings its own
        ("", False, ["install mmcv", "stand-in"]),  # out of pip's cache, for another torch
        ("the same", True, []),
        ("mmcv2.3.6-torch2.12.0-cpu", True, ["install mmcv", "stand-in"]),
    ],
)
def test_compiled_operators_stay_where_they_fit(environment: Environment, monkeypatch, note, imports, done) -> None:
    (environment.mmcv / "_ext.cpython-311.so").touch()
    monkeypatch.setattr(environment.module, "imports", lambda: imports)
    if note:
        fits = environment.module.describe("")
        environment.module.NOTE.write_text(fits if note == "the same" else note)
    assert environment.run() == done


def test_what_is_missing_to_compile_is_said(operators, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    with pytest.raises(SystemExit, match=r"Install a C\+\+ compiler .*g\+\+"):
        operators.announce("attention", "9.0")
    monkeypatch.setenv("CXX", "true")
    monkeypatch.setattr(operators.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(SystemExit, match=r"Install the headers of Python .*python3-dev"):
        operators.announce("attention", "9.0")
    (tmp_path / "Python.h").touch()
    operators.announce("attention", "9.0")
    assert "compiling attention of mmcv for 9.0" in capsys.readouterr().out


def test_a_failed_compilation_shows_its_last_lines_and_where_all_are(operators, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(operators, "LOG", tmp_path / "log")
    monkeypatch.setattr(operators, "PIP", ["sh", "-c", "echo error: no such header; exit 1"])
    with pytest.raises(SystemExit, match=r"(?s)error: no such header.*Read the lines above and .*log") as stopped:
        operators.install_mmcv()
    assert stopped.value.code  # no success
    assert (tmp_path / "log").read_text() == "error: no such header\n"


def test_torch_headers_are_compiled_once_with_the_flags_of_every_source(operators, tmp_path, monkeypatch) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$0.called"\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("CFLAGS", "-DASKED='a b'")
    flags = shlex.split(operators.precompile_headers(tmp_path))  # a compiler that cannot is no reason to end
    *shared, include, header = flags
    called = Path(f"{compiler}.called").read_text().splitlines()
    assert (include, called[-3]) == ("-include", header)
    assert Path(header).read_text() == "#include <torch/types.h>\n"
    assert shared == called[: len(shared)], "other flags, and the compiler leaves the compiled header aside"
    assert {*shlex.split(sysconfig.get_config_var("CFLAGS")), "-DASKED=a b"} <= set(shared), (
        "setuptools takes CFLAGS in the place of Python's own"
    )


def test_the_cuda_compiler_is_one_of_the_version_of_torch_or_comes_from_pypi(operators, tmp_path, monkeypatch) -> None:
    for folder, release in (("old", "12.4"), ("fits", "13.1")):
        nvcc = tmp_path / folder / "bin" / "nvcc"
        nvcc.parent.mkdir(parents=True)
        nvcc.write_text(f"#!/bin/sh\necho release {release}, V{release}.0\n")
        nvcc.chmod(0o755)
    asked: list[str] = []
    monkeypatch.setattr(operators.torch.version, "cuda", "13.0")
    monkeypatch.setattr(operators.subprocess, "check_call", lambda command: asked.extend(map(str, command)))
    monkeypatch.setattr(operators, "TOOLKITS", [tmp_path / "old", tmp_path / "none", tmp_path / "fits"])
    assert operators.toolkit(tmp_path) == tmp_path / "fits"
    assert not asked
    monkeypatch.setattr(operators, "TOOLKITS", [tmp_path / "old"])
    assert operators.toolkit(tmp_path) == tmp_path / "nvidia" / "cu13"
    assert "nvidia-cuda-nvcc==13.0.*" in asked
    monkeypatch.setattr(operators.torch.version, "cuda", "11.8")
    with pytest.raises(SystemExit, match="Set CUDA_HOME to a toolkit of CUDA 11"):
        operators.toolkit(tmp_path)


def test_the_pinned_mmcv_ships_the_sources_of_attention_as_they_are_called() -> None:
    import mmcv

    sources = Path(mmcv.__file__).parent / "ops/csrc/pytorch"
    ours, theirs = (ROOT / "setup" / "attention.cu").read_text(), (sources / "pybind.cpp").read_text()
    for name in ("ms_deform_attn_forward", "ms_deform_attn_backward"):
        assert f"{name.replace('attn', 'attn_cuda')}(" in (sources / "cuda/ms_deform_attn_cuda.cu").read_text()
        bound = [text[text.index(f'm.def("{name}"') :].partition(";")[0] for text in (ours, theirs)]
        words = [re.findall(r'arg\("(\w+)"\)', text) for text in bound]
        assert words[0] == words[1]
        assert words[0]


STAND_IN = f"""
import sys, ifrvis
sys.meta_path.insert(0, sys.meta_path.pop())  # asked last, it would not be asked where set-up has put the file
import mmdet.models
from mmcv.ops import nms
from mmcv.utils import ext_loader
import torch
stand_in = sys.modules["mmcv._ext"]
assert stand_in.__file__ == {str(ROOT / "ifrvis" / "models" / "_ext.py")!r}
assert ext_loader.load_ext("_ext", ["ms_deform_attn_forward", "nms"]) is stand_in
assert not hasattr(stand_in, "__path__")
for call in (lambda: nms(torch.zeros(1, 4), torch.zeros(1), 0.5), stand_in.ms_deform_attn_backward):
    try:
        call()
    except NotImplementedError as error:
        print(type(error).__name__, error)
"""


def test_mmdet_imports_with_the_stand_in_which_says_what_was_called_and_how_to_have_it() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", STAND_IN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    nms, attention = done.stdout.splitlines()[-2:]
    assert nms.startswith("OperatorNotCompiledError Run `OPERATORS=all make setup`")
    assert "operator nms was called" in nms
    assert "TORCH_CUDA_ARCH_LIST" in attention
    assert "operator ms_deform_attn_backward was called" in attention
