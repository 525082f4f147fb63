"""Matching cost and losses of one clip, as pure functions (Eq. 4 to 7).

Shape letters:
    T  frames of a clip    N  instance queries    M  instances, or the queries matched with them    K  classes
    C  channels    H, W  height and width of the mask features; ground truth may be larger
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ifrvis.models.points import bce_cost, dice_cost, mask_losses, sample_points, uncertain_points, uniform_points

__all__ = ["PointSampling", "focal_loss", "mask_cost", "point_losses", "weighted_cross_entropy"]


@dataclass(frozen=True)
class PointSampling:
    """How the points of mask costs and losses are drawn."""

    num_points: int = 12544
    oversample_ratio: float = 3.0  # k in Sec. 3.1 of PointRend
    importance_ratio: float = 0.75  # beta in Sec. 3.1 of PointRend


def weighted_cross_entropy(cls_logits: Tensor, classes: Tensor, *, no_object_weight: float) -> Tensor:
    """Cross-entropy over classes and no-object, summed over queries.

    Args:
        cls_logits: (N, K + 1) float, the last for no-object.
        classes: (N,) long, K for no-object.
        no_object_weight: Weight of the queries whose class is no-object.
    """
    weights = torch.ones_like(cls_logits[0])
    weights[-1] = no_object_weight
    return F.cross_entropy(cls_logits, classes, weights, reduction="sum")


def focal_loss(cls_logits: Tensor, classes: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss (Lin et al., Eq. 5), summed over queries and classes.

    Args:
        cls_logits: (N, K) float.
        classes: (N,) long, K for a query without a class.
        alpha: Weight of the positives; the others have 1 - alpha.
        gamma: Exponent that quiets what is right already.
    """
    targets = F.one_hot(classes, cls_logits.shape[1] + 1)[:, :-1].to(cls_logits)
    probs = cls_logits.sigmoid()
    bce = F.binary_cross_entropy_with_logits(cls_logits, targets, reduction="none")
    wrong = probs + targets - 2.0 * probs * targets  # 1 - p_t
    return ((targets * alpha + (1.0 - targets) * (1.0 - alpha)) * wrong**gamma * bce).sum()


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
    points = uniform_points(1, sampling.num_points, mask_logits, generator=generator)
    pred_logits = sample_points(mask_logits.flatten(0, 1)[None], points).reshape(len(mask_logits), -1)
    gt_values = sample_points(gt_masks.to(mask_logits).flatten(0, 1)[None], points)
    gt_values = gt_values.reshape(len(gt_masks), pred_logits.shape[1])
    return bce_cost(pred_logits, gt_values), dice_cost(pred_logits, gt_values)


def point_losses(
    mask_logits: Tensor, gt_masks: Tensor, sampling: PointSampling, generator: Generator | None
) -> tuple[Tensor, Tensor]:
    """Mask and dice loss of masks (L_m and 1 - DICE in Eq. 6 and 7), each of a frame on its own uncertain points.

    Args:
        mask_logits: (..., H, W) float.
        gt_masks: (..., H', W') float with the same leading axes.
        sampling: Number and kind of points.
        generator: Source of the points; torch's global one if None.

    Returns:
        Two scalars, summed over the leading axes; without any mask zeros that still carry a gradient.
    """
    logits, targets = mask_logits.flatten(0, -3), gt_masks.flatten(0, -3)
    if not len(logits):
        return logits.sum(), logits.sum()
    points = uncertain_points(
        logits.detach(),
        sampling.num_points,
        oversample_ratio=sampling.oversample_ratio,
        importance_ratio=sampling.importance_ratio,
        generator=generator,
    )
    bce, dice = mask_losses(logits, targets.to(logits), points)
    return bce.sum(), dice.sum()
