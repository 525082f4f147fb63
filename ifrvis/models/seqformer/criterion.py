"""What one clip adds to the losses: each layer is matched on its own; all layers' masks are computed together.

Shape letters:
    T  frames of the clip    Q  instance queries    M  instances    K  classes    E  channels of mask features
    N  matched queries of all layers    h, w  height and width at stride 8
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ifrvis.models.losses import focal_loss
from ifrvis.models.seqformer import losses
from ifrvis.models.seqformer.masks import DynamicMasks, upsampled
from ifrvis.models.targets import ClipTargets, match_instances

TERMS = ("cls", "box", "giou", "mask", "dice")
Weights = Mapping[str, float]


def clip_terms(
    cls_logits: Tensor,
    boxes: Tensor,
    embeds: Tensor,
    features: Tensor,
    target: ClipTargets,
    size: Sequence[int],
    *,
    weights: Weights,
    focal: Weights,
) -> Tensor:
    """The terms of one clip, without weights and summed over instances, in every layer: (layers, terms) float.

    Args:
        cls_logits: (layers, Q, K) float.
        boxes: (layers, T, Q, 4) float.
        embeds: (layers, T, Q, 2 + parameters) float, of masks.
        features: (T, 4 + E, h, w) float.
        target: Ground truth.
        size: Height and width in pixels, before padding.
        weights: Of the terms, for the matching cost.
        focal: alpha and gamma.
    """
    gt_boxes = losses.target_boxes(target.gt_masks, size).to(boxes)
    terms, chosen, instances = [], [], []
    for i, (logits, layer_boxes, layer_embeds) in enumerate(zip(cls_logits, boxes, embeds)):
        costs = _costs(logits, target.labels, layer_boxes, gt_boxes, weights, focal)
        queries = match_instances(costs, target.video, i)
        found = queries >= 0
        classes = torch.full_like(logits[:, 0], logits.shape[1], dtype=torch.long)
        classes[queries[found]] = target.labels[found]
        of_boxes = losses.box_losses(layer_boxes[:, queries[found]].transpose(0, 1), gt_boxes[found])
        terms.append(torch.stack([focal_loss(logits, classes, **focal), *of_boxes]))
        chosen.append(layer_embeds[:, queries[found]])
        instances.append(found.nonzero()[:, 0])
    gt_masks = losses.target_masks(target.gt_masks, features.shape[-2:]).to(features)
    of_masks = _mask_terms(chosen, instances, features, gt_masks, focal)
    return torch.cat([torch.stack(terms), of_masks], 1)


@torch.no_grad()
def _costs(
    cls_logits: Tensor, labels: Tensor, boxes: Tensor, gt_boxes: Tensor, weights: Weights, focal: Weights
) -> Tensor:
    """(Q, M) float."""
    distance, overlap = losses.box_costs(boxes, gt_boxes)
    of_class = losses.class_cost(cls_logits, labels, **focal)
    return weights["cls"] * of_class + weights["box"] * distance + weights["giou"] * overlap


def _mask_terms(
    embeds: Sequence[Tensor], instances: Sequence[Tensor], features: Tensor, gt_masks: Tensor, focal: Weights
) -> Tensor:
    """Focal and dice losses of matched masks, (layers, 2) float.

    Args:
        embeds: Of each layer, (T, matched, 2 + parameters) float.
        instances: Of each layer, (matched,) long, whose masks they are.
        features: (T, 4 + E, h, w) float.
        gt_masks: (M, T, 2 h, 2 w) float.
        focal: alpha and gamma.
    """
    coarse = DynamicMasks().logits(torch.cat(list(embeds), 1), features)  # (T, N, h, w)
    if not coarse.shape[1]:
        return coarse.sum().expand(len(embeds), 2)  # zero, with a gradient
    logits = upsampled(coarse.flatten(0, 1)).unflatten(0, coarse.shape[:2]).transpose(0, 1)
    values = losses.mask_losses(logits, gt_masks[torch.cat(list(instances))], **focal)
    sizes = [len(of_layer) for of_layer in instances]
    return torch.stack([torch.stack([part.sum() for part in value.split(sizes)]) for value in values], 1)
