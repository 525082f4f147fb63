"""Matching cost and losses of one clip, as pure functions (Eq. 4 to 7).

Shape letters:
    T  frames of a clip    N  instance queries    M  instances    K  classes    C  channels
    H, W  height and width of the mask features; ground truth may be larger
    G  masks of an instance predicted for each frame, over all layers, by the query of that frame and of others
    P  points of a mask
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ifrvis.models.points import (
    bce_and_dice,
    bce_cost,
    dice_cost,
    sample_points,
    uncertain_points,
    uniform_points,
)
from ifrvis.models.targets import Normalisers


@dataclass(frozen=True)
class PointSampling:
    """How the points of mask costs and losses are drawn."""

    num_points: int
    oversample_ratio: float  # k in Sec. 3.1 of PointRend
    importance_ratio: float  # beta in Sec. 3.1 of PointRend


@dataclass(frozen=True)
class SoftmaxClasses:
    """Every query is of one class or no object, the last of K + 1 (Mask2Former)."""

    no_object_weight: float  # of a query without a class, in units of another's
    num_queries: int

    def probs(self, cls_logits: Tensor) -> Tensor:
        """Probabilities of classes and no-object, (..., K + 1) in [0, 1]."""
        return cls_logits.softmax(-1)

    def kept(self, cls_logits: Tensor, min_score: float) -> Tensor:
        """Queries whose best class is not no-object, (N,) bool."""
        return cls_logits.argmax(-1) != cls_logits.shape[-1] - 1

    def loss(self, cls_logits: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy, summed over queries: logits (N, K + 1), classes (N,) long, K for no-object."""
        weights = torch.ones_like(cls_logits[0])
        weights[-1] = self.no_object_weight
        return F.cross_entropy(cls_logits, classes, weights, reduction="sum")

    def divisor(self, norms: Normalisers) -> float:
        """The sum of class weights over all queries of the global batch."""
        return norms.num_classed + self.no_object_weight * (norms.num_clips * self.num_queries - norms.num_classed)


