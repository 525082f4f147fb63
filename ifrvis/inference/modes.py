"""From a trained model and a video to the predictions that are scored, in every mode.

`whole` decodes all frames together, `clips` decodes overlapping clips and joins them; `tta` does either at several
sizes and averages. All end alike: the best pairs of instance and class for AP, the best instances, each under its best
class, for tracking; their stride-4 logits resized to the network's input and then to the frame, above zero. Masks at
full resolution exist for one frame's kept instances at a time.

Shape letters:
    T  frames of a video    N  instances (queries or tracks)    K  classes    C  channels
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.models.mot import BaseMOTModel
from numpy.typing import NDArray
from torch import Tensor

from ifrvis.datasets import rle
from ifrvis.datasets.rle import Rle
from ifrvis.datasets.ytvis import Annotations, Id
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import MOST_QUERIES, Scored, VideoPredictions
from ifrvis.inference.background import in_background
from ifrvis.inference.clips import WholeTracks, track_clips
from ifrvis.inference.encoding import View, check_memory, encode, views_of
from ifrvis.inference.sources import FrameSource, dataset_source
from ifrvis.inference.tta import MatchedTracks, average_probs, match, pivot_of, pivot_position
from ifrvis.models.decoding import MaskDecoder, full_precision

Advance = Callable[[int], None]  # by so many frames


def predict_split(
    model: BaseMOTModel, annotations: Annotations, frames_root: Path, inference: Mapping[str, Any], *, seed: int = 0
) -> Iterator[VideoPredictions]:
    """Predictions for every video of a split, in its order; UserError as in `predict_video`.

    File names of frames are relative to `frames_root`; tracks are not looked at. Other arguments as in `predict_video`.
    """
    for video in annotations.videos:
        source = dataset_source(video, frames_root)
        yield predict_video(model, source, inference, list(annotations.labels), seed=seed)


@torch.inference_mode()
def predict_video(
    model: BaseMOTModel,  # a video model whose head has `levels` and `decode_clips`
    source: FrameSource,  # the frames
    # `mode`, `side` and `max_side` (None: no bound) of the resized frames in pixels, `topk`, how many to keep of each
    # list (None: all pairs); `truncate`, `tta` and `flip` (`encoding.views_of`); for clips what `track_clips` asks for,
    # and `min_class_score` of pairs; `recurrence` (False: see `IFRHead.without_recurrence`).
    inference: Mapping[str, Any],
    category_ids: Sequence[Id],  # of the K classes
    *,
    seed: int = 0,  # of the run; it draws the pivot of `tta`
    # What inference may take beside the model; None as in `check_memory`. It changes no result.
    memory_gib: float | None = None,
    # Called as the work goes on, with how many steps are done and how many there are.
    on_frames: Callable[[int, int], None] = lambda done, total: None,
) -> VideoPredictions:
    """Predictions for one video; UserError if a frame cannot be used, the budget is too small, or scores are not
    finite.
    """
    model.eval()
    device = next(model.parameters()).device
    views = views_of(model, source, inference)
    first = pivot_position(len(views), seed=seed, video_id=source.video_id)
    views = [views[first], *views[:first], *views[first + 1 :]]
    room = check_memory(model, source, inference, memory_gib)
    done = 0  # frames that are encoded, decoded and written

    def advance(frames: int) -> None:
        nonlocal done
        done += frames
        on_frames(done, (2 * len(views) + 1) * source.length)

    recurs = nullcontext() if inference.get("recurrence", True) else model.track_head.without_recurrence()
    with torch.autocast(device.type, enabled=device.type == "cuda"), recurs:
        decoded = list(_decoded_views(model, source, views, inference, room, advance))
        tracks = [each.tracks for each in decoded]
        class_probs = (tracks[0].class_probs if len(views) == 1 else average_probs(tracks)).cpu().numpy()
        topk, least = inference["topk"], inference.get("min_class_score")
        pairs, singles = best_pairs(class_probs, topk, least), best_queries(class_probs, topk or MOST_QUERIES)
        masks = _masks(decoded, sorted({query for query, _ in [*pairs, *singles]}), source, advance)
    by_class, by_query = (
        tuple(Scored(query, category_ids[label], float(class_probs[query, label])) for query, label in kept)
        for kept in (pairs, singles)
    )
    return VideoPredictions(source.video_id, source.height, source.width, source.length, masks, by_class, by_query)


def best_pairs(class_probs: NDArray[np.floating], k: int | None, least: float | None = None) -> list[tuple[int, int]]:
    """The k best pairs of instance and class, (N, K), better than `least`, best first; of equal ones the first."""
    order = np.argsort(-class_probs, axis=None, kind="stable")[:k]
    if least is not None:
        order = order[class_probs.ravel()[order] > least]
    return [divmod(int(index), class_probs.shape[1]) for index in order]


def best_queries(class_probs: NDArray[np.floating], k: int) -> list[tuple[int, int]]:
    """The k best instances, each with its best class; order and arguments as in `best_pairs`."""
    order = np.argsort(-class_probs.max(axis=1), kind="stable")[:k]
    return [(int(query), int(class_probs[query].argmax())) for query in order]


@dataclass(frozen=True)
class _DecodedView:
    view: View
    tracks: Any  # Tracks; MatchedTracks where there are several views
    mask_features: Callable[[], Iterator[Tensor]]
    masks: MaskDecoder


def _decoded_views(
    model: BaseMOTModel,
    source: FrameSource,
    views: Sequence[View],
    inference: Mapping[str, Any],
    room: float,
    advance: Advance,
) -> Iterator[_DecodedView]:
    """Views one after the other, the pivot first; levels of one view exist at a time."""
    head, pivot = model.track_head, None
    per_pixel = room / sum(view.pixels for view in views)
    for view in views:
        levels, mask_features = encode(model, source, view, room=per_pixel * view.pixels, on_frames=advance)
        tracks: Any  # as in `_DecodedView`
        if inference["mode"] == "clips":
            tracks = track_clips(head, levels, inference, on_frames=advance)
        else:
            output = head.decode_clips(levels, source.length)
            advance(source.length)
            probs = head.class_probs(full_precision(output.cls_logits[0]))
            tracks = WholeTracks(probs, output.mask_embeds[0], head.masks)
        if not torch.isfinite(tracks.class_probs).all():
            raise UserError(f"Check the weights: the model's scores for video {source.video_id!r} are not finite.")
        if pivot is not None:
            tracks = match(tracks, levels[-1], view, pivot, head.supervision.weights)
        elif len(views) > 1:
            pivot = pivot_of(tracks, levels[-1], view)
            tracks = MatchedTracks(tracks, torch.arange(len(pivot.labels), device=pivot.labels.device))
        del levels
        yield _DecodedView(view, tracks, mask_features, head.masks)


def _masks(
    decoded: Sequence[_DecodedView], queries: list[int], source: FrameSource, advance: Advance
) -> dict[int, tuple[Rle | None, ...]]:
    """Masks of the kept instances, frame by frame."""
    masks: dict[int, list[Rle | None]] = {query: [] for query in queries}
    if queries:
        frames = _frame_masks(decoded, queries, (source.height, source.width))
        for frame in in_background(lambda masks: [rle.encode(m) if m.any() else None for m in masks], frames):
            for of_query, mask in zip(masks.values(), frame):
                of_query.append(mask)
            advance(1)
    return {query: tuple(of_query) for query, of_query in masks.items()}


def _frame_masks(
    decoded: Sequence[_DecodedView], queries: list[int], size: tuple[int, int]
) -> Iterator[NDArray[np.bool_]]:
    """(len(queries), *size) of each frame: logits above zero, or their probabilities averaged over views above .5."""
    for t, features in enumerate(zip(*(each.mask_features() for each in decoded))):
        logits = [_logits(each, x, t, queries, size) for each, x in zip(decoded, features)]
        masks = logits[0] > 0 if len(logits) == 1 else torch.stack(logits).sigmoid().mean(0) > 0.5
        yield masks.cpu().numpy()


def _logits(each: _DecodedView, features: Tensor, t: int, queries: list[int], size: tuple[int, int]) -> Tensor:
    device = each.tracks.class_probs.device
    logits = each.tracks.mask_logits(t, features.to(device), torch.tensor(queries, device=device))
    logits = each.masks.output(logits, each.view.padded, each.view.size, size)
    return logits.flip(-1) if each.view.flip else logits
