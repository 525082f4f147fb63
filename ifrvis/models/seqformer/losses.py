"""Matching cost and losses of one clip, as pure functions; what is predicted may have axes in front, such as layers.

Shape letters:
    T  frames of a clip    Q  instance queries    M  instances    K  classes    H, W  mask height and width at stride 4

They are DETR's (Carion et al., Sec. 3.1) with focal classes (Lin et al., Eq. 5), over boxes and masks of a clip; what
is summed and what averaged is as in the published code.

Boxes are centre and size, (x, y, w, h), relative to the frame without padding. An instance has a box in every frame:
where it is absent a box of (almost) no size in the corner, which counts like any other.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ifrvis.models.losses import FocalClasses

SMALLEST = 1e-6  # of what a box states
STRIDE, FIRST = 4, 2  # of mask targets, in pixels


def target_boxes(gt_masks: Tensor, size: Sequence[int]) -> Tensor:
    """Boxes around masks of padded frames: (M, T, H', W') float in {0, 1} to (M, T, 4) float.

    `size` is height and width of the frame in pixels, before padding.
    """
    edges = [_edges(gt_masks.amax(axis) > 0) for axis in (2, 3)]  # left and right, top and bottom
    low, high = (torch.stack(edge, -1).to(gt_masks) for edge in zip(*edges))
    size_xy = gt_masks.new_tensor(size[:2]).flip(0)
    return torch.cat([(low + high) / 2 / size_xy, (high - low) / size_xy], -1).clamp(min=SMALLEST)


def _edges(line: Tensor) -> tuple[Tensor, Tensor]:
    """First True of (M, T, L), and the one behind the last; zeros without any."""
    places = torch.arange(1, line.shape[-1] + 1, device=line.device)
    last = (line * places).amax(-1)
    first = line.shape[-1] - (line * places.flip(0)).amax(-1)
    return first * line.any(-1), last


def target_masks(gt_masks: Tensor, shape: Sequence[int]) -> Tensor:
    """Masks at stride 4, every fourth pixel from the third: (M, T, H', W') of padded frames to (M, T, H, W).

    `shape` is that of the mask features, (H / 2, W / 2); beyond the padded frame is background.
    """
    rows, columns = (2 * STRIDE * side - whole for side, whole in zip(shape, gt_masks.shape[2:]))
    return F.pad(gt_masks, (0, columns, 0, rows))[..., FIRST::STRIDE, FIRST::STRIDE]


def generalised_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., Eq. 2) of boxes that broadcast: two (..., 4) to (...) in [-1, 1]."""
    (low, high), (low_2, high_2) = (
        (each[..., :2] - each[..., 2:] / 2, each[..., :2] + each[..., 2:] / 2) for each in (boxes, others)
    )
    overlap = (torch.minimum(high, high_2) - torch.maximum(low, low_2)).clamp(min=0).prod(-1)
    union = (high - low).prod(-1) + (high_2 - low_2).prod(-1) - overlap
    hull = (torch.maximum(high, high_2) - torch.minimum(low, low_2)).prod(-1)
    return overlap / union - (hull - union) / hull


def class_cost(cls_logits: Tensor, labels: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """What the focal loss changes by where a query takes a class: (..., Q, K) and (M,) to (..., Q, M)."""
    probs = cls_logits.sigmoid()[..., labels]
    positive = alpha * (1 - probs) ** gamma * -(probs + 1e-8).log()
    negative = (1 - alpha) * probs**gamma * -(1 - probs + 1e-8).log()
    return positive - negative


def box_costs(boxes: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean distance of the boxes of all frames together, and the mean over frames of negative generalised IoU.

    (..., T, Q, 4) and (M, T, 4) float to two (..., Q, M) float.
    """
    distance = torch.cdist(boxes.transpose(-3, -2).flatten(-2), gt_boxes.flatten(1))
    return distance, -generalised_iou(boxes[..., None, :], gt_boxes.transpose(0, 1)[:, None]).mean(-3)


def box_losses(boxes: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Mean L1 distance and 1 - generalised IoU over frames: (..., M, T, 4) and (M, T, 4) to two (..., M) float."""
    return (boxes - gt_boxes).abs().sum(-1).mean(-1), (1 - generalised_iou(boxes, gt_boxes)).mean(-1)


def mask_losses(mask_logits: Tensor, targets: Tensor, classes: FocalClasses) -> tuple[Tensor, Tensor]:
    """Focal and dice loss of each instance over the cells of all frames: two (..., T, H, W) float to two (...) float.

    They are the mean of the focal loss, and one minus the naive dice overlap.
    """
    focal = classes.terms(mask_logits, targets).flatten(-3).mean(-1)
    probs = mask_logits.sigmoid()
    overlap, sizes = (probs * targets).flatten(-3).sum(-1), (probs + targets).flatten(-3).sum(-1)
    return focal, 1.0 - (2.0 * overlap + 1.0) / (sizes + 1.0)