@dataclass(frozen=True)
class FocalClasses:
    """Each class on its own, so one query can be of several, and none is no object (Lin et al., Eq. 5)."""

    alpha: float  # weight of the positives; the others have 1 - alpha
    gamma: float  # exponent that quiets what is right already

    def probs(self, cls_logits: Tensor) -> Tensor:
        """Probabilities of K classes, and 0 for no-object: (..., K + 1) in [0, 1]."""
        return F.pad(cls_logits.sigmoid(), (0, 1))

    def kept(self, cls_logits: Tensor, min_score: float) -> Tensor:
        """Queries whose best class is likelier than `min_score`, (N,) bool."""
        return cls_logits.sigmoid().amax(-1) > min_score

    def loss(self, cls_logits: Tensor, classes: Tensor) -> Tensor:
        """Focal loss, summed over queries and classes: logits (N, K), classes (N,) long, K for no-object."""
        return self.terms(cls_logits, F.one_hot(classes, cls_logits.shape[1] + 1)[:, :-1].to(cls_logits)).sum()

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Focal loss of each of (...) logits, with targets (...) float in {0, 1}."""
        probs = logits.sigmoid()
        bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        wrong = probs + targets - 2.0 * probs * targets  # 1 - p_t
        weights = targets * self.alpha + (1.0 - targets) * (1.0 - self.alpha)
        return weights * wrong**self.gamma * bce

    def divisor(self, norms: Normalisers) -> float:
        """The instances of the global batch."""
        return norms.num_instances


def mask_cost(
    mask_logits: Tensor, gt_masks: Tensor, sampling: PointSampling, generator: Generator | None
) -> tuple[Tensor, Tensor]:
    """Mask and dice cost of every query with every instance (C_m and 1 - DICE in Eq. 4).

    All frames and all masks share one set of points; the costs are taken over the points of all frames together.

    Args:
        mask_logits: (N, T, H, W) float.
        gt_masks: (M, T, H', W') float.
        sampling: Number of points.
        generator: Source of the points; torch's global one if None.

    Returns:
        Two (N, M) float.
    """
    points = uniform_points(1, sampling.num_points, like=mask_logits, generator=generator)
    pred_logits = sample_points(mask_logits.flatten(0, 1)[None], points).reshape(len(mask_logits), -1)
    gt_values = sample_points(gt_masks.flatten(0, 1)[None], points)
    gt_values = gt_values.reshape(len(gt_masks), pred_logits.shape[1])
    return bce_cost(pred_logits, gt_values), dice_cost(pred_logits, gt_values)


@dataclass(frozen=True)
class LayerMasks:
    """The masks that one layer's losses look at, before any is computed.

    Attributes:
        embeds: (T, G, M, C) float; their product with the features of frame t is what they say of frame t.
        weights: (G, M) float, 0 where an instance has no query.
        candidates: (T, G, M, k P, 2) float, points of which the least certain are kept.
        rest: (T, G, M, P', 2) float, points that are used as drawn.
    """

    embeds: Tensor
    weights: Tensor
    candidates: Tensor
    rest: Tensor


def layer_masks(
    embeds: Tensor, queries: Tensor, cross_weight: float, sampling: PointSampling, generator: Generator | None
) -> LayerMasks:
    """Own-frame masks of a layer, and cross-frame masks where they have a weight (Eq. 6 and 7).

    Args:
        embeds: (T, N, C) float, of the query of each frame.
        queries: (M,) long, the query of each instance, -1 for none.
        cross_weight: Weight of the mask of frame t2 by the query of frame t1, t1 != t2.
        sampling: Number and kind of points.
        generator: Source of the points; torch's global one if None.
    """
    num_frames, device = len(embeds), embeds.device
    source = torch.arange(num_frames, device=device)[:, None]  # (T, G): which frame's query
    if cross_weight:
        others = source.T.expand(num_frames, -1)[~torch.eye(num_frames, dtype=torch.bool, device=device)]
        source = torch.cat([source, others.view(num_frames, num_frames - 1)], 1)
    weights = torch.full((source.shape[1], 1), float(cross_weight), device=device)
    weights[0] = 1.0
    shape = (*source.shape, len(queries))
    num_uncertain = int(sampling.importance_ratio * sampling.num_points)
    num_candidates = int(sampling.oversample_ratio * sampling.num_points)
    return LayerMasks(
        embeds[:, queries.clamp(min=0)][source],
        weights * (queries >= 0),
        uniform_points(*shape, num_candidates, like=embeds, generator=generator),
        uniform_points(*shape, sampling.num_points - num_uncertain, like=embeds, generator=generator),
    )


def mask_losses(
    layers: list[LayerMasks], features: Tensor, gt_masks: Tensor, sampling: PointSampling
) -> tuple[Tensor, Tensor]:
    """Mask and dice loss of every layer, summed over frames and instances (Eq. 6 and 7).

    All layers go together, so that the features are read, and their gradient written, once.

    Args:
        layers: What every layer's losses look at.
        features: (T, C, H, W) float.
        gt_masks: (M, T, H', W') float.
        sampling: Number of points.

    Returns:
        Two (len(layers),) float; without instances zeros that still carry a gradient.
    """
    embeds, candidates, rest = (
        torch.cat([getattr(layer, name) for layer in layers], 1) for name in ("embeds", "candidates", "rest")
    )
    logits = torch.bmm(embeds.flatten(1, 2), features.flatten(2)).view(-1, *features.shape[2:])  # (T G M, H, W)
    if not len(logits):
        return (logits.sum().expand(len(layers)),) * 2
    shape = candidates.shape[:3]
    num_uncertain = sampling.num_points - rest.shape[3]
    points = uncertain_points(logits.detach(), candidates.flatten(0, 2), num_uncertain)
    points = torch.cat([points, rest.flatten(0, 2)], 1)
    pred_logits = sample_points(logits[:, None], points)[:, 0].view(*shape, -1)
    values = bce_and_dice(pred_logits, _gt_values(gt_masks, points.view(*shape, -1, 2)))
    weights = torch.cat([layer.weights for layer in layers])
    sizes = [len(layer.weights) for layer in layers]
    bce, dice = ((value * weights).sum((0, 2)).split(sizes) for value in values)
    return torch.stack([part.sum() for part in bce]), torch.stack([part.sum() for part in dice])


def _gt_values(gt_masks: Tensor, points: Tensor) -> Tensor:
    """Ground truth at the points of every mask: (M, T, H', W') at (T, G, M, P, 2) gives (T, G, M, P).

    Each ground-truth mask is sampled for all its predictions together, not copied for each.
    """
    maps = gt_masks.transpose(0, 1).flatten(0, 1)[:, None]
    of_mask = points.transpose(1, 2)  # (T, M, G, P, 2)
    values = sample_points(maps, of_mask.flatten(2, 3).flatten(0, 1))[:, 0]
    return values.view(of_mask.shape[:-1]).transpose(1, 2)
