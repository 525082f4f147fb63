"""The models, registered with MMDetection by importing this package.

In a config of the host: `custom_imports = dict(imports=["ifrvis.models"])`.
"""

from ifrvis.models.ifr import IFRHead
from ifrvis.models.mask2former import Mask2FormerVISHead
from ifrvis.models.parameters import ParameterRuleConstructor
from ifrvis.models.seqformer import SeqFormerHead

__all__ = ["IFRHead", "Mask2FormerVISHead", "ParameterRuleConstructor", "SeqFormerHead"]
