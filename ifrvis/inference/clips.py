"""Tracks of a video decoded as a whole, or as overlapping clips that are joined (Hwang et al., IFC, Sec. 3.3).

An instance of a new clip continues the track whose masks of the last clips it overlaps most in the frames they share.
A track's mask in a frame is the mean over clips of its logits, its class the mean of its probabilities. Where logits
are linear in embeddings, a track keeps the sum of its embeddings in each frame, and memory does not depend on the
overlap; elsewhere it keeps those of every clip. The last clips alone keep masks: memory is linear in the video.

Shape letters:
    T  frames of a clip    I  instances of a clip, or some of the tracks    S  instances of a stored clip
    N  tracks, or queries that were decoded with the whole video    K  classes
    C  channels    h, w  size of a frame at stride 8, L = h w
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ifrvis.models.attention import Level
from ifrvis.models.decoding import MaskDecoder, VideoHead, full_precision

FRAMES_TOGETHER = 80  # of the clips that are decoded together
_Sum = tuple[Tensor, int]  # and of how many it is


@dataclass(frozen=True)
class WholeTracks:
    """Queries that were decoded with the whole video."""

    class_probs: Tensor  # (N, K) float in [0, 1]
    mask_embeds: Tensor  # (frames of the video, N, C) float
    masks: MaskDecoder

    def mask_logits(self, frame: int, features: Tensor, instances: Tensor) -> Tensor:
        """Mask logits of (I,) instances in a frame with features (C, h, w): (I, h, w) float; zero is an empty mask."""
        return self.masks.logits(self.mask_embeds[frame, instances], features)


class _StoredClip(NamedTuple):
    start: int
    tracks: list[int]  # the track of each instance
    masks: Tensor  # (S, T, L) float in [0, 1]


class ClipTracker:
    """Joins the instances of clips, which come in order, to tracks; itself what results, as `WholeTracks`.

    A new clip is compared with `num_stored` before it; above `min_overlap`, a soft IoU, an instance continues a track.
    """

    def __init__(
        self, num_frames: int, num_classes: int, masks: MaskDecoder, *, num_stored: int, min_overlap: float
    ) -> None:
        self._masks = masks
        self._stored: deque[_StoredClip] = deque(maxlen=num_stored)
        self._min_overlap = min_overlap
        self._probs: list[_Sum] = []  # of each track, over its clips
        self._embeds: list[dict[int, list[_Sum]]] = [{} for _ in range(num_frames)]  # of each track in each frame
        self._no_probs = torch.zeros(num_classes)

    def add(self, start: int, class_probs: Tensor, embeds: Tensor, features: Tensor) -> None:
        """The next clip, from frame `start`: probabilities (I, K), embeds (T, I, C), stride-8 features (T, C, h, w)."""
        self._no_probs = self._no_probs.to(class_probs)
        embeds = full_precision(embeds)
        masks = self._masks.logits(embeds, features).flatten(2).sigmoid_().transpose(0, 1)  # (I, T, L)
        tracks = self._assign(self._overlaps(start, masks), len(masks))
        self._stored.append(_StoredClip(start, tracks, masks))
        for i, track in enumerate(tracks):
            if track == len(self._probs):
                self._probs.append((self._no_probs, 0))
            total, count = self._probs[track]
            self._probs[track] = total + class_probs[i], count + 1
            for t, embed in enumerate(embeds[:, i], start):
                kept = self._embeds[t].setdefault(track, [])
                if self._masks.linear and kept:
                    kept[0] = kept[0][0] + embed, kept[0][1] + 1
                else:
                    kept.append((embed.clone(), 1))  # not a view of the whole clip

    def _overlaps(self, start: int, masks: Tensor) -> NDArray[np.floating]:
        """Soft IoU of tracks (N) with instances, (N, I), averaged over the stored clips that share frames with both."""
        total, count = np.zeros((len(self._probs), len(masks))), np.zeros((len(self._probs), 1))
        for stored in self._stored:
            offset = start - stored.start
            before = stored.masks[:, offset:].flatten(1)
            if not before.numel():
                continue
            now = masks[:, : stored.masks.shape[1] - offset].flatten(1)
            both = before @ now.T
            union = before.sum(1, keepdim=True) + now.sum(1) - both
            total[stored.tracks] += (both / union).cpu().numpy()
            count[stored.tracks] += 1
        return total / np.maximum(count, 1)

    def _assign(self, overlaps: NDArray[np.floating], num_instances: int) -> list[int]:
        """The track of each instance; those that continue none open new ones, numbered on."""
        overlaps = np.where(overlaps > self._min_overlap, overlaps, 0.0)
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        found = {column: int(row) for row, column in zip(rows, columns) if overlaps[row, column] > 0}
        new = iter(range(len(self._probs), len(self._probs) + num_instances))
        return [found[i] if i in found else next(new) for i in range(num_instances)]

    @property
    def class_probs(self) -> Tensor:
        """(N, K) float in [0, 1], the mean over a track's clips."""
        if not self._probs:
            return self._no_probs.new_zeros(0, len(self._no_probs))
        return torch.stack([total / count for total, count in self._probs])

    def mask_logits(self, frame: int, features: Tensor, instances: Tensor) -> Tensor:
        """As of `WholeTracks`: the mean over the clips that have the track in that frame."""
        kept = [self._embeds[frame].get(track, []) for track in instances.tolist()]
        total = features.new_zeros(len(kept), *features.shape[-2:])
        means = ([embed / number for embed, number in of_track] for of_track in kept)
        for embeds in zip_longest(*means):  # one of each track at a time
            found = next(embed for embed in embeds if embed is not None)
            dense = torch.stack([torch.zeros_like(found) if embed is None else embed for embed in embeds])
            total = total + self._masks.logits(dense, features)
        return total / total.new_tensor([max(len(of_track), 1) for of_track in kept])[:, None, None]


