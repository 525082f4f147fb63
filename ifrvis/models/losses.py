"""Matching cost and losses of one clip, as pure functions (Eq. 4 to 7).

Shape letters:
    T  frames of a clip    N  instance queries    M  instances    K  classes    C  channels
    H, W  height and width of the mask features; ground truth may be larger
    G  masks of an instance predicted for each frame, over all layers, by the query of that frame and of others
    P  points of a mask
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ifrvis.models.points import bce_and_dice, bce_cost, dice_cost, sample_points, uncertain_points, uniform_points
from ifrvis.models.targets import Normalisers

QUERIES_OF_A_CLIP = 10  # are objects where no class says which are none, as in the official port of SeqFormer


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

    def kept(self, cls_logits: Tensor) -> Tensor:
        """The queries of a clip that are objects: those whose best class is not no-object, (N,) bool."""
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

    def kept(self, cls_logits: Tensor) -> Tensor:
        """The queries of a clip that are objects: the best, each by its best class, (N,) bool."""
        best = cls_logits.amax(-1).topk(min(QUERIES_OF_A_CLIP, len(cls_logits))).indices
        return torch.zeros_like(cls_logits[:, 0], dtype=torch.bool).index_fill(0, best, True)

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


@dataclass(frozen=True)
class LayerPoints:
    """Where the masks of one layer of a clip are looked at, (x, y) in [0, 1]; M instances, G masks each in a frame."""

    shared: Tensor  # (P, 2) float, of the matching cost
    candidates: Tensor  # (T, G, M, k P, 2) float, points of which the least certain are kept
    rest: Tensor  # (T, G, M, P', 2) float, points that are used as drawn


def draw_points(shape: Sequence[int], sampling: PointSampling, *, like: Tensor, draws: Generator | None) -> LayerPoints:
    """Draw a layer's points of a clip, in the host's order, for a shape of T, G, M; None for torch's global source."""
    num_uncertain = int(sampling.importance_ratio * sampling.num_points)
    num_candidates = int(sampling.oversample_ratio * sampling.num_points)
    return LayerPoints(
        uniform_points(sampling.num_points, like=like, generator=draws),
        uniform_points(*shape, num_candidates, like=like, generator=draws),
        uniform_points(*shape, sampling.num_points - num_uncertain, like=like, generator=draws),
    )


