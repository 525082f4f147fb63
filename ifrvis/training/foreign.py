"""Weights that other programs wrote, read without running anything of theirs.

`.pkl` of numpy arrays (Detectron2's model zoo), `.pth` and `.bin` of torch, `.safetensors` of timm. A pickle may name
what arrays and tensors are made of and nothing else; sizes are bounded before anything is read.
"""

import collections
import json
import math
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ifrvis.errors import DataMissingError, UserError

__all__ = ["read_foreign"]

MAX_BYTES = 8 << 30  # Swin-L with the state of its optimizer has a third of it
MAX_ENTRIES = 20_000
_HEADER_BYTES = 100 << 20  # of a .safetensors file
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
_WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys under which programs keep the mapping


def read_foreign(path: Path) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, in the file's order; what is not a tensor is left out.

    Raises:
        UserError: If the file is missing, too large, cut short, or names anything but arrays and plain data.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"Choose another file than {path}: it has {size} bytes, weights have at most {MAX_BYTES}.")
        content = _READERS.get(path.suffix, _read_torch)(path)
    except FileNotFoundError as error:
        raise DataMissingError(f"Check the path of the weights: {path} does not exist.") from error
    except (OSError, ValueError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"Download {path} again, or let the program that wrote it export its weights alone (MMDetection: "
            f"tools/model_converters/publish_model.py): it is cut short, or holds more than arrays and plain data "
            f"({str(error) or 'out of memory'})."
        ) from error
    for key in _WRAPPERS:
        content = content.get(key, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or len(content) > MAX_ENTRIES:
        raise UserError(f"Choose a checkpoint: {path} is no mapping of at most {MAX_ENTRIES} names to arrays.")
    found = {str(name): value.value if isinstance(value, _Array) else value for name, value in content.items()}
    tensors = {name: _tensor(value) for name, value in found.items() if isinstance(value, Tensor | np.ndarray)}
    if not tensors:
        raise UserError(f"Choose a checkpoint: {path} has no tensor under a name.")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"Download {path} again: {name} holds numbers that are not finite.")
    return tensors


def _tensor(value: Tensor | NDArray[Any]) -> Tensor:
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
            raise UserError("Choose a checkpoint of plain tensors: sparse, quantized and complex ones are not read.")
        return value.detach()
    if value.dtype.kind not in "fiu":
        raise UserError(f"Choose a checkpoint of numbers: one of its arrays is of type {value.dtype}.")
    return torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))


def _read_torch(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from error
        if (unpacked := sum(entry.file_size for entry in entries)) > MAX_BYTES:
            raise ValueError(f"it unpacks to {unpacked} bytes")
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):  # torch.load would run it
            raise ValueError("it is a program, a TorchScript archive")
    # Not weights_only, which knows no arrays and none of MMEngine's histories: our own reader names fewer things.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _unpickled(lambda: torch.load(path, map_location="cpu", pickle_module=_PICKLE, weights_only=False))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The format of safetensors: a length of 8 bytes, a JSON header, the bytes of all tensors."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_HEADER_BYTES, path.stat().st_size):
            raise ValueError("its header has no length that fits")
        header = json.loads(stream.read(length))
        start = stream.tell()
        if not isinstance(header, dict) or len(header) > MAX_ENTRIES:
            raise ValueError("its header is no mapping")
        header.pop("__metadata__", None)
        return {name: _safe_tensor(stream, start, entry) for name, entry in header.items()}


def _safe_tensor(stream: Any, start: int, entry: Any) -> Tensor:
    try:
        dtype, shape, (begin, end) = _DTYPES[entry["dtype"]], [int(n) for n in entry["shape"]], entry["data_offsets"]
        good = all(0 <= n <= MAX_BYTES for n in shape) and 0 <= begin <= end <= MAX_BYTES
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a tensor of its header is none: {entry!r:.80}") from error
    stream.seek(start + begin)
    data = bytearray(stream.read(end - begin)) if good else bytearray()
    if not good or len(data) != end - begin or len(data) != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise ValueError(f"a tensor of its header does not fit its bytes: {entry!r:.80}")
    return torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)


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

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, of_type, fortran, data = state
        raw = data.encode("latin1") if isinstance(data, str) else data
        self.value = np.frombuffer(raw, of_type.dtype).reshape(shape, order="F" if fortran else "C")


def _from_buffer(data: Any, of_type: _Dtype, shape: Any, order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, of_type, order == "F", data))
    return array


class _Ignored:
    """Stands for what a checkpoint holds beside weights: a history of losses, a configuration. It does nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def _tensor_of(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """A tensor inside its storage; torch's own way would enlarge the storage to what the file asks for."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    sound = min((offset, *size, *stride)) >= 0 and math.prod(size) <= len(storage)
    if not sound or (math.prod(size) and last >= len(storage)):
        raise pickle.UnpicklingError(f"a tensor of {size} in a storage of {len(storage)}")
    return torch.empty(0, dtype=storage.dtype).set_(storage.untyped(), offset, size, stride)


_STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_IGNORED = (
    *(("mmengine.logging.history_buffer", "HistoryBuffer"), ("mmengine.config.config", "ConfigDict")),
    *(("builtins", "getattr"), ("__builtin__", "getattr"), ("addict.addict", "Dict")),
)
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): None,  # named, never called: a call would reserve memory
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode({"latin1": "latin1"}[encoding]),
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_of,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    **{("torch", f"{kind}Storage"): getattr(torch, f"{kind}Storage") for kind in _STORAGES},
    **dict.fromkeys(_IGNORED, _Ignored),
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = lambda *_: _Array()
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _Ignored
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _from_buffer


# The one in Python: the one in C lets a few bytes ask for gigabytes of memo.
class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Reads arrays, tensors and plain data; any other name in the pickle is an error."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _ALLOWED[module, name]


def _load(stream: Any, **options: Any) -> Any:
    return _Unpickler(stream, **options).load()


_PICKLE = SimpleNamespace(__name__="pickle", Unpickler=_Unpickler, load=_load)  # what torch asks of a pickle module


def _unpickled(load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, MemoryError):
        raise
    except Exception as error:  # garbage makes an unpickler raise almost anything
        raise ValueError((str(error) or type(error).__name__).splitlines()[0]) from error


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as stream:
        return _unpickled(lambda: _load(stream, encoding="latin1"))


_READERS = {".pkl": _read_pickle, ".safetensors": _read_safetensors}