Tracks = WholeTracks | ClipTracker


def clip_starts(num_frames: int, clip_frames: int, stride: int) -> list[int]:
    """First frames of clips; where they do not end with the video, one more is shifted back to do so."""
    assert 1 <= clip_frames <= num_frames
    last = num_frames - clip_frames
    return [*range(0, last, stride), last]


def track_clips(
    head: VideoHead, levels: Sequence[Level], inference: Mapping[str, Any], *, on_frames: Callable[[int], None]
) -> ClipTracker:
    """Decode a video clip by clip and join what is found.

    `inference` has `clip_frames` (T, or the video's length if that is less), `stride` and `min_overlap`; `on_frames` is
    called with how many frames more are behind.
    """
    num_frames, stride, overlap = len(levels[0].tokens), inference["stride"], inference["min_overlap"]
    clip_frames = min(inference["clip_frames"], num_frames)
    tracker = ClipTracker(num_frames, head.num_classes, head.masks, num_stored=clip_frames, min_overlap=overlap)
    features, behind = levels[-1].mask_features, 0
    together = max(1, FRAMES_TOGETHER // clip_frames)  # of consecutive clips that are `stride` apart
    numbered = enumerate(clip_starts(num_frames, clip_frames, stride))
    for _, of_group in groupby(numbered, key=lambda each: (each[1] % stride, each[0] // together)):
        starts = [start for _, start in of_group]
        group = slice(starts[0], starts[-1] + clip_frames)
        output = head.decode_clips([level[group] for level in levels], clip_frames, stride)
        for start, logits, embeds in zip(starts, full_precision(output.cls_logits), output.mask_embeds):
            kept = head.kept_queries(logits)
            probs, embeds = head.class_probs(logits)[kept], embeds[:, kept]
            tracker.add(start, probs, embeds, features[start : start + clip_frames])
        on_frames(group.stop - behind)
        behind = group.stop
    return tracker
