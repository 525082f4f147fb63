"""How the predictions of every layer are compared with the ground truth: matching (Eq. 4) and losses (Eq. 5 to 7).

Shape letters:
    B  clips    T  frames of a clip    N  instance queries    M  instances of a clip    K  classes    C  channels
    H, W  height and width of the mask features (stride 4)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ifrvis.models.decoding import LayerOutput, full_precision
from ifrvis.models.losses import FocalClasses, PointSampling, SoftmaxClasses, layer_masks, mask_cost, mask_losses
from ifrvis.models.targets import ClipTargets, Normalisers, match_instances


@dataclass(frozen=True)
class Supervision:
    """What a method's predictions cost: each layer is matched and supervised alike.

    Attributes:
        classes: How classes are scored.
        weights: Of cls, mask and dice, in the matching cost as in the loss (lambda_c, lambda_m, lambda_D).
        sampling: Points of a mask.
        host_mask_loss: Multiply the mask loss by T, as the host does.
        lambda_e: Weight of the cross-frame mask losses (Eq. 6 and 7).
        cross_frame_mean: Take their mean over the other frames, not the sum.
    """

    classes: SoftmaxClasses | FocalClasses
    weights: Mapping[str, float]
    sampling: PointSampling
    host_mask_loss: bool
    lambda_e: float = 0.0
    cross_frame_mean: bool = False

    def losses(
        self, layers: Sequence[LayerOutput], mask_features: Tensor, targets: Sequence[ClipTargets], norms: Normalisers
    ) -> dict[str, Tensor]:
        """Weighted losses: loss_cls, loss_mask and loss_dice, of earlier predictions under `d<i>.`.

        Args:
            layers: Predictions, the last one last.
            mask_features: (B, T, C, H, W) float.
            targets: B clips' ground truth.
            norms: What the sums are divided by.
        """
        cls_logits = full_precision(torch.stack([layer.cls_logits for layer in layers], 1))
        embeds = full_precision(torch.stack([layer.mask_embeds for layer in layers], 1))
        of_clips = [self._clip_losses(*clip) for clip in zip(cls_logits, embeds, mask_features, targets)]
        cls, mask, dice = (torch.stack(values).sum(0) for values in zip(*of_clips))
        sums = {
            "loss_cls": self.weights["cls"] * cls / self.classes.divisor(norms),
            "loss_mask": self.weights["mask"] * mask / norms.num_instances,
            "loss_dice": self.weights["dice"] * dice / norms.num_instances,
        }
        prefixes = [f"d{i}." for i in range(len(layers) - 1)] + [""]
        return {prefix + name: value for name, values in sums.items() for prefix, value in zip(prefixes, values)}

    def _clip_losses(
        self, cls_logits: Tensor, embeds: Tensor, features: Tensor, target: ClipTargets
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Class, mask and dice losses of one clip, each summed in every layer.

        Args:
            cls_logits: (layers, N, K or K + 1) float.
            embeds: (layers, T, N, C) float.
            features: (T, C, H, W) float.
            target: Ground truth.

        Returns:
            Three (layers,) float.
        """
        cls, masks, gt_masks = [], [], target.gt_masks.to(features)
        for i, (logits, layer_embeds) in enumerate(zip(cls_logits, embeds)):
            draws = target.generator(i)
            probs = self.classes.probs(logits)
            queries = self._match(i, probs, layer_embeds, features, target, draws)
            classes = torch.full_like(logits[:, 0], probs.shape[1] - 1, dtype=torch.long)
            classes[queries[queries >= 0]] = target.labels[queries >= 0]
            cls.append(self.classes.loss(logits, classes))
            weight = self._cross_weight(i, len(features))
            masks.append(layer_masks(layer_embeds, queries, weight, self.sampling, draws))
        mask, dice = mask_losses(masks, features, gt_masks, self.sampling)
        return torch.stack(cls), mask * (len(features) if self.host_mask_loss else 1), dice

    @torch.no_grad()
    def _match(
        self,
        layer: int,
        probs: Tensor,
        embeds: Tensor,
        features: Tensor,
        target: ClipTargets,
        draws: Generator | None,
    ) -> Tensor:
        """Match one clip by Eq. (4): the query of each instance, (M,) long."""
        mask_logits = torch.einsum("tnc,tchw->nthw", embeds, features)
        mask, dice = mask_cost(mask_logits, target.gt_masks.to(mask_logits), self.sampling, draws)
        costs = self.weights["mask"] * mask + self.weights["dice"] * dice
        costs = costs - self.weights["cls"] * probs[:, target.labels]
        return match_instances(costs, target.video, layer)

    def _cross_weight(self, layer: int, num_frames: int) -> float:
        """The initial predictions have one query for all frames, so theirs are own-frame losses alone."""
        if layer == 0 or num_frames == 1:
            return 0.0
        return self.lambda_e / (num_frames - 1 if self.cross_frame_mean else 1)
