"""Give mmcv in this environment the operators that the models call: none on a CPU, deformable attention on a GPU.

    python setup/operators.py          attention for the GPUs that are seen, or that TORCH_CUDA_ARCH_LIST names
    python setup/operators.py all      every operator of mmcv, for the CPU and for these GPUs

In the place of what is not compiled stands `ifrvis/models/_ext.py`. An mmcv that brings operators of its own is left as
it is.
"""

import importlib.util
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import torch

HERE = Path(__file__).parent
STAND_IN = HERE.parent / "ifrvis" / "models" / "_ext.py"
LOG = Path(sys.prefix, "operators.log")
NOTE = Path(sys.prefix, ".operators")  # what set-up has compiled, as `describe` has it
# Where torch looks for a CUDA compiler, too.
TOOLKITS = [os.environ.get("CUDA_HOME", ""), Path(shutil.which("nvcc") or "nvcc").parent / "..", "/usr/local/cuda"]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]


def architectures() -> str:
    """CUDA architectures to compile for, such as `8.0;9.0`; empty where torch is for the CPU or no GPU is seen."""
    if not torch.version.cuda:
        return ""
    seen = {"{}.{}".format(*torch.cuda.get_device_capability(index)) for index in range(torch.cuda.device_count())}
    return (os.environ.get("TORCH_CUDA_ARCH_LIST") or ";".join(sorted(seen))).replace(" ", ";")


def describe(target: str) -> str:
    """What operators compiled here fit: this mmcv, torch, Python, machine, and the architectures."""
    cuda = f"cuda{torch.version.cuda}-sm{target}" if target else "cpu"
    python, libc = sys.implementation.cache_tag, "".join(platform.libc_ver())
    words = (f"mmcv{version('onedl-mmcv')}", f"torch{torch.__version__}", python, cuda, platform.machine(), libc)
    return re.sub(r"[^\w.+-]", "_", "-".join(words))


def announce(what: str, how: str) -> None:
    """Say what is compiled, or end with what to install where a C++ compiler or Python's headers are missing."""
    compiler, headers = os.environ.get("CXX", "c++"), sysconfig.get_path("include")
    cure = "setup: Install {} (Debian and Ubuntu: apt-get install {}) to compile mmcv's operators: {} was not found."
    if shutil.which(compiler) is None:
        sys.exit(cure.format("a C++ compiler", "g++", compiler))
    if not Path(headers, "Python.h").exists():
        sys.exit(cure.format("the headers of Python", "python3-dev", f"{headers}/Python.h"))
    print(f"setup: compiling {what} of mmcv for {how}", flush=True)


def toolkit(scratch: Path) -> Path:
    """The folder of a CUDA compiler that fits torch: one that is installed, else PyPI's, put into `scratch`."""
    wanted = str(torch.version.cuda)
    major = wanted.split(".")[0]
    for folder in TOOLKITS:
        compiler = Path(folder, "bin/nvcc")
        if compiler.exists() and f"release {major}." in subprocess.check_output([compiler, "--version"], text=True):
            return Path(folder)
    if int(major) < 13:  # PyPI's older compilers lie in several folders
        sys.exit(f"setup: Set CUDA_HOME to a toolkit of CUDA {major}, as torch is built for: no nvcc of it was found.")
    parts = ("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-cccl", "nvidia-cuda-runtime")
    pins = [f"{part}=={wanted}.*" for part in parts]
    subprocess.check_call([*PIP, "install", "--quiet", "--no-deps", "--target", scratch, *pins])
    return scratch / "nvidia" / f"cu{major}"


def cuda_environment(target: str, scratch: Path) -> dict[str, str]:
    """Variables with which mmcv and torch compile for these architectures, with `scratch` for what they need."""
    home = toolkit(scratch)
    wheels = Path(torch.__file__).parents[1] / "nvidia"  # what torch itself brings of CUDA: headers and libraries
    for library in (*home.glob("lib*/libcudart.so.*"), *wheels.glob("*/lib/libcudart.so.*")):
        if not (scratch / "libcudart.so").exists():
            (scratch / "libcudart.so").symlink_to(library)  # wheels have it with its number alone
    headers = [] if (home / "include/cusparse.h").exists() else wheels.glob("*/include")
    paths = {"CPATH": map(str, headers), "LIBRARY_PATH": [str(scratch)]}
    joined = {name: ":".join([*found, *filter(None, [os.environ.get(name)])]) for name, found in paths.items()}
    return {"FORCE_CUDA": "1", "CUDA_HOME": str(home), "TORCH_CUDA_ARCH_LIST": target, **joined}


