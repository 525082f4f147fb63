"""How predictions are compared with the ground truth: each layer is matched on its own, and supervised alike.

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
    """Of every layer for one clip, or for B clips with an axis in front.

    Attributes:
        cls_logits: (layers, Q, K) float.
        boxes: (layers, T, Q, 4) float.
        embeds: (layers, T, Q, 2 + parameters) float, of masks.
        mask_features: (T, 4 + E, h, w) float.
    """

    cls_logits: Tensor
    boxes: Tensor
    embeds: Tensor
    mask_features: Tensor

    def __getitem__(self, clip: int) -> "Predictions":
        return Predictions(*(each[clip] for each in vars(self).values()))


@dataclass(frozen=True)
class BoxSupervision:
    """What predictions cost.

    Attributes:
        classes: How classes are scored, and cells of masks.
        weights: Of the terms; those of cls, box and giou in the matching cost, too.
    """

    classes: FocalClasses
    weights: Mapping[str, float]

    def losses(
        self, given: Predictions, targets: Sequence[ClipTargets], sizes: Sequence[Sequence[int]], norms: Normalisers
    ) -> dict[str, Tensor]:
        """Weighted losses of every layer: loss_cls, loss_box, ..., of earlier layers under `d<i>.`.

        Args:
            given: Of B clips.
            targets: Their ground truth.
            sizes: Height and width of their frames in pixels, before padding.
            norms: What the sums are divided by.
        """
        of_clips = [self._clip_terms(given[clip], *of_clip) for clip, of_clip in enumerate(zip(targets, sizes))]
        sums = torch.stack(of_clips).sum(0) / norms.num_instances  # (layers, terms)
        prefixes = [f"d{i}." for i in range(len(sums) - 1)] + [""]
        return {
            f"{prefix}loss_{name}": self.weights[name] * value
            for prefix, of_layer in zip(prefixes, sums)
            for name, value in zip(TERMS, of_layer)
        }

    def _clip_terms(self, given: Predictions, target: ClipTargets, size: Sequence[int]) -> Tensor:
        """The terms of one clip, summed over instances, in every layer: (layers, terms) float."""
        gt_boxes = losses.target_boxes(target.gt_masks, size).to(given.boxes)
        terms, chosen, instances = [], [], []
        for i, (logits, boxes, embeds) in enumerate(zip(given.cls_logits, given.boxes, given.embeds)):
            queries = match_instances(self._costs(logits, target.labels, boxes, gt_boxes), target.video, i)
            found = queries >= 0
            classes = torch.full_like(logits[:, 0], logits.shape[1], dtype=torch.long)
            classes[queries[found]] = target.labels[found]
            of_boxes = losses.box_losses(boxes[:, queries[found]].transpose(0, 1), gt_boxes[found])
            terms.append(torch.stack([self.classes.loss(logits, classes), *of_boxes]))
            chosen.append(embeds[:, queries[found]])
            instances.append(found.nonzero()[:, 0])
        gt_masks = losses.target_masks(target.gt_masks, given.mask_features.shape[-2:]).to(given.mask_features)
        of_masks = self._mask_terms(chosen, instances, given.mask_features, gt_masks)
        return torch.cat([torch.stack(terms), of_masks], 1)

    @torch.no_grad()
    def _costs(self, cls_logits: Tensor, labels: Tensor, boxes: Tensor, gt_boxes: Tensor) -> Tensor:
        """(Q, M) float."""
        distance, overlap = losses.box_costs(boxes, gt_boxes)
        of_class = losses.class_cost(cls_logits, labels, alpha=self.classes.alpha, gamma=self.classes.gamma)
        return self.weights["cls"] * of_class + self.weights["box"] * distance + self.weights["giou"] * overlap

    def _mask_terms(
        self, embeds: Sequence[Tensor], instances: Sequence[Tensor], features: Tensor, gt_masks: Tensor
    ) -> Tensor:
        """Focal and dice losses of matched masks, (layers, 2) float; all layers' masks are computed together.

        Args:
            embeds: Of each layer, (T, matched, 2 + parameters) float.
            instances: Of each layer, (matched,) long, whose masks they are.
            features: (T, 4 + E, h, w) float.
            gt_masks: (M, T, 2 h, 2 w) float.
        """
        coarse = DynamicMasks().logits(torch.cat(list(embeds), 1), features)  # (T, N, h, w)
        if not coarse.shape[1]:
            return coarse.sum().expand(len(embeds), 2)  # zero, with a gradient
        logits = upsampled(coarse.flatten(0, 1)).unflatten(0, coarse.shape[:2]).transpose(0, 1)
        values = losses.mask_losses(logits, gt_masks[torch.cat(list(instances))], self.classes)
        sizes = [len(of_layer) for of_layer in instances]
        return torch.stack([torch.stack([part.sum() for part in value.split(sizes)]) for value in values], 1)
