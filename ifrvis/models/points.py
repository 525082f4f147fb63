"""Losses and costs of masks at sampled points, as pure functions (Mask2Former, Sec. 3.3; this paper's Eq. 4 to 7).

Shape letters:
    R  rows, one mask of one frame each     P  points of a row
    Q  queries    M  ground-truth instances of a clip
    H, W  mask height and width, in feature cells; predictions and ground truth may differ in size

Points are (x, y) in [0, 1], relative to the whole padded frame.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


def uniform_points(*shape: int, like: Tensor, generator: Generator | None = None) -> Tensor:
    """Points drawn uniformly, where the generator is if one is given: (*shape, 2), device and dtype of `like`."""
    device = like.device if generator is None else generator.device
    return torch.rand(*shape, 2, generator=generator, device=device).to(like)


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps at points.

    Args:
        maps: (R, C, H, W) float.
        points: (R, P, 2) float in [0, 1].

    Returns:
        (R, C, P) float; beyond the centres of the border cells the maps fade to 0, as in Detectron2.
    """
    grid = 2.0 * points[:, None] - 1.0
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, :, 0]


@torch.no_grad()
def uncertain_points(mask_logits: Tensor, candidates: Tensor, num_points: int) -> Tensor:
    """The candidates where each mask is least certain (PointRend, Sec. 3.1).

    Args:
        mask_logits: (R, H, W) float, before the sigmoid.
        candidates: (R, k P, 2) float in [0, 1].
        num_points: How many to keep, by smallest absolute logit.

    Returns:
        (R, num_points, 2) float in [0, 1].
    """
    certainty = sample_points(mask_logits[:, None], candidates)[:, 0].abs()
    chosen = certainty.topk(num_points, dim=1, largest=False, sorted=False).indices
    return candidates.gather(1, chosen[..., None].expand(-1, -1, 2))


def bce_and_dice(pred_logits: Tensor, gt_values: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice loss of each row over its points.

    Args:
        pred_logits: (..., P) float, before the sigmoid.
        gt_values: (..., P) float in [0, 1].

    Returns:
        Two (...) float: the mean over points of the cross-entropy, and one minus the naive dice overlap, in [0, 1],
        with 1 added to both sides of its ratio.
    """
    bce = F.binary_cross_entropy_with_logits(pred_logits, gt_values, reduction="none").mean(-1)
    pred_probs = pred_logits.sigmoid()
    overlap = 2.0 * (pred_probs * gt_values).sum(-1)
    return bce, 1.0 - (overlap + 1.0) / (pred_probs.sum(-1) + gt_values.sum(-1) + 1.0)


def bce_cost(pred_logits: Tensor, gt_values: Tensor) -> Tensor:
    """Mean binary cross-entropy of every query with every instance at shared points (C_m in Eq. 4).

    Args:
        pred_logits: (..., Q, P) float, before the sigmoid.
        gt_values: (..., M, P) float in [0, 1].

    Returns:
        (..., Q, M) float, never negative.
    """
    # y softplus(-x) + (1 - y) softplus(x) = softplus(x) - y x: one product instead of two.
    total = F.softplus(pred_logits).sum(-1, keepdim=True) - pred_logits @ gt_values.mT
    return total / pred_logits.shape[-1]


def dice_cost(pred_logits: Tensor, gt_values: Tensor) -> Tensor:
    """One minus naive dice overlaps, otherwise as `bce_cost` (Eq. 4): (..., Q, M) float in [0, 1]."""
    pred_probs = pred_logits.sigmoid()
    sizes = pred_probs.sum(-1, keepdim=True) + gt_values.sum(-1)[..., None, :]
    return 1.0 - (2.0 * pred_probs @ gt_values.mT + 1.0) / (sizes + 1.0)
