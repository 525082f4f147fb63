#!/usr/bin/env bash
# Make .venv: every pinned package of constraints.txt, the host's compiled operators, ifrvis itself (editable).
#
#     bash setup.sh                       costs nothing where all is in place
#     PYTHON=python3.12 bash setup.sh     with another interpreter
#
# Nothing half-made is taken for whole: .venv/.ready is written last and holds the hash of all that .venv depends on;
# .venv/.unfinished stands while set-up works, and a set-up that finds it starts .venv afresh. The operators compile in a
# temporary folder and are renamed into the cache, under a lock, so that any number of set-ups compile them once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
unset PYTHONPATH PYTHONHOME
root=$PWD
venv=$root/.venv
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ifrvis
started=$SECONDS

say() { printf '%s\n' "setup: $*"; }
fail() {
    printf '%s\n' "setup: $*" >&2
    exit 2
}
pin() { sed -n "s/^$1==\([^ ]*\).*/\1/p" constraints.txt; }
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }
elapsed() { printf '%d min %02d s' $(((SECONDS - $1) / 60)) $(((SECONDS - $1) % 60)); }

version_of() { # full version of an interpreter that runs and is new enough
    "$1" -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1); print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null
}

shown() { "$1" -V 2>/dev/null || echo 'no Python that runs'; }

choose_python() { # PYTHON, else what .venv was made with, else the first that is new enough
    local candidate base='import sys; print("%s/bin/python%d.%d" % (sys.base_prefix, *sys.version_info[:2]))'
    if [[ -n ${PYTHON:-} ]]; then
        version_of "$PYTHON" >/dev/null ||
            fail "Set PYTHON to a Python 3.11 or newer: PYTHON=$PYTHON is $(shown "$PYTHON")."
        echo "$PYTHON"
        return
    fi
    for candidate in "$("$venv/bin/python" -c "$base" 2>/dev/null)" python3.11 python3.12 python3.13 python3; do
        if [[ -n $candidate ]] && version_of "$candidate" >/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Install Python 3.11 or newer, or say where it is with PYTHON=/path/to/python3.11: none was found," \
        "and python3 is $(shown python3)."
}

identity() { # what .venv depends on; its place too, since its scripts hold it
    cat constraints.txt pyproject.toml setup.sh
    printf '%s\n' "$1" "$root"
}

need_compiler() {
    command -v "${CXX:-c++}" >/dev/null ||
        fail "Install a C++ compiler (Debian and Ubuntu: apt-get install g++): onedl-mmcv has to be compiled, and" \
            "${CXX:-c++} was not found."
    "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
        fail "Install the headers of Python (Debian and Ubuntu: apt-get install python3-dev): onedl-mmcv has to be" \
            "compiled, and Python.h of $1 was not found."
}

make_venv() { # keeps a .venv that is whole, or was made by hand with the same Python
    local found
    found=$(version_of "$venv/bin/python" || true)
    mkdir -p "$venv"
    if [[ -e $venv/.unfinished || $found != "$2" ]]; then
        [[ -z $found ]] || say "starting .venv afresh (an earlier set-up was interrupted, or Python changed)"
        touch "$venv/.unfinished"
        find "$venv/" -mindepth 1 -maxdepth 1 ! -name .unfinished -exec rm -rf {} +
        "$1" -m venv "$venv" || fail "Install venv for $1 (Debian and Ubuntu: apt-get install python3-venv)."
    fi
    touch "$venv/.unfinished"
    rm -f "$venv/.ready"
}

