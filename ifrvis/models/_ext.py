"""Stands where mmcv keeps its compiled operators: what is compiled is real, and any other says so when it is called.

`setup/operators.py` puts this file into mmcv, and `ifrvis` shows it to an mmcv that has none. mmcv asks for every
operator when it is imported and the models call one, deformable attention, on a GPU alone: so nothing has to be
compiled for a CPU.
"""

import contextlib
from collections.abc import Callable
from typing import NoReturn

with contextlib.suppress(ModuleNotFoundError):  # where there was a GPU to compile for
    from mmcv._attention import ms_deform_attn_backward, ms_deform_attn_forward  # noqa: F401  (mmcv asks for these)


class OperatorNotCompiledError(NotImplementedError):
    """An operator of mmcv was called that this environment does not have."""


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith("__"):
        raise AttributeError(name)
    if name.startswith("ms_deform_attn"):
        cure = "Run `TORCH_CUDA_ARCH_LIST=9.0 make setup`, with the compute capability of your GPU"
    else:
        cure = "Run `OPERATORS=all make setup`, which compiles every operator of mmcv"

    def operator(*args: object, **kwargs: object) -> NoReturn:
        raise OperatorNotCompiledError(f"{cure}: mmcv's operator {name} was called, and is not compiled here.")

    return operator
