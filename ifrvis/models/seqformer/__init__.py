"""SeqFormer (Wu et al., ECCV 2022): a Deformable DETR for videos whose queries are decomposed by frame.

Facts about the official code, where they are not in the paper, are from `wjf5203/SeqFormer`.
"""

from ifrvis.models.seqformer.head import SeqFormerHead

__all__ = ["SeqFormerHead"]
