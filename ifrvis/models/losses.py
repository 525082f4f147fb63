"""Matching (Eq. 4) and losses (Eq. 5 to 7), those of masks at sampled points (Mask2Former, Sec. 3.3).

Shape letters:
    B  clips    T  frames of a clip    N, Q  instance queries    M  instances of a clip    K  classes    C  channels
    H, W  height and width of the mask features; ground truth may be larger
    G  masks of an instance predicted for each frame, by the query of that frame and of others, layer after layer
    R  rows, one mask of one frame each    P  points of a row

Points are (x, y) in [0, 1], relative to the whole padded frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ifrvis.models.decoding import LayerOutput, full_precision
from ifrvis.models.targets import ClipTargets, Normalisers, match_instances

QUERIES_OF_A_CLIP = 10  # are objects where no class says which are none, as in the official port of SeqFormer


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
class ClipPoints:
    """Where the masks of a clip are looked at."""

    shared: tuple[Tensor, ...]  # of each layer (P, 2) float, of the matching cost
    candidates: Tensor  # (T, G, M, k P, 2) float, points of which the least certain are kept
    rest: Tensor  # (T, G, M, P', 2) float, points that are used as drawn
    sizes: list[int]  # how many of G belong to each layer


def uniform_points(*shape: int, like: Tensor, generator: Generator | None = None) -> Tensor:
    """Points drawn uniformly, where the generator is if one is given: (*shape, 2), device and dtype of `like`."""
    device = like.device if generator is None else generator.device
    return torch.rand(*shape, 2, generator=generator, device=device).to(like)


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps (R, C, H, W) at points (R, P, 2) in [0, 1]: (R, C, P) float.

    Beyond the centres of the border cells the maps fade to 0, as in Detectron2.
    """
    grid = 2.0 * points[:, None] - 1.0
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, :, 0]


@torch.no_grad()
def uncertain_points(mask_logits: Tensor, candidates: Tensor, num_points: int) -> Tensor:
    """The candidates where each mask is least certain, by smallest absolute logit (PointRend, Sec. 3.1).

    (R, H, W) float, before the sigmoid, and (R, k P, 2) float in [0, 1] to (R, num_points, 2) float.
    """
    certainty = sample_points(mask_logits[:, None], candidates)[:, 0].abs()
    chosen = certainty.topk(num_points, dim=1, largest=False, sorted=False).indices
    return candidates.gather(1, chosen[..., None].expand(-1, -1, 2))