def mask_cost(mask_logits: Tensor, gt_masks: Tensor, points: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mask and dice cost of every query with every instance in every layer (C_m and 1 - DICE in Eq. 4).

    All frames and all masks of a layer share one set of points; costs are taken over the points of all frames together.

    Args:
        mask_logits: (layers, N, T, H, W) float.
        gt_masks: (M, T, H', W') float.
        points: (P, 2) float in [0, 1] for each layer.

    Returns:
        Two (layers, N, M) float.
    """
    num_layers, num_queries, num_frames = mask_logits.shape[:3]
    pred_logits = sample_points(mask_logits.flatten(1, 2), torch.stack(points)).view(num_layers, num_queries, -1)
    gt_values = sample_points(gt_masks.flatten(0, 1)[None], torch.cat(points)[None])
    gt_values = gt_values.view(len(gt_masks), num_frames, num_layers, len(points[0])).permute(2, 0, 1, 3).flatten(2)
    return bce_cost(pred_logits, gt_values), dice_cost(pred_logits, gt_values)


@dataclass(frozen=True)
class ClipMasks:
    """The masks of one clip that the losses look at, of all layers, before any is computed."""

    embeds: Tensor  # (T, M, G, C) float; their product with the features of frame t is what they say of frame t
    weights: Tensor  # (M, G) float, 0 where an instance has no query
    candidates: Tensor  # (T, M, G, k P, 2) float, points of which the least certain are kept
    rest: Tensor  # (T, M, G, P', 2) float, points that are used as drawn
    sizes: tuple[int, ...]  # how many of G belong to each layer


def clip_masks(
    embeds: Tensor, queries: Tensor, points: Sequence[LayerPoints], cross_weights: Sequence[float]
) -> ClipMasks:
    """Own-frame masks of every layer, and cross-frame masks where they have a weight (Eq. 6 and 7).

    Args:
        embeds: (layers, T, N, C) float, of the query of each frame.
        queries: (layers, M) long, the query of each instance, -1 for none.
        points: Of each layer.
        cross_weights: Of each layer, weight of the mask of frame t2 by the query of frame t1, t1 != t2.
    """
    parts = []
    for of_layer, matched, drawn, weight in zip(embeds, queries, points, cross_weights):
        source = _source_frames(len(of_layer), bool(weight), of_layer.device)
        weights = torch.full(source.shape[1:], float(weight), device=of_layer.device)
        weights[0] = 1.0
        chosen = of_layer[:, matched.clamp(min=0)][source]
        by_instance = (x.transpose(1, 2) for x in (chosen, drawn.candidates, drawn.rest))
        parts.append(((matched >= 0)[:, None] * weights, *by_instance))
    of_masks, *others = zip(*parts)
    joined, candidates, rest = (torch.cat(each, 2) for each in others)
    return ClipMasks(joined, torch.cat(of_masks, 1), candidates, rest, tuple(each.shape[1] for each in of_masks))


def _source_frames(num_frames: int, is_crossing: bool, device: torch.device) -> Tensor:
    """Whose query predicts the masks of each frame, (T, G) long: its own, then, if asked for, those of others."""
    own = torch.arange(num_frames, device=device)[:, None]
    if not is_crossing:
        return own
    others = own.T.expand(num_frames, -1)[~torch.eye(num_frames, dtype=torch.bool, device=device)]
    return torch.cat([own, others.view(num_frames, num_frames - 1)], 1)


def mask_losses(
    clips: Sequence[ClipMasks], features: Tensor, gt_masks: Sequence[Tensor], sampling: PointSampling
) -> tuple[Tensor, Tensor]:
    """Mask and dice loss of every layer, summed over clips, frames and instances (Eq. 6 and 7).

    All layers of all clips go together: many small operations would take longer than the arithmetic.

    Args:
        clips: B clips' masks; G is alike in all.
        features: (B, T, C, H, W) float.
        gt_masks: (M, T, H', W') float for each clip.
        sampling: Number of points.

    Returns:
        Two (layers,) float; without instances zeros that still carry a gradient.
    """
    rows = [torch.bmm(clip.embeds.flatten(1, 2), maps.flatten(2)).flatten(0, 1) for clip, maps in zip(clips, features)]
    logits = torch.cat(rows).unflatten(1, features.shape[3:])  # of (clip, T, M, G), as all that follows
    sizes = clips[0].sizes
    if not len(logits):
        return (logits.sum().expand(len(sizes)),) * 2
    candidates, rest = (
        torch.cat([getattr(clip, name).flatten(0, 2) for clip in clips]) for name in ("candidates", "rest")
    )
    points = uncertain_points(logits.detach(), candidates, sampling.num_points - rest.shape[1])
    points = torch.cat([points, rest], 1)
    # Each ground-truth mask is sampled for all its predictions together, not copied for each.
    maps = torch.cat([of_clip.transpose(0, 1).flatten(0, 1) for of_clip in gt_masks])[:, None]
    gt_values = sample_points(maps, points.view(len(maps), -1, 2)).view(points.shape[:2])
    values = bce_and_dice(sample_points(logits[:, None], points)[:, 0], gt_values)
    weights = torch.cat([clip.weights.repeat(len(clip.embeds), 1) for clip in clips])
    bce, dice = ((value.view(weights.shape) * weights).sum(0).split(sizes) for value in values)
    return torch.stack([part.sum() for part in bce]), torch.stack([part.sum() for part in dice])
