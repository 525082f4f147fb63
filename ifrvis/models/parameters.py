"""Learning rate and weight decay of each parameter, by the official Mask2Former rule.

The rule looks at modules, not at names: MMEngine's `custom_keys={'backbone': ...}` bypasses `norm_decay_mult`, so
that a Swin backbone's norms and bias tables would decay.
"""

from collections.abc import Iterator
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


def parameter_rules(model: nn.Module, *, weight_decay: float, backbone_lr_mult: float) -> Iterator[Rule]:
    """The rule of every parameter that is trained, each once, in the model's order."""
    seen = set()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            lr_mult = backbone_lr_mult if "backbone" in module_name else 1.0
            decays = _decays(module_name.rpartition(".")[2], module, name)
            yield Rule(f"{module_name}.{name}".lstrip("."), parameter, lr_mult, weight_decay if decays else 0.0)


def _decays(module_name: str, module: nn.Module, name: str) -> bool:
    if isinstance(module, nn.Embedding):
        return module_name in _DECAYED_EMBEDDINGS
    return not isinstance(module, _NORMS) and name not in _UNDECAYED_NAMES


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, backbone_lr_mult: float
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer, one for each pair of learning rate and weight decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for rule in parameter_rules(model, weight_decay=weight_decay, backbone_lr_mult=backbone_lr_mult):
        groups.setdefault((lr * rule.lr_mult, rule.weight_decay), []).append(rule.parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ParameterRuleConstructor(DefaultOptimWrapperConstructor):
    """The rule under the host's Runner: `optim_wrapper.constructor`, with `paramwise_cfg.backbone_lr_mult`."""

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **_: Any) -> None:
        """Add the parameter groups of the model; called once by the host."""
        params += parameter_groups(
            module,
            lr=self.base_lr,
            weight_decay=self.base_wd,
            backbone_lr_mult=self.paramwise_cfg["backbone_lr_mult"],
        )