def bce_and_dice(pred_logits: Tensor, gt_values: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice loss of each row over its points, two (...) float.

    (..., P) logits, before the sigmoid, and (..., P) values in [0, 1] give the mean over points of the cross-entropy,
    and one minus the naive dice overlap, in [0, 1], with 1 added to both sides of its ratio.
    """
    bce = F.binary_cross_entropy_with_logits(pred_logits, gt_values, reduction="none").mean(-1)
    pred_probs = pred_logits.sigmoid()
    overlap = 2.0 * (pred_probs * gt_values).sum(-1)
    return bce, 1.0 - (overlap + 1.0) / (pred_probs.sum(-1) + gt_values.sum(-1) + 1.0)


def bce_cost(pred_logits: Tensor, gt_values: Tensor) -> Tensor:
    """Mean binary cross-entropy of every query with every instance at shared points (C_m in Eq. 4), never negative.

    (..., Q, P) logits, before the sigmoid, and (..., M, P) values in [0, 1] to (..., Q, M) float.
    """
    # y softplus(-x) + (1 - y) softplus(x) = softplus(x) - y x: one product instead of two.
    total = F.softplus(pred_logits).sum(-1, keepdim=True) - pred_logits @ gt_values.mT
    return total / pred_logits.shape[-1]


def dice_cost(pred_logits: Tensor, gt_values: Tensor) -> Tensor:
    """One minus naive dice overlaps, otherwise as `bce_cost` (Eq. 4): (..., Q, M) float in [0, 1]."""
    pred_probs = pred_logits.sigmoid()
    sizes = pred_probs.sum(-1, keepdim=True) + gt_values.sum(-1)[..., None, :]
    return 1.0 - (2.0 * pred_probs @ gt_values.mT + 1.0) / (sizes + 1.0)


def mask_cost(mask_logits: Tensor, gt_masks: Tensor, points: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Mask and dice cost of every query with every instance in every layer (C_m and 1 - DICE in Eq. 4).

    (layers, N, T, H, W) logits and (M, T, H', W') masks to two (layers, N, M) float. All frames and all masks of a
    layer share one set of points, (P, 2) in [0, 1]; costs are taken over the points of all frames together.
    """
    num_layers, num_queries, num_frames = mask_logits.shape[:3]
    pred_logits = sample_points(mask_logits.flatten(1, 2), torch.stack(points)).view(num_layers, num_queries, -1)
    gt_values = sample_points(gt_masks.flatten(0, 1)[None], torch.cat(points)[None])
    gt_values = gt_values.view(len(gt_masks), num_frames, num_layers, len(points[0])).permute(2, 0, 1, 3).flatten(2)
    return bce_cost(pred_logits, gt_values), dice_cost(pred_logits, gt_values)


def mask_losses(
    embeds: Tensor,
    queries: Sequence[Tensor],
    features: Tensor,
    gt_masks: Sequence[Tensor],
    points: Sequence[ClipPoints],
    *,
    cross_weight: float,
) -> tuple[Tensor, Tensor]:
    """Mask and dice loss of every layer, summed over clips, frames and instances (Eq. 6 and 7).

    All layers of all clips go together: many small operations would take longer than the arithmetic.

    Args:
        embeds: (B, layers, T, N, C) float, of the query of each frame.
        queries: (layers, M) long for each clip, the query of each instance, -1 for none.
        features: (B, T, C, H, W) float.
        gt_masks: (M, T, H', W') float for each clip.
        points: Of each clip; layers of more than one of G have cross-frame masks, too.
        cross_weight: Of the mask of frame t2 by the query of frame t1, t1 != t2; a frame's own has 1.

    Returns:
        Two (layers,) float; without instances zeros that still carry a gradient.
    """
    sizes, num_frames = points[0].sizes, features.shape[1]
    own, rest = (torch.arange(count, device=features.device) for count in (num_frames, num_frames - 1))
    source = torch.cat([own[:, None], rest + (rest >= own[:, None])], 1)  # (T, T): each frame's own, then the others
    share = torch.full((num_frames,), cross_weight, device=features.device)
    share[0] = 1.0
    rows, weights = [], []
    for of_clip, matched, maps in zip(embeds, queries, features):
        layers = list(zip(of_clip, matched, sizes))
        chosen = [of[:, query.clamp(min=0)][source[:, :size]].transpose(1, 2) for of, query, size in layers]
        rows.append(torch.bmm(torch.cat(chosen, 2).flatten(1, 2), maps.flatten(2)).flatten(0, 1))
        found = [(query >= 0)[:, None] * share[:size] for _, query, size in layers]
        weights.append(torch.cat(found, 1).repeat(num_frames, 1))
    logits = torch.cat(rows).unflatten(1, features.shape[3:])  # of (clip, T, M, G), as all that follows
    if not len(logits):
        return (logits.sum().expand(len(sizes)),) * 2
    candidates, others = (
        torch.cat([getattr(each, name).transpose(1, 2).flatten(0, 2) for each in points])
        for name in ("candidates", "rest")
    )
    num_uncertain = len(points[0].shared[0]) - others.shape[1]
    at = torch.cat([uncertain_points(logits.detach(), candidates, num_uncertain), others], 1)
    # Each ground-truth mask is sampled for all its predictions together, not copied for each.
    gt_maps = torch.cat([of_clip.transpose(0, 1).flatten(0, 1) for of_clip in gt_masks])[:, None]
    gt_values = sample_points(gt_maps, at.view(len(gt_maps), -1, 2)).view(at.shape[:2])
    values = bce_and_dice(sample_points(logits[:, None], at)[:, 0], gt_values)
    by_clip = torch.cat(weights)
    bce, dice = ((value.view(by_clip.shape) * by_clip).sum(0).split(sizes) for value in values)
    return torch.stack([part.sum() for part in bce]), torch.stack([part.sum() for part in dice])


@dataclass(frozen=True)
class Supervision:
    """What a method's predictions cost: each layer is matched and supervised alike."""

    classes: SoftmaxClasses | FocalClasses  # how classes are scored
    # Of cls, mask and dice, in the matching cost as in the loss (lambda_c, lambda_m, lambda_D).
    weights: Mapping[str, float]
    num_points: int  # of a mask, in cost and loss
    oversample_ratio: float  # k in Sec. 3.1 of PointRend
    importance_ratio: float  # beta in Sec. 3.1 of PointRend
    host_mask_loss: bool  # multiply the mask loss by T, as the host does
    lambda_e: float = 0.0  # weight of the cross-frame mask losses (Eq. 6 and 7)
    cross_frame_mean: bool = False  # take their mean over the other frames, not the sum

    def losses(
        self, layers: Sequence[LayerOutput], mask_features: Tensor, targets: Sequence[ClipTargets], norms: Normalisers
    ) -> dict[str, Tensor]:
        """Weighted losses: loss_cls, loss_mask and loss_dice, of earlier predictions under `d<i>.`.

        The last layer comes last; `mask_features` are (B, T, C, H, W) float.
        """
        cls_logits = full_precision(torch.stack([layer.cls_logits for layer in layers], 1))
        embeds = full_precision(torch.stack([layer.mask_embeds for layer in layers], 1))
        num_layers, num_frames = embeds.shape[1:3]
        others = num_frames - 1 if self.cross_frame_mean else min(num_frames - 1, 1)
        cross_weight = self.lambda_e / others if others else 0.0
        # The initial predictions have one query for all frames, so theirs are own-frame losses alone.
        sizes = [1, *[num_frames if cross_weight else 1] * (num_layers - 1)]
        points = [self._draw(target, sizes, like=embeds) for target in targets]
        queries = self._match(cls_logits, embeds, mask_features, targets, points)
        gt_masks = [target.gt_masks.to(mask_features) for target in targets]
        mask, dice = mask_losses(embeds, queries, mask_features, gt_masks, points, cross_weight=cross_weight)
        cls = self._cls_losses(cls_logits, queries, targets)
        mask = mask * (num_frames if self.host_mask_loss else 1)
        sums = {
            "loss_cls": self.weights["cls"] * cls / self.classes.divisor(norms),
            "loss_mask": self.weights["mask"] * mask / norms.num_instances,
            "loss_dice": self.weights["dice"] * dice / norms.num_instances,
        }
        prefixes = [f"d{i}." for i in range(len(layers) - 1)] + [""]
        return {prefix + name: value for name, values in sums.items() for prefix, value in zip(prefixes, values)}

    def _draw(self, target: ClipTargets, sizes: list[int], *, like: Tensor) -> ClipPoints:
        """Draw the points of a clip in the host's order, in each layer for so many of G."""
        num_candidates = int(self.oversample_ratio * self.num_points)
        num_rest = self.num_points - int(self.importance_ratio * self.num_points)
        (num_instances, num_frames), layers = target.gt_masks.shape[:2], []
        for layer, size in enumerate(sizes):
            draw = partial(uniform_points, like=like, generator=target.generator(layer))
            shape = num_frames, size, num_instances
            layers.append((draw(self.num_points), draw(*shape, num_candidates), draw(*shape, num_rest)))
        shared, candidates, rest = zip(*layers)
        return ClipPoints(shared, torch.cat(candidates, 1), torch.cat(rest, 1), sizes)

    def _cls_losses(self, cls_logits: Tensor, queries: Sequence[Tensor], targets: Sequence[ClipTargets]) -> Tensor:
        """Class loss of every layer, summed over clips and queries: (layers,) float."""
        no_class = self.classes.probs(cls_logits[:0]).shape[-1] - 1
        num_clips, num_layers, num_queries = cls_logits.shape[:3]
        # One place more than queries, for instances without one: no look at what was found, which a GPU would wait for.
        size = (num_clips, num_layers, num_queries + 1)
        classes = torch.full(size, no_class, dtype=torch.long, device=cls_logits.device)
        for of_clip, found, target in zip(classes, queries, targets):
            of_clip.scatter_(1, found.where(found >= 0, num_queries), target.labels.expand(num_layers, -1))
        by_layer = zip(cls_logits.unbind(1), classes[..., :-1].unbind(1))
        return torch.stack([self.classes.loss(logits.flatten(0, 1), right.flatten()) for logits, right in by_layer])

    @torch.no_grad()
    def _match(
        self,
        cls_logits: Tensor,
        embeds: Tensor,
        mask_features: Tensor,
        targets: Sequence[ClipTargets],
        points: Sequence[ClipPoints],
    ) -> list[Tensor]:
        """Match every layer of every clip by Eq. (4): the query of each instance, (layers, M) long for each clip.

        Logits are (B, layers, N, K or K + 1), embeddings (B, layers, T, N, C), features (B, T, C, H, W) float.
        """
        costs = []
        all_probs = self.classes.probs(cls_logits)
        for probs, of_clip, features, target, drawn in zip(all_probs, embeds, mask_features, targets, points):
            mask_logits = torch.einsum("ltnc,tchw->lnthw", of_clip, features)
            mask, dice = mask_cost(mask_logits, target.gt_masks.to(mask_logits), drawn.shared)
            of_masks = self.weights["mask"] * mask + self.weights["dice"] * dice
            costs.append(of_masks - self.weights["cls"] * probs[..., target.labels])
        return match_instances(costs, [target.video for target in targets])
