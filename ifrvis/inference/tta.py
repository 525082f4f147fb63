"""Test-time augmentation: a video at several sizes, mirrored if asked for, and the results averaged.

One view is the pivot, drawn from the run's seed and the video's id. Its instances, each under its best class and with
its masks above zero, are what those of the other views are matched with by Eq. (4), all of them; class and mask
probabilities of what belongs together are averaged. Masks are compared at all of the pivot's cells at stride 8: no
points are drawn.

Shape letters:
    T  frames    N, M  instances of a view and of the pivot    K  classes    C  channels    P  cells of the pivot
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ifrvis.datasets.ytvis import Id
from ifrvis.errors import UserError
from ifrvis.inference.clips import Tracks
from ifrvis.inference.encoding import View
from ifrvis.models.attention import Level
from ifrvis.models.losses import bce_cost, sample_points

STRIDE = 8  # of the finest level


@dataclass(frozen=True)
class Pivot:
    """What other views are matched with."""

    labels: Tensor  # (M,) long, the best class of each instance
    masks: Sequence[Tensor]  # T of (M, P) bool
    points: Tensor  # (P, 2) float, cells of the pivot as (x, y) in [0, 1] of the frame as it is, not mirrored


@dataclass(frozen=True)
class MatchedTracks:
    """Instances of a view in the order of the pivot's; `index` is -1, and the mask empty, where one has no partner."""

    tracks: Tracks
    index: Tensor

    @property
    def class_probs(self) -> Tensor:
        """(M, K) float; zero without partner."""
        probs = self.tracks.class_probs
        return torch.cat([probs, probs.new_zeros(1, probs.shape[1])])[self.index]  # -1 is the row of zeros

    def mask_logits(self, frame: int, features: Tensor, instances: Tensor) -> Tensor:
        """As of `WholeTracks`; zero without partner."""
        index = self.index[instances]
        if not len(self.tracks.class_probs):
            return features.new_zeros(len(index), *features.shape[-2:])
        logits = self.tracks.mask_logits(frame, features, index.clamp(min=0))
        return logits.masked_fill((index < 0)[:, None, None], 0.0)


def pivot_position(num_views: int, *, seed: int, video_id: Id) -> int:
    """Which view is the pivot: a draw from the run's seed and the video's id."""
    digest = hashlib.sha256(f"{seed}:{video_id!r}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % num_views


def pivot_of(tracks: Tracks, level: Level, view: View) -> Pivot:
    """The pivot's instances as targets; `level` is its finest."""
    rows, columns = (max(1, round(side / STRIDE)) for side in view.size)  # the rest is padding
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    centres = torch.stack([x.flatten(), y.flatten()], 1) + 0.5
    cells = centres * STRIDE / torch.tensor(view.size[::-1])
    if view.flip:
        cells[:, 0] = 1.0 - cells[:, 0]
    logits = (_mask_logits(tracks, level, t) for t in range(len(level.mask_features)))
    masks = [(each[:, :rows, :columns] > 0).flatten(1) for each in logits]
    return Pivot(tracks.class_probs.argmax(1), masks, cells.to(level.mask_features))


def match(tracks: Tracks, level: Level, view: View, pivot: Pivot, weights: Mapping[str, float]) -> MatchedTracks:
    """The partners that the pivot's instances have in another view, by the cost of Eq. (4); UserError if the model's
    predictions are not finite.

    `level` is that view's finest; `weights` are those of cls, mask and dice.
    """
    points = pivot.points.clone()
    if view.flip:
        points[:, 0] = 1.0 - points[:, 0]
    points *= points.new_tensor([size / padded for size, padded in zip(view.size, view.padded)][::-1])
    bce = overlap = sizes = points.new_zeros(())
    for t, masks in enumerate(pivot.masks):
        logits = sample_points(_mask_logits(tracks, level, t)[None], points[None])[0]
        targets = masks.to(logits)
        probs = logits.sigmoid()
        bce = bce + bce_cost(logits, targets) / len(pivot.masks)
        overlap = overlap + probs @ targets.T
        sizes = sizes + probs.sum(1, keepdim=True) + targets.sum(1)
    dice = 1.0 - (2.0 * overlap + 1.0) / (sizes + 1.0)
    costs = weights["mask"] * bce + weights["dice"] * dice - weights["cls"] * tracks.class_probs[:, pivot.labels]
    if not torch.isfinite(costs).all():
        raise UserError("Check the weights: masks of the model are not finite.")
    rows, columns = linear_sum_assignment(costs.cpu().numpy())
    index = torch.full((len(pivot.labels),), -1)
    index[torch.from_numpy(columns)] = torch.from_numpy(rows)
    return MatchedTracks(tracks, index.to(costs.device))


def average_probs(views: Sequence[MatchedTracks]) -> Tensor:
    """Class probabilities averaged over the views that have an instance: (M, K) float."""
    counts = torch.stack([view.index >= 0 for view in views]).sum(0)
    return torch.stack([view.class_probs for view in views]).sum(0) / counts[:, None]


def _mask_logits(tracks: Tracks, level: Level, frame: int) -> Tensor:
    """Mask logits in a frame at stride 8, (N, h, w) float."""
    everything = torch.arange(len(tracks.class_probs), device=tracks.class_probs.device)
    return tracks.mask_logits(frame, level.mask_features[frame], everything)
