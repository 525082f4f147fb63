"""The program where nothing is that the extra `train` brings."""

import json
import os
import subprocess
import sys
from pathlib import Path

from ifrvis.cli import TRAIN

ROOT = Path(__file__).parents[1]
WITHOUT = f"""
import contextlib, io, json, sys
class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {TRAIN | {"torchvision"}!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent)
from ifrvis.cli import main
said = []
for command in json.loads(sys.argv[1]):
    streams = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        status = main(command)
    said.append((status, *(each.getvalue() for each in streams)))
print(json.dumps(said))
"""


def said_without_train(commands, folder, *, program=ROOT):
    """What commands of a program say, one after the other in a folder, without all that the extra `train` brings: exit
    status and streams.
    """
    command = [sys.executable, "-c", WITHOUT, json.dumps(commands)]
    options = {"cwd": folder, "env": os.environ | {"PYTHONPATH": str(program)}}
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return {" ".join(each): said for each, said in zip(commands, json.loads(done.stdout), strict=True)}
