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

__all__ = ["bce_cost", "dice_cost", "mask_losses", "sample_points", "uncertain_points", "uniform_points"]


def uniform_points(num_rows: int, num_points: int, like: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Points drawn uniformly, on the CPU where a generator is given: (R, P, 2), device and dtype of `like`."""
    device = like.device if generator is None else "cpu"
    points = torch.rand(num_rows, num_points, 2, generator=generator, device=device)
    return points.to(like)


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
def uncertain_points(
    mask_logits: Tensor,
    num_points: int,
    *,
    oversample_ratio: float = 3.0,
    importance_ratio: float = 0.75,
    generator: Generator | None = None,
) -> Tensor:
    """Points where a mask is least certain, and some drawn uniformly (PointRend, Sec. 3.1).

    Args:
        mask_logits: (R, H, W) float, before the sigmoid.
        num_points: P.
        oversample_ratio: How many times P candidates are drawn.
        importance_ratio: Share of P taken from the candidates by smallest absolute logit.
        generator: Source of the draws; torch's global one if None.

    Returns:
        (R, P, 2) float in [0, 1].
    """
    num_rows = len(mask_logits)
    num_uncertain = int(importance_ratio * num_points)
    candidates = uniform_points(num_rows, int(oversample_ratio * num_points), mask_logits, generator=generator)
    certainty = sample_points(mask_logits[:, None], candidates)[:, 0].abs()
    chosen = certainty.topk(num_uncertain, dim=1, largest=False, sorted=False).indices
    chosen = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
    rest = uniform_points(num_rows, num_points - num_uncertain, mask_logits, generator=generator)
    return torch.cat([chosen, rest], dim=1)


def mask_losses(mask_logits: Tensor, gt_masks: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice loss of each row at its own points.

    Args:
        mask_logits: (R, H, W) float, before the sigmoid.
        gt_masks: (R, H', W') float in {0, 1}.
        points: (R, P, 2) float in [0, 1].

    Returns:
        Two (R,) float: the mean over points of the cross-entropy, and one minus the naive dice overlap, in [0, 1],
        with 1 added to both sides of its ratio.
    """
    pred_logits = sample_points(mask_logits[:, None], points)[:, 0]
    gt_values = sample_points(gt_masks[:, None], points)[:, 0]
    bce = F.binary_cross_entropy_with_logits(pred_logits, gt_values, reduction="none").mean(1)
    pred_probs = pred_logits.sigmoid()
    overlap = 2.0 * (pred_probs * gt_values).sum(1)
    return bce, 1.0 - (overlap + 1.0) / (pred_probs.sum(1) + gt_values.sum(1) + 1.0)


def bce_cost(pred_logits: Tensor, gt_values: Tensor) -> Tensor:
    """Mean binary cross-entropy of every query with every instance at shared points (C_m in Eq. 4).

    Args:
        pred_logits: (Q, P) float, before the sigmoid.
        gt_values: (M, P) float in [0, 1].

    Returns:
        (Q, M) float, never negative.
    """
    # y softplus(-x) + (1 - y) softplus(x) = softplus(x) - y x: one product instead of two.
    total = F.softplus(pred_logits).sum(1, keepdim=True) - pred_logits @ gt_values.T
    return total / pred_logits.shape[1]


def dice_cost(pred_logits: Tensor, gt_values: Tensor) -> Tensor:
    """One minus the naive dice overlap of every query with every instance at shared points (Eq. 4).

    Args:
        pred_logits: (Q, P) float, before the sigmoid.
        gt_values: (M, P) float in [0, 1].

    Returns:
        (Q, M) float in [0, 1].
    """
    pred_probs = pred_logits.sigmoid()
    sizes = pred_probs.sum(1, keepdim=True) + gt_values.sum(1)
    return 1.0 - (2.0 * pred_probs @ gt_values.T + 1.0) / (sizes + 1.0)
