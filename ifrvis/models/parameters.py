"""Learning rate and weight decay of each parameter, by the official rules of Mask2Former, and of SeqFormer.

The rule looks at modules, not at names: MMEngine's `custom_keys={'backbone': ...}` bypasses `norm_decay_mult`, so
that a Swin backbone's norms and bias tables would decay.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)
_UNDECAYED_NAMES = ("relative_position_bias_table", "absolute_pos_embed")
_DECAYED_EMBEDDINGS = ("level_encoding",)  # the pixel decoder's: a bare parameter in the official code, so it decays


class Rule(NamedTuple):
    """How one parameter is optimised."""

    name: str
    parameter: nn.Parameter
    lr_mult: float
    weight_decay: float


def parameter_rules(
    model: nn.Module,  # the model
    *,
    weight_decay: float,  # of what decays
    backbone_lr_mult: float,  # of the backbone's learning rate
    lr_mults: Mapping[str, float] | None = None,  # of others, by a part of their names; the first that is found holds
    decay_all: bool = False,  # let norms, embeddings and all else decay, too
) -> Iterator[Rule]:
    """The rule of every parameter that is trained, each once, in the model's order."""
    seen = set()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            full_name = f"{module_name}.{name}".lstrip(".")
            by_name = (mult for part, mult in (lr_mults or {}).items() if part in full_name)
            lr_mult = backbone_lr_mult if "backbone" in module_name else next(by_name, 1.0)
            decays = decay_all or _decays(module_name.rpartition(".")[2], module, name)
            yield Rule(full_name, parameter, lr_mult, weight_decay if decays else 0.0)


def _decays(module_name: str, module: nn.Module, name: str) -> bool:
    if isinstance(module, nn.Embedding):
        return module_name in _DECAYED_EMBEDDINGS
    return not isinstance(module, _NORMS) and name not in _UNDECAYED_NAMES


def parameter_groups(model: nn.Module, *, lr: float, **rules: Any) -> list[dict[str, Any]]:
    """Groups for an optimizer, one for each pair of learning rate and decay, by the rules of `parameter_rules`."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for rule in parameter_rules(model, **rules):
        groups.setdefault((lr * rule.lr_mult, rule.weight_decay), []).append(rule.parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ParameterRuleConstructor(DefaultOptimWrapperConstructor):
    """The rule under the host's Runner: `optim_wrapper.constructor`, with the rest in `paramwise_cfg`."""

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **_: Any) -> None:
        """Add the parameter groups of the model; called once by the host."""
        params += parameter_groups(module, lr=self.base_lr, weight_decay=self.base_wd, **self.paramwise_cfg)
