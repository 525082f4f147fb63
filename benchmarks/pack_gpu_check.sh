#!/usr/bin/env bash
# Make a folder that checks this project on a machine with one GPU and no network: sources, wheels, and run.sh.
#
#     bash benchmarks/pack_gpu_check.sh FOLDER       then, there:  bash FOLDER/run.sh OUT
#
# That machine has Python 3.12, torch 2.11 for CUDA 13 with its compiler, a C++ compiler and ninja, numpy 2.5, and the packages of
# HAS; run.sh says what it lacks. All that travels is under 64 MiB.
set -euo pipefail
[[ $# -eq 1 ]] || { echo 'Name the folder to make: bash benchmarks/pack_gpu_check.sh FOLDER' >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
[[ -x $python ]] || { echo 'Run `make setup` first: the wheels are fetched with its pip.' >&2; exit 2; }

HAS="torch numpy scipy opencv-python-headless pandas pillow pyyaml pytest hypothesis rich matplotlib jinja2 markupsafe cycler
    contourpy kiwisolver fonttools pyparsing python-dateutil pytz six packaging filelock fsspec mpmath networkx sympy
    typing-extensions imageio lazy-loader scikit-image tifffile tqdm cloudpickle markdown-it-py mdurl pygments ninja
    iniconfig pluggy sortedcontainers execnet setuptools wheel pip click pathspec mypy-extensions tzdata"
UNUSED="mypy ruff import-linter grimp librt ast-serialize playwright greenlet pyee pytest-xdist types-pytz types-pyyaml pandas-stubs
    hatchling trove-classifiers tomlkit editables build pyproject-hooks rocrate arcp requests certifi charset-normalizer idna urllib3"

wanted=$(grep -oE '^[a-z0-9.-]+==[^ ]+' constraints.txt | while IFS= read -r pin; do
    [[ " $(echo $HAS $UNUSED) " == *" ${pin%%==*} "* ]] || echo "$pin"
done)
rm -rf "$folder/source" "$folder/wheels"
mkdir "$folder/source" "$folder/wheels"
git ls-files -z | tar --null --files-from=- --create | tar --extract --directory "$folder/source"
pip=("$python" -m pip --disable-pip-version-check --quiet)
platforms=(--python-version 3.12 --implementation cp)
for version in 34 28 27 17; do platforms+=(--platform "manylinux_2_${version}_x86_64"); done
platforms+=(--platform manylinux2014_x86_64)
for pin in $wanted; do
    "${pip[@]}" download --no-deps --only-binary=:all: "${platforms[@]}" --dest "$folder/wheels" "$pin" 2>/dev/null ||
        # Source only, and pure Python: built apart from torch, onedl-mmcv leaves its operators out.
        "${pip[@]}" wheel --no-deps --build-constraint constraints.txt --wheel-dir "$folder/wheels" "$pin"
done
cat >"$folder/run.sh" <<'RUN'
#!/usr/bin/env bash
set -euo pipefail
[[ $# -eq 1 ]] || { echo 'Name the folder for gpu.json: bash run.sh OUT' >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
site=$(mktemp -d)
python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$here"/wheels/*.whl
cp "$here/source/ifrvis/models/_ext.py" "$site/mmcv/_ext.py"
export PYTHONPATH=$here/source:$site OMP_NUM_THREADS=8
python3 - <<'PY'
import importlib.util, shutil
names = "torch numpy scipy cv2 pandas PIL yaml pytest hypothesis rich matplotlib jinja2 skimage cloudpickle".split()
missing = [name for name in names if importlib.util.find_spec(name) is None]
missing += [name for name in ("nvcc", "c++", "ninja") if shutil.which(name) is None]
print("run: " + (f"this machine lacks {', '.join(missing)}" if missing else "this machine has what is expected"))
PY
exec python3 "$here/source/benchmarks/check_gpu.py" "$1"
RUN
size=$(du -sm "$folder" | cut -f 1)
echo "pack: $(ls "$folder/wheels" | wc -l) wheels and the sources in $folder, $size MiB; there: bash run.sh OUT"
[[ $size -lt 64 ]] || { echo 'pack: Leave something out: 64 MiB is what may travel.' >&2; exit 1; }