describe_operators() { # two words: the key of the wheel, and the CUDA architectures (or cpu) to compile for
    "$venv/bin/python" -W ignore - "$(pin onedl-mmcv)" <<'PY'
import os
import platform
import re
import subprocess
import sys

import torch
from torch.utils.cpp_extension import CUDA_HOME

target, needed = "cpu", (torch.version.cuda or "").split(".")[0]
if needed and CUDA_HOME:
    nvcc = subprocess.run([f"{CUDA_HOME}/bin/nvcc", "--version"], capture_output=True, text=True, check=False).stdout
    release = re.search(r"release (\d+)", nvcc)
    if release and release[1] == needed:
        visible = {"{}.{}".format(*torch.cuda.get_device_capability(i)) for i in range(torch.cuda.device_count())}
        target = os.environ.get("TORCH_CUDA_ARCH_LIST") or ";".join(sorted(visible)) or "cpu"
cuda = "cpu" if target == "cpu" else f"cuda{torch.version.cuda}-sm{target}"
libc = "".join(platform.libc_ver())
words = [f"mmcv{sys.argv[1]}", f"torch{torch.__version__}", sys.implementation.cache_tag, cuda, platform.machine(), libc]
print(re.sub(r"[^\w.+-]", "_", "-".join(words)), target.replace(" ", ";"))
if needed and target == "cpu":
    print(
        f"setup: taking operators for the CPU alone: no CUDA {needed} toolkit (nvcc) or no GPU was found. To train on a GPU, "
        "set CUDA_HOME to a toolkit and, where no GPU is visible, TORCH_CUDA_ARCH_LIST (such as 8.0;9.0); then delete "
        ".venv/.ready and run this again.",
        file=sys.stderr,
    )
PY
}

compiling='' scratch='' building=''
cleanup() {
    [[ -z $compiling ]] || kill -- "-$compiling" 2>/dev/null || true
    [[ -z $scratch ]] || rm -rf "$scratch" "$building"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

compile_operators() { # wheel folder, target: a finished wheel appears in the folder in one step
    local began=$SECONDS log=$1/build.log jobs memory_jobs step='' ticks=0
    need_compiler "$venv/bin/python"
    jobs=$(nproc)
    memory_jobs=$(awk '/MemAvailable/ {print int($2 / 2097152)}' /proc/meminfo) # 2 GiB a compiler
    ((memory_jobs >= jobs)) || jobs=$((memory_jobs > 0 ? memory_jobs : 1))
    say "compiling onedl-mmcv $(pin onedl-mmcv) for $2: about $((24 / jobs + 1)) minutes on $jobs idle cores for the CPU," \
        "longer with CUDA; once, then kept in $1 (log: $log)"
    rm -rf "$1"/.compile.* # of a set-up that was killed; this one holds the lock
    building=$(mktemp -d)
    scratch=$(mktemp -d "$1/.compile.XXXXXX")
    local options=(FORCE_CUDA=0 CUDA_VISIBLE_DEVICES='')
    [[ $2 == cpu ]] || options=(FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST="$2")
    set -m # a process group of its own, so that an interruption ends every compiler
    # pip's cache would hand out a wheel compiled for another torch: its key knows the source alone
    env "${options[@]}" MAX_JOBS="$jobs" TMPDIR="$building" PATH="$venv/bin:$PATH" "$venv/bin/python" -m pip \
        --disable-pip-version-check wheel --verbose --no-cache-dir --no-deps --no-build-isolation \
        --wheel-dir "$scratch" "onedl-mmcv==$(pin onedl-mmcv)" </dev/null >"$log" 2>&1 9>&- 8>&- &
    compiling=$!
    set +m
    while kill -0 "$compiling" 2>/dev/null; do
        sleep 1
        if ((++ticks % 20 == 0)); then
            step=$(grep -o '^ *\[[0-9]*/[0-9]*\]' "$log" | tail -n 1 | tr -d ' ' || true)
            say "  ${step:-[preparing]} $(elapsed "$began")"
        fi
    done
    if ! wait "$compiling"; then
        compiling=''
        tail -n 30 "$log" >&2
        fail "Read the lines above and $log: onedl-mmcv did not compile."
    fi
    compiling=''
    mv "$scratch"/onedl_mmcv-*.whl "$1/"
    rm -rf "$scratch" "$building"
    scratch='' building=''
    say "compiled onedl-mmcv in $(elapsed "$began")"
}

find_wheel() { compgen -G "$1/onedl_mmcv-*.whl" | head -n 1 || true; }

install_operators() {
    local described key target folder wheel
    described=$(describe_operators)
    read -r key target <<<"$described"
    folder=$cache/wheels/$key
    mkdir -p "$folder"
    wheel=$(find_wheel "$folder")
    if [[ -z $wheel ]]; then
        exec 8>"$folder/.lock"
        flock --nonblock 8 || { say "waiting for another set-up that compiles onedl-mmcv" && flock 8; }
        wheel=$(find_wheel "$folder")
        [[ -n $wheel ]] || compile_operators "$folder" "$target"
        exec 8>&-
        wheel=$(find_wheel "$folder")
    fi
    if [[ $(cat "$venv/.operators" 2>/dev/null || true) != "$key" ]]; then
        rm -f "$venv/.operators"
        pip install -qq --force-reinstall --no-deps "$wheel"
        echo "$key" >"$venv/.operators"
    fi
}

check() { # every pin is here, whole, and the host works; prints the versions
    "$venv/bin/python" -W ignore - "$cache" "$(cat "$venv/.operators")" <<'PY'
import contextlib
import io
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

wrong = []
for name, version in re.findall(r"^([\w.-]+)==(\S+)", Path("constraints.txt").read_text(), re.MULTILINE):
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
if wrong:
    sys.exit("setup: Delete .venv and run this again:\n  " + "\n  ".join(wrong))

try:
    with contextlib.redirect_stdout(io.StringIO()):  # mmdet names a data format of its makers that is not installed
        import cv2
        import mmcv.ops
        import mmdet.datasets
        import mmengine
        import torch
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.9], [5.0, 5.0, 9.0, 9.0]])
    _, kept = mmcv.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)  # compiled code
    assert kept.tolist() == [0, 2], kept
    for device in ["cpu"] + ["cuda"] * (torch.cuda.is_available() and "-cuda" in sys.argv[2]):
        attention = mmcv.ops.MultiScaleDeformableAttention(32, num_levels=1, num_heads=4, batch_first=True).to(device)
        memory, shapes = torch.rand(1, 16, 32, device=device), torch.tensor([[4, 4]], device=device)
        start, points = torch.zeros(1, dtype=torch.long, device=device), torch.rand(1, 16, 1, 2, device=device)
        out = attention(memory, value=memory, reference_points=points, spatial_shapes=shapes, level_start_index=start)
        assert out.shape == (1, 16, 32), out.shape
        assert out.isfinite().all()
