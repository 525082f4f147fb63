#!/usr/bin/env bash
# Make .venv: every pinned package of constraints.txt, mmcv with the operators that this machine needs, ifrvis (editable).
#
#     bash setup.sh                             costs nothing where all is in place
#     PYTHON=python3.12 bash setup.sh           with another interpreter
#     TORCH_CUDA_ARCH_LIST=9.0 bash setup.sh    for GPUs that are not visible here
#     OPERATORS=all bash setup.sh               compile every operator of mmcv; the models need none on a CPU, one on a GPU
#
# What was asked for stays asked for (.venv/.asked; OPERATORS=needed takes it back). Nothing half-made is taken for whole:
# .venv/.ready is written last and holds the hash of all that .venv depends on; .venv/.unfinished stands while set-up
# works, and a set-up that finds it starts .venv afresh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_ROOT
export PIP_USER=0 # all goes into .venv, whatever the user or a site has told pip
root=$PWD
venv=$root/.venv

say() { printf '%s\n' "setup: $*"; }
fail() {
    printf '%s\n' "setup: $*" >&2
    exit 2
}
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

version_of() { # full version of an interpreter that runs, and that the packages are built for: numpy 2.2.6 up to 3.13
    local said='import sys; print("%d.%d.%d" % sys.version_info[:3]); sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
    "$1" -c "$said" 2>/dev/null
}

shown() { "$1" -V 2>/dev/null || echo 'no Python that runs'; }

choose_python() { # PYTHON, else what .venv was made with, else the first that fits
    local candidate base='import sys; print("%s/bin/python%d.%d" % (sys.base_prefix, *sys.version_info[:2]))'
    if [[ -n ${PYTHON:-} ]]; then
        version_of "$PYTHON" >/dev/null ||
            fail "Set PYTHON to a Python 3.11, 3.12 or 3.13: PYTHON=$PYTHON is $(shown "$PYTHON")."
        echo "$PYTHON"
        return
    fi
    for candidate in "$("$venv/bin/python" -c "$base" 2>/dev/null)" python3.11 python3.12 python3.13 python3; do
        if [[ -n $candidate ]] && version_of "$candidate" >/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Install Python 3.11, 3.12 or 3.13, or say where it is with PYTHON=/path/to/python3.11: none was found," \
        "and python3 is $(shown python3)."
}

identity() { # what .venv depends on; its place too, since its scripts hold it
    cat constraints.txt pyproject.toml setup.sh setup/*.{py,cu} ifrvis/models/_ext.py
    printf '%s\n' "$1" "$root" "$OPERATORS" "$TORCH_CUDA_ARCH_LIST"
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

worker=''
trap '[[ -z $worker ]] || kill -- "-$worker" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

give_operators() { # in a process group of its own, so that an interruption ends every compiler
    set -m
    "$venv/bin/python" -W ignore setup/operators.py "$OPERATORS" </dev/null 9>&- &
    worker=$!
    set +m
    wait "$worker" || exit 2
    worker=''
}

command -v flock >/dev/null || fail "Install flock (Debian and Ubuntu: apt-get install util-linux)."
exec 9<setup.sh # two set-ups of one checkout take turns
flock --nonblock 9 || { say "waiting for another set-up of this checkout" && flock 9; }

if [[ -z ${OPERATORS:-}${TORCH_CUDA_ARCH_LIST:-} && -e $venv/.asked ]]; then
    { read -r OPERATORS && read -r TORCH_CUDA_ARCH_LIST; } <"$venv/.asked" || true
fi
export OPERATORS=${OPERATORS:-needed} TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-}
[[ $OPERATORS == needed || $OPERATORS == all ]] || fail "Set OPERATORS to needed or all: OPERATORS=$OPERATORS is neither."
python=$(choose_python)
version=$(version_of "$python")
key=$(identity "$version" | sha256sum | cut -c 1-64)
if [[ ! -e $venv/.unfinished && $(cat "$venv/.ready" 2>/dev/null || true) == "$key" ]]; then
    say "nothing to do: .venv is up to date"
    exit 0
fi

say "making .venv with Python $version and some 90 packages: 0.3 GB to fetch for a CPU build of torch, 3 GB for a CUDA build"
make_venv "$python" "$version"
printf '%s\n' "$OPERATORS" "$TORCH_CUDA_ARCH_LIST" >"$venv/.asked"

quiet=-qq
[[ ! -t 1 ]] || quiet= # a progress bar on a terminal
say "1/3 packages"
pip install -qq -c constraints.txt pip
# Built apart from .venv, onedl-mmcv finds no torch and leaves its operators out.
# shellcheck disable=SC2086
pip install $quiet --no-deps --build-constraint constraints.txt -r constraints.txt
# shellcheck disable=SC2086
pip install $quiet -c constraints.txt torch # what a CUDA build of torch needs beside
say "2/3 operators of mmcv"
give_operators
say "3/3 ifrvis"
pip install -qq --no-deps --no-build-isolation -e .
"$venv/bin/python" -W ignore setup/check.py
printf '%s\n' "$key" >"$venv/.ready.part"
mv "$venv/.ready.part" "$venv/.ready"
rm -f "$venv/.unfinished"
say "done in $((SECONDS / 60)) min $((SECONDS % 60)) s"
