"""What a training clip is compared with: its instances, their matching with queries, its normalisers, its draws.

Shape letters:
    T  frames of a clip    M  instances seen in the clip    Q  queries
    H, W  height and width of the padded frames
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures import TrackDataSample
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Generator, Tensor

from ifrvis.errors import UserError


class NotFiniteLossError(UserError):
    """The loss, a cost of matching, or the gradient is infinite or not a number."""


@dataclass(frozen=True)
class ClipTargets:
    """Ground truth of one clip."""

    labels: Tensor  # (M,) long
    gt_masks: Tensor  # (M, T, H, W) float in {0, 1}; all 0 in a frame where an instance is absent
    video: str  # how messages name the clip's video, and the iteration where there is a draw key
    # Seed, iteration and position in the global batch; None without a training loop that sets it.
    draw_key: Sequence[int] | None

    def generator(self, layer: int) -> Generator | None:
        """The source of a layer's draws, on the device of the masks; None means torch's global one.

        Hashed, not seeded by a sum, so that neighbouring keys share nothing. A GPU draws other numbers of the same key.
        """
        if self.draw_key is None:
            return None
        digest = hashlib.sha256(repr((*map(int, self.draw_key), layer)).encode()).digest()
        return Generator(self.gt_masks.device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class Normalisers:
    """What losses are divided by: instances (at least 1), those with a class target, and clips of the global batch."""

    num_instances: float
    num_classed: float
    num_clips: float


def clip_targets(clip: TrackDataSample, device: torch.device | str, *, absent_class: int | None = None) -> ClipTargets:
    """Collect the instances of a clip over its frames, in the order of their ids; the clip is left as it was.

    It is as the host packs it: per frame `gt_instances` with labels, masks and instances_ids. `absent_class` is the
    class target of an instance that the last frame does not show; its own class if None.
    """
    frames = [frame.gt_instances for frame in clip.video_data_samples]
    # The host has moved labels to the GPU: one look at each frame's, and all that follows on the CPU.
    labels = {id_: label for f in frames for id_, label in zip(f.instances_ids.tolist(), f.labels.tolist())}
    gt_masks = _stack_masks(frames, sorted(labels))
    seen = gt_masks.flatten(2).any(2)  # absent from every frame of the clip: nothing to learn, as in the official code
    clip_labels = torch.tensor([labels[id_] for id_ in sorted(labels)], dtype=torch.long)
    if absent_class is not None:
        clip_labels = torch.where(seen[:, -1], clip_labels, absent_class)
    kept = seen.any(1)
    meta = clip.video_data_samples[0].metainfo
    on_device = clip_labels[kept].to(device), gt_masks[kept].to(device).float()
    return ClipTargets(*on_device, _video_name(meta), meta.get("draw_key"))


def _stack_masks(frames: Sequence[InstanceData], ids: list[int]) -> Tensor:
    """Masks as (M, T, H, W) bool, on the CPU."""
    rows = {id_: row for row, id_ in enumerate(ids)}
    masks = [f.masks.cpu() if isinstance(f.masks, Tensor) else f.masks.to_tensor(torch.bool, "cpu") for f in frames]
    stacked = torch.zeros(len(ids), len(frames), *masks[0].shape[-2:], dtype=torch.bool)
    for t, (frame, frame_masks) in enumerate(zip(frames, masks)):
        for id_, mask in zip(frame.instances_ids.tolist(), frame_masks):
            stacked[rows[id_], t] = mask
    return stacked


def _video_name(meta: dict[str, Any]) -> str:
    names = (meta[key] for key in ("video", "video_id", "img_path") if key in meta)
    iteration = f" in iteration {meta['draw_key'][1]}" if "draw_key" in meta else ""
    return f"video {next(names, 'without a name')}{iteration}"


def batch_normalisers(
    clips: Sequence[TrackDataSample], targets: Sequence[ClipTargets], *, absent_class: int | None = None
) -> Normalisers:
    """Normalisers of the global batch that these clips belong to.

    A training loop puts the counts of the whole global batch as `batch_num_instances` and `batch_num_clips` into the
    meta information of a clip's first frame (and `batch_num_classed` where some classes are absent); the losses of
    all micro-batches and processes then add up to those of one big batch. Without them (the host's Runner) instances
    are counted here and averaged over processes.
    """
    meta = clips[0].video_data_samples[0].metainfo
    if "batch_num_instances" in meta:
        num_instances = meta["batch_num_instances"]
        num_classed = num_instances if absent_class is None else meta["batch_num_classed"]
        return Normalisers(max(num_instances, 1), num_classed, meta["batch_num_clips"])
    labels = torch.cat([target.labels for target in targets])
    num_classed = len(labels) - int((labels == (-1 if absent_class is None else absent_class)).sum())
    num_instances = float(reduce_mean(labels.new_tensor(len(labels), dtype=torch.float)))
    return Normalisers(max(num_instances, 1.0), num_classed, len(clips))


def match_instances(costs: Sequence[Tensor], videos: Sequence[str]) -> list[Tensor]:
    """The assignments of queries to instances with the least total costs; NotFiniteLossError if a cost is not finite.

    Costs are (layers, Q, M) for each clip, M may differ; they go to the CPU together, and what is found comes back
    together: (layers, M) long, the query of each instance, -1 for the worst of more instances than queries.
    """
    sizes = [each.numel() for each in costs]
    on_cpu = torch.cat([each.flatten() for each in costs]).cpu().split(sizes)
    found = [_assigned(flat.view(each.shape), video) for flat, each, video in zip(on_cpu, costs, videos)]
    joined = torch.cat([each.flatten() for each in found]).to(costs[0].device)
    return [part.view(each.shape) for part, each in zip(joined.split([each.numel() for each in found]), found)]


def _assigned(costs: Tensor, video: str) -> Tensor:
    queries = torch.full((len(costs), costs.shape[2]), -1)
    for layer, of_layer in enumerate(costs):
        if not torch.isfinite(of_layer).all():
            raise NotFiniteLossError(
                f"Lower train.optimizer.lr, set train.precision=fp32 if it is amp, or look at the frames of {video}: "
                f"the matching cost of prediction {layer} is not finite there."
            )
        rows, columns = linear_sum_assignment(of_layer.numpy())
        queries[layer, torch.from_numpy(columns)] = torch.from_numpy(rows)
    return queries
