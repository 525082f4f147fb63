"""How predictions are compared with the ground truth: each layer is matched on its own, and supervised alike.

Terms, weights and what sums are divided by are those of the published code, as `losses` is.

Shape letters:
    B  clips    T  frames of a clip    Q  instance queries    M  instances    K  classes    E  channels of mask features
    N  matched queries of all layers    h, w  height and width at stride 8
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ifrvis.models.losses import FocalClasses
from ifrvis.models.seqformer import losses
from ifrvis.models.seqformer.masks import DynamicMasks, upsampled
from ifrvis.models.targets import ClipTargets, Normalisers, match_instances

TERMS = ("cls", "box", "giou", "mask", "dice")


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
        boxes = [losses.target_boxes(of.gt_masks, size).to(given.boxes) for of, size in zip(targets, sizes)]
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
        distance, overlap = losses.box_costs(given.boxes, gt_boxes)
        focal = {"alpha": self.classes.alpha, "gamma": self.classes.gamma}
        of_class = losses.class_cost(given.cls_logits, target.labels, **focal)
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
        gt_masks = losses.target_masks(target.gt_masks, given.mask_features.shape[-2:]).to(given.mask_features)
        of_pairs = [
            *losses.box_losses(given.boxes[layer, :, query], gt_boxes[instance]),
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
        return losses.mask_losses(logits, gt_masks, self.classes)
