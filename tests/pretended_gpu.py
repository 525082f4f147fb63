"""A GPU that is none: tensors that say `cuda`, on any machine, so that a tensor left on the wrong device is found.

Numbers with a point have shapes and no values there, so that models of full size run in seconds; whole numbers and
truths are kept, since code branches on them. What is fetched from the device is zeros, or one for a single number.
"""

from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
MOVES = {"_to_copy", "copy_", "_copy_from", "is_pinned"}
MIXES = {"index", "index_put_", "_index_put_impl_"}  # CUDA takes indices from the CPU


class OnGpu(torch.Tensor):
    """C++ knows it as `meta`, whose gradients need no driver; Python is told `cuda`."""

    is_cuda = True
    is_meta = False
    is_cpu = False
    device = property(lambda self: CUDA)

    @staticmethod
    def __new__(cls, inside: torch.Tensor) -> "OnGpu":
        layout = {"strides": inside.stride(), "storage_offset": inside.storage_offset(), "dtype": inside.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, inside.shape, device="meta", **layout)
        made.inside = inside
        return made

    def __repr__(self) -> str:
        return f"OnGpu({tuple(self.shape)}, {self.dtype})"

    def __torch_dispatch__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("used after the pretence was over")


class _Says(TorchFunctionMode):
    """`cuda` as an argument becomes what C++ knows."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.cuda:
            return args[0].to("meta")
        if func is torch.Tensor.tolist:
            return func(args[0].cpu())
        kwargs = {name: _as_meta(value) for name, value in (kwargs or {}).items()}
        if func is torch.Tensor.to:
            args = tuple(map(_as_meta, args))
        if func is torch.Tensor.new_tensor and isinstance(args[0], OnGpu):
            func, args, kwargs = torch.tensor, args[1:], {"device": torch.device("meta"), **kwargs}
        if func is torch.tensor and kwargs.get("device") == torch.device("meta"):  # else it would have no values
            return func(*args, **{**kwargs, "device": "cpu"}).to("meta")
        return func(*args, **kwargs)


def _as_meta(value: Any) -> Any:
    is_name = isinstance(value, torch.device) or (isinstance(value, str) and value.startswith("cuda"))
    return torch.device("meta") if is_name and torch.device(value).type == "cuda" else value


class _Computes(TorchDispatchMode):
    """Every operation: on what is inside of tensors, with a look at where they say they are."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), func.overloadpacket.__name__
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        on_gpu = [each for each in tensors if isinstance(each, OnGpu)]
        asked = kwargs.get("device")
        to_gpu = bool(on_gpu) if asked is None else asked.type == "meta"
        if on_gpu and name == "_local_scalar_dense":
            return _fetched(on_gpu[0].inside, 1).item()
        if on_gpu and asked is not None and not to_gpu:
            return _fetched(on_gpu[0].inside, 0).to(kwargs.get("dtype") or on_gpu[0].dtype, copy=True)
        if on_gpu and name not in MOVES | MIXES:
            left = [each.shape for each in tensors if not isinstance(each, OnGpu) and each.dim()]
            assert not left, f"{func} was given tensors of the GPU and of the CPU, {left}"
        if asked is not None:
            dtype = kwargs.get("dtype") or (tensors[0].dtype if tensors else torch.get_default_dtype())
            kwargs["device"] = torch.device(
                "meta" if to_gpu and dtype.is_floating_point and name != "arange" else "cpu"
            )
        if to_gpu and "generator" in kwargs:
            kwargs["generator"] = None
        args, kwargs = tree_map(lambda each: each.inside if isinstance(each, OnGpu) else each, (args, kwargs))
        if name == "index":
            args = (args[0], [_all_of(each) for each in args[1]])
        insides = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        if name not in MIXES and name != "_to_copy" and any(each.is_meta for each in insides):
            if name == "copy_" and not args[0].is_meta:  # what has values gets what has none
                args[0].zero_()
                return tensors[0]
            args, kwargs = tree_map(_without_values, (args, kwargs))
        found = func(*args, **kwargs)
        if name.endswith("_") and tensors:
            return tensors[0]
        return tree_map(lambda each: OnGpu(each) if to_gpu and isinstance(each, torch.Tensor) else each, found)


def _fetched(inside: torch.Tensor, instead: int) -> torch.Tensor:
    return torch.full(inside.shape, instead, dtype=inside.dtype) if inside.is_meta else inside


def _all_of(index: Any) -> Any:
    """An index; all there is, where a mask has no values to say what it takes."""
    is_mask = isinstance(index, torch.Tensor) and index.is_meta and index.dtype == torch.bool
    return torch.arange(len(index), device="meta") if is_mask else index


def _without_values(value: Any) -> Any:
    return value.to("meta") if isinstance(value, torch.Tensor) else value


@contextmanager
def pretended_gpu():
    """While it lasts, tensors may be moved to and made on `cuda`, whatever a test before has asked of torch."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)  # as `training.build` leaves it there
    with ExitStack() as stack:
        stack.callback(torch.use_deterministic_algorithms, deterministic)
        stack.enter_context(_Says())
        stack.enter_context(_Computes())
        yield