def compile_attention(mmcv: Path, target: str) -> None:
    """Compile deformable attention from the sources that mmcv ships.

    Args:
        mmcv: The folder of mmcv, which gets `_attention.so`.
        target: CUDA architectures, such as `8.0;9.0`.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(cuda_environment(target, Path(folder)))
        from torch.utils.cpp_extension import load  # finds CUDA when it is imported

        includes = [str(mmcv / "ops/csrc" / part) for part in ("common", "common/cuda", "pytorch/cuda")]
        sources = [str(HERE / "attention.cu")]
        try:
            load("_attention", sources, extra_include_paths=includes, build_directory=folder, is_python_module=False)
        except RuntimeError as error:
            fail(str(error), "deformable attention did not compile")
        shutil.move(Path(folder, "_attention.so"), mmcv / "_attention.so")


def fail(said: str, what: str) -> NoReturn:
    """End with the last lines of what a compiler said, and where all of it is."""
    LOG.write_text(said)
    last = [line[:300] for line in said.splitlines()[-30:]]
    sys.exit("\n".join([*last, f"setup: Read the lines above and {LOG}: {what}."]))


def install_mmcv(*options: str, **env: str) -> None:
    """Install the pinned mmcv anew."""
    # pip's cache would hand out what was compiled for another torch: its key knows the source alone
    command = [*PIP, "install", "--verbose", "--no-cache-dir", "--force-reinstall", "--no-deps", *options]
    name = f"onedl-mmcv=={version('onedl-mmcv')}"
    with LOG.open("w") as log:
        done = subprocess.run([*command, name], env=os.environ | env, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        fail(LOG.read_text(errors="replace"), "onedl-mmcv could not be installed")


def precompile_headers(folder: Path) -> str:
    """Compiler flags that take torch's headers from one that is compiled here, once: they are most of each source.

    A compiler that cannot use it reads the header itself. Without debugging symbols, which take as long again.
    """
    from torch.utils.cpp_extension import include_paths

    header = folder / "torch_headers.h"
    header.write_text("#include <torch/types.h>\n")
    flags = " ".join(filter(None, (sysconfig.get_config_var("CFLAGS"), os.environ.get("CFLAGS"), "-g0 -w")))
    known = [*shlex.split(flags), "-fPIC", "-std=c++17", "-DTORCH_API_INCLUDE_EXTENSION_H"]
    paths = [f"-I{path}" for path in (*include_paths(), sysconfig.get_path("include"))]
    command = [os.environ.get("CXX", "c++"), *known, *paths, "-x", "c++-header", str(header), "-o", f"{header}.gch"]
    subprocess.run(command, check=False, capture_output=True)
    return f"{flags} -include {header}"


def compile_all(target: str) -> None:
    """Compile and install mmcv with every operator."""
    available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    free_gib = int(available[1]) >> 20 if available else 2
    jobs = max(1, min(len(os.sched_getaffinity(0)), free_gib // 2))  # 2 GiB a compiler
    with tempfile.TemporaryDirectory() as folder:
        cpu = {"FORCE_CUDA": "0", "CUDA_VISIBLE_DEVICES": ""}
        env = cuda_environment(target, Path(folder)) if target else cpu
        flags = precompile_headers(Path(folder))
        install_mmcv("--no-build-isolation", MAX_JOBS=str(jobs), TMPDIR=folder, CFLAGS=flags, **env)


def imports() -> bool:
    """Whether mmcv imports with the operators that it has, in a process of its own, which they can end."""
    return subprocess.run([sys.executable, "-c", "import mmcv.ops"], capture_output=True).returncode == 0


def main(everything: bool) -> None:
    """Compile what is asked for and is not here yet."""
    found = importlib.util.find_spec("mmcv")
    assert found is not None
    assert found.origin is not None
    mmcv, target = Path(found.origin).parent, architectures()
    fits, here = describe(target), NOTE.read_text().strip() if NOTE.exists() else ""
    own, wanted = any(mmcv.glob("_ext.*.so")), fits if everything else f"{fits}-attention"
    if own and here in ({fits} if everything else {fits, ""}) and imports():
        return  # an environment that brings its own operators has no note
    NOTE.unlink(missing_ok=True)
    os.environ["PATH"] = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"  # of ninja
    if everything:
        announce("every operator", f"{target or 'the CPU'} (log: {LOG}); this takes some minutes")
        compile_all(target)
    else:
        if own:  # of another torch
            install_mmcv("--build-constraint", str(HERE.parent / "constraints.txt"))
        shutil.copy(STAND_IN, mmcv / "_ext.py")
        if target and here != wanted:
            announce("deformable attention", f"{target}; this takes a minute or two")
            compile_attention(mmcv, target)
    NOTE.write_text(wanted)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves no temporary folder
    main(everything=sys.argv[1:] == ["all"])
