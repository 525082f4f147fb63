"""Weights that other programs wrote, read without running anything of theirs.

Pickles of numpy arrays (Detectron2's model zoo) by an unpickler that knows what arrays are made of and nothing else;
files of torch by its restricted reader. Which of them a file is, its first bytes say: downloads have any name. Sizes,
and the memory that reading takes, are bounded beforehand.
"""

import argparse
import collections
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ifrvis.errors import UserError
from ifrvis.files import MAX_WEIGHTS_BYTES, open_file
from ifrvis.training.checkpoints import is_plain, load_plain, single_number, unpickling

MAX_ENTRIES = 20_000
_OF_TORCH = rb"PK\x03\x04|.{,16}\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # a zip, or before torch 1.6 its number


def read_foreign(path: Path) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, in the file's order; what is not a tensor is left out. UserError if the file
    is missing, too large, cut short, or names anything but arrays and plain data.
    """
    if path.suffix == ".safetensors":
        raise UserError(f"Download the .bin or .pth that lies beside {path}, or make one of it: this kind is not read.")
    with open_file(path, "the checkpoint", MAX_WEIGHTS_BYTES) as stream:
        try:
            with unpickling(stream), torch.serialization.safe_globals([*_BESIDE, argparse.Namespace]):
                of_torch = re.match(_OF_TORCH, stream.peek(64), re.DOTALL)
                content = load_plain(path) if of_torch else _Unpickler(stream, encoding="latin1").load()
        except ValueError as error:
            raise UserError(
                f"Download {path} again, or let the program that wrote it export its weights alone (MMDetection: "
                f"tools/model_converters/publish_model.py): it is cut short, or holds more than arrays and plain data "
                f"({error})."
            ) from error
    for key in ("state_dict", "model"):  # under which programs keep the mapping
        content = content.get(key, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or len(content) > MAX_ENTRIES:
        raise UserError(f"Choose a checkpoint: {path} is no mapping of at most {MAX_ENTRIES} names to arrays.")
    found = {str(name): value.value if isinstance(value, _Array) else value for name, value in content.items()}
    tensors = {name: _tensor(each) for name, each in found.items() if isinstance(each, Tensor | np.ndarray)}
    if not tensors:
        keys = ", ".join(list(found)[:5]) or "nothing"
        where = "with named tensors, in itself, state_dict or model"
        raise UserError(f"Choose a checkpoint {where}: {path} has {keys:.99}.")
    if bad := next((name for name, each in tensors.items() if not is_plain(each)), None):
        raise UserError(f"Choose another checkpoint than {path}: {bad} is not a dense tensor of finite real numbers.")
    if bad := single_number(tensors):
        raise UserError(f"Choose another checkpoint than {path}: {bad} is a single number, not the weights of a layer.")
    return tensors


def _tensor(value: Tensor | NDArray[Any]) -> Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
    return value.detach()


class _Dtype:
    """The type of a pickled array; numpy's own would take its state from the file unread."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"):
            raise pickle.UnpicklingError(f"an array of type {code!r:.20}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder("=" if state[1] == "|" else state[1])


class _Array:
    """A pickled array, made of its shape, type and bytes once these are checked to fit."""

    value: NDArray[Any] | None = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, of_type, fortran, data = state
        raw = data.encode("latin1") if isinstance(data, str) else data
        self.value = np.frombuffer(raw, of_type.dtype).reshape(shape, order="F" if fortran else "C")


def _from_buffer(data: Any, of_type: _Dtype, shape: Any, order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, of_type, order == "F", data))
    return array


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): None,  # named, never called: a call would reserve memory
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode({"latin1": "latin1"}[encoding]),
    ("collections", "OrderedDict"): collections.OrderedDict,
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _Array
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _Array  # of no value: it is no weight
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _from_buffer
# What stands beside the weights in checkpoints of DETR's heirs (options) and of MMEngine (the history of its losses).
_BESIDE = [(each, ".".join(name)) for name, each in _ALLOWED.items() if name != ("_codecs", "encode")]
_BESIDE += [(argparse.Namespace, "mmengine.logging.history_buffer.HistoryBuffer")]
_BESIDE += [(lambda *_: None, f"{module}.getattr") for module in ("builtins", "__builtin__")]  # its methods: not needed


# The one in Python: the one in C lets a few bytes ask for gigabytes of memo.
class _Unpickler(pickle._Unpickler):
    """Reads arrays and plain data; any other name in the pickle is an error."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _ALLOWED[module, name]