except Exception as error:
    wheels = f"{sys.argv[1]}/wheels/{sys.argv[2]}"
    sys.exit(f"setup: Delete .venv and {wheels} and run this again: the host does not work ({error!r})")
operators = "CUDA operators" if "-cuda" in sys.argv[2] else "CPU operators"
print(
    f"setup: ready: Python {'.'.join(map(str, sys.version_info[:3]))}, torch {torch.__version__}, "
    f"mmcv {mmcv.__version__} ({operators}), mmengine {mmengine.__version__}, mmdet {mmdet.__version__}, "
    f"OpenCV {cv2.__version__}"
)
PY
}

command -v flock >/dev/null || fail "Install flock (Debian and Ubuntu: apt-get install util-linux)."
exec 9<setup.sh # two set-ups of one checkout take turns
flock --nonblock 9 || { say "waiting for another set-up of this checkout" && flock 9; }

python=$(choose_python)
version=$(version_of "$python")
key=$(identity "$version" | sha256sum | cut -c 1-64)
if [[ ! -e $venv/.unfinished && $(cat "$venv/.ready" 2>/dev/null || true) == "$key" ]]; then
    say "nothing to do: .venv is up to date"
    exit 0
fi

say "making .venv with Python $version: torch and some 80 packages (1 to 3 minutes and 0.2 GB to fetch for a CPU build of" \
    "torch, 3 GB for a CUDA build), then onedl-mmcv, which is compiled unless $cache has it"
[[ -n $(compgen -G "$cache/wheels/*/onedl_mmcv-$(pin onedl-mmcv)-*.whl") ]] || need_compiler "$python"
make_venv "$python" "$version"

say "1/4 torch $(pin torch)"
quiet=-qq
[[ ! -t 1 ]] || quiet= # a progress bar on a terminal
pip install -qq -c constraints.txt pip setuptools wheel
# shellcheck disable=SC2086
pip install $quiet -c constraints.txt torch
say "2/4 the other pinned packages"
listed=$(mktemp "$venv/.requirements.XXXXXX")
grep -vE '^(torch|onedl-mmcv)==' constraints.txt >"$listed"
pip install -qq --no-deps --no-build-isolation -r "$listed"
rm -f "$listed"
say "3/4 onedl-mmcv $(pin onedl-mmcv)"
install_operators
say "4/4 ifrvis"
pip install -qq --no-deps --no-build-isolation -e .
check
printf '%s\n' "$key" >"$venv/.ready.part"
mv "$venv/.ready.part" "$venv/.ready"
rm -f "$venv/.unfinished"
say "done in $(elapsed "$started")"
