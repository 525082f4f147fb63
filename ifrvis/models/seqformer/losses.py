"""Matching cost and losses of a clip as functions, and what sums them up: each layer is matched and supervised alike.

Shape letters:
    B  clips    T  frames of a clip    Q  instance queries    M  instances    K  classes    E  channels of mask features
    N  matched queries of all layers    h, w  height and width at stride 8    H, W  at stride 4

They are DETR's (Carion et al., Sec. 3.1) with focal classes (Lin et al., Eq. 5), over boxes and masks of a clip; what
is summed and what averaged is as in the published code. What is predicted may have axes in front, such as layers.

Boxes are centre and size, (x, y, w, h), relative to the frame without padding. An instance has a box in every frame:
where it is absent a box of (almost) no size in the corner, which counts like any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ifrvis.models.losses import FocalClasses
from ifrvis.models.seqformer.masks import DynamicMasks, upsampled
from ifrvis.models.targets import ClipTargets, Normalisers, match_instances

SMALLEST = 1e-6  # of what a box states
STRIDE, FIRST = 4, 2  # of mask targets, in pixels
TERMS = ("cls", "box", "giou", "mask", "dice")


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


def class_cost(cls_logits: Tensor, labels: Tensor, classes: FocalClasses) -> Tensor:
    """What the focal loss changes by where a query takes a class: (..., Q, K) and (M,) to (..., Q, M)."""
    probs = cls_logits.sigmoid()[..., labels]
    positive = classes.alpha * (1 - probs) ** classes.gamma * -(probs + 1e-8).log()
    negative = (1 - classes.alpha) * probs**classes.gamma * -(1 - probs + 1e-8).log()
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


@dataclass(frozen=True)
class Predictions:
    """Of every layer for one clip, or for B clips with an axis in front."""

    cls_logits: Tensor  # (layers, Q, K) float
    boxes: Tensor  # (layers, T, Q, 4) float
    embeds: Tensor  # (layers, T, Q, 2 + parameters) float, of masks
    mask_features: Tensor  # (T, 4 + E, h, w) float

    def __getitem__(self, clip: int) -> "Predictions":
        return Predictions(*(each[clip] for each in vars(self).values()))


@dataclass(frozen=True)
class BoxSupervision:
    """What predictions cost."""

    classes: FocalClasses  # how classes are scored, and cells of masks
    weights: Mapping[str, float]  # of the terms; those of cls, box and giou in the matching cost, too

    def losses(
        self, given: Predictions, targets: Sequence[ClipTargets], sizes: Sequence[Sequence[int]], norms: Normalisers
    ) -> dict[str, Tensor]:
        """Weighted losses of every layer: loss_cls, loss_box, ..., of earlier layers under `d<i>.`.

        `given` is of B clips; `sizes` are height and width of their frames in pixels, before padding.
        """
        boxes = [target_boxes(of.gt_masks, size).to(given.boxes) for of, size in zip(targets, sizes)]
        clips = [(given[clip], *of_clip) for clip, of_clip in enumerate(zip(targets, boxes))]
        queries = match_instances([self._costs(*clip) for clip in clips], [target.video for target in targets])
        terms = [self._clip_terms(*clip, matched) for clip, matched in zip(clips, queries)]
        sums = torch.stack(terms).sum(0) / norms.num_instances  # (layers, terms)
        prefixes = [f"d{i}." for i in range(len(sums) - 1)] + [""]
        return {
            f"{prefix}loss_{name}": self.weights[name] * value
            for prefix, of_layer in zip(prefixes, sums)
            for name, value in zip(TERMS, of_layer)
        }

    @torch.no_grad()
    def _costs(self, given: Predictions, target: ClipTargets, gt_boxes: Tensor) -> Tensor:
        """(layers, Q, M) float."""
        distance, overlap = box_costs(given.boxes, gt_boxes)
        of_class = class_cost(given.cls_logits, target.labels, self.classes)
        return self.weights["cls"] * of_class + self.weights["box"] * distance + self.weights["giou"] * overlap

    def _clip_terms(self, given: Predictions, target: ClipTargets, gt_boxes: Tensor, queries: Tensor) -> Tensor:
        """The terms of one clip, summed over instances, in every layer: (layers, terms) float.

        Boxes are (M, T, 4) float, `queries` (layers, M) long, the query of each instance, -1 for none.
        """
        found = queries >= 0
        layer, instance = found.nonzero(as_tuple=True)
        query = queries[layer, instance]
        classes = torch.full_like(given.cls_logits[..., 0], given.cls_logits.shape[-1], dtype=torch.long)
        classes[layer, query] = target.labels[instance]
        of_classes = [self.classes.loss(*each) for each in zip(given.cls_logits, classes)]
        gt_masks = target_masks(target.gt_masks, given.mask_features.shape[-2:]).to(given.mask_features)
        of_pairs = [
            *box_losses(given.boxes[layer, :, query], gt_boxes[instance]),
            *self._mask_losses(given.embeds[layer, :, query], given.mask_features, gt_masks[instance]),
        ]
        sums = [pair.new_zeros(len(queries)).index_add(0, layer, pair) for pair in of_pairs]
        return torch.stack([torch.stack(of_classes), *sums], 1)

    def _mask_losses(self, embeds: Tensor, features: Tensor, gt_masks: Tensor) -> tuple[Tensor, Tensor]:
        """Focal and dice losses of the pairs of a query and an instance, of all layers together: two (N,) float.

        Of (N, T, 2 + parameters) embeddings, (T, 4 + E, h, w) features and (N, T, 2 h, 2 w) masks.
        """
        coarse = DynamicMasks().logits(embeds.transpose(0, 1), features)  # (T, N, h, w)
        if not len(embeds):
            return (coarse.flatten(2).sum((0, 2)),) * 2  # none, with a gradient
        logits = upsampled(coarse.flatten(0, 1)).unflatten(0, coarse.shape[:2]).transpose(0, 1)
        return mask_losses(logits, gt_masks, self.classes)
