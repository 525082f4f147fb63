"""The models, registered with MMDetection by importing this package.

In a config of the host: `custom_imports = dict(imports=["ifrvis.models"])`.
"""

from ifrvis.models.decoding import DecodedClip, FrameFeatures, LayerOutput, output_logits
from ifrvis.models.ifr import IFRHead
from ifrvis.models.mask2former import Mask2FormerVISHead
from ifrvis.models.parameters import ParameterRuleConstructor, parameter_groups
from ifrvis.models.targets import NonFiniteError

__all__ = [
    "DecodedClip",
    "FrameFeatures",
    "IFRHead",
    "LayerOutput",
    "Mask2FormerVISHead",
    "NonFiniteError",
    "ParameterRuleConstructor",
    "output_logits",
    "parameter_groups",
]
