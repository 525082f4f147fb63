"""How the predictions of every layer are compared with the ground truth: matching (Eq. 4) and losses (Eq. 5 to 7).

Shape letters:
    B  clips    T  frames of a clip    N  instance queries    M  instances of a clip    K  classes    C  channels
    H, W  height and width of the mask features (stride 4)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ifrvis.models.decoding import LayerOutput, full_precision
from ifrvis.models.losses import ClipPoints, FocalClasses, PointSampling, SoftmaxClasses, mask_cost, mask_losses
from ifrvis.models.targets import ClipTargets, Normalisers, match_instances


@dataclass(frozen=True)
class Supervision:
    """What a method's predictions cost: each layer is matched and supervised alike."""

    classes: SoftmaxClasses | FocalClasses  # how classes are scored
    # Of cls, mask and dice, in the matching cost as in the loss (lambda_c, lambda_m, lambda_D).
    weights: Mapping[str, float]
    sampling: PointSampling
    host_mask_loss: bool  # multiply the mask loss by T, as the host does
    lambda_e: float = 0.0  # weight of the cross-frame mask losses (Eq. 6 and 7)
    cross_frame_mean: bool = False  # take their mean over the other frames, not the sum

    def losses(
        self, layers: Sequence[LayerOutput], mask_features: Tensor, targets: Sequence[ClipTargets], norms: Normalisers
    ) -> dict[str, Tensor]:
        """Weighted losses: loss_cls, loss_mask and loss_dice, of earlier predictions under `d<i>.`.

        The last layer comes last; `mask_features` are (B, T, C, H, W) float.
        """
        cls_logits = full_precision(torch.stack([layer.cls_logits for layer in layers], 1))
        embeds = full_precision(torch.stack([layer.mask_embeds for layer in layers], 1))
        num_layers, num_frames = embeds.shape[1:3]
        others = num_frames - 1 if self.cross_frame_mean else min(num_frames - 1, 1)
        cross_weight = self.lambda_e / others if others else 0.0
        # The initial predictions have one query for all frames, so theirs are own-frame losses alone.
        sizes = [1, *[num_frames if cross_weight else 1] * (num_layers - 1)]
        points = [self.sampling.draw(target, sizes, like=embeds) for target in targets]
        queries = self._match(cls_logits, embeds, mask_features, targets, points)
        gt_masks = [target.gt_masks.to(mask_features) for target in targets]
        mask, dice = mask_losses(embeds, queries, mask_features, gt_masks, points, cross_weight=cross_weight)
        cls = self._cls_losses(cls_logits, queries, targets)
        mask = mask * (num_frames if self.host_mask_loss else 1)
        sums = {
            "loss_cls": self.weights["cls"] * cls / self.classes.divisor(norms),
            "loss_mask": self.weights["mask"] * mask / norms.num_instances,
            "loss_dice": self.weights["dice"] * dice / norms.num_instances,
        }
        prefixes = [f"d{i}." for i in range(len(layers) - 1)] + [""]
        return {prefix + name: value for name, values in sums.items() for prefix, value in zip(prefixes, values)}

    def _cls_losses(self, cls_logits: Tensor, queries: Sequence[Tensor], targets: Sequence[ClipTargets]) -> Tensor:
        """Class loss of every layer, summed over clips and queries: (layers,) float."""
        no_class = self.classes.probs(cls_logits[:0]).shape[-1] - 1
        num_clips, num_layers, num_queries = cls_logits.shape[:3]
        # One place more than queries, for instances without one: no look at what was found, which a GPU would wait for.
        size = (num_clips, num_layers, num_queries + 1)
        classes = torch.full(size, no_class, dtype=torch.long, device=cls_logits.device)
        for of_clip, found, target in zip(classes, queries, targets):
            of_clip.scatter_(1, found.where(found >= 0, num_queries), target.labels.expand(num_layers, -1))
        by_layer = zip(cls_logits.unbind(1), classes[..., :-1].unbind(1))
        return torch.stack([self.classes.loss(logits.flatten(0, 1), right.flatten()) for logits, right in by_layer])

    @torch.no_grad()
    def _match(
        self,
        cls_logits: Tensor,
        embeds: Tensor,
        mask_features: Tensor,
        targets: Sequence[ClipTargets],
        points: Sequence[ClipPoints],
    ) -> list[Tensor]:
        """Match every layer of every clip by Eq. (4): the query of each instance, (layers, M) long for each clip.

        Logits are (B, layers, N, K or K + 1), embeddings (B, layers, T, N, C), features (B, T, C, H, W) float.
        """
        costs = []
        all_probs = self.classes.probs(cls_logits)
        for probs, of_clip, features, target, drawn in zip(all_probs, embeds, mask_features, targets, points):
            mask_logits = torch.einsum("ltnc,tchw->lnthw", of_clip, features)
            mask, dice = mask_cost(mask_logits, target.gt_masks.to(mask_logits), drawn.shared)
            of_masks = self.weights["mask"] * mask + self.weights["dice"] * dice
            costs.append(of_masks - self.weights["cls"] * probs[..., target.labels])
        return match_instances(costs, [target.video for target in targets])
