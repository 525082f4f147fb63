"""Inference on whole videos: all frames at once through the decoder, masks of the kept queries frame by frame.

The official inference: softmax without no-object, the best pairs of query and class for AP, stride-4 logits
resized to the network's input and then to the frame, above zero. Beside them the best queries, each under its best
class, for tracking. Masks at full resolution exist for one frame's kept queries at a time.

Shape letters:
    T  frames of a video    N  instance queries    K  classes
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from numpy.typing import NDArray
from torch import Tensor, nn

from ifrvis.datasets.clips import read_frame, resized_size
from ifrvis.datasets.rle import Rle, encode
from ifrvis.datasets.ytvis import Annotations, Id, Video
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import Scored, VideoPredictions
from ifrvis.models.decoding import DecodedClip, binary_masks

__all__ = ["best_pairs", "best_queries", "predict_split"]


def predict_split(
    model: nn.Module,
    annotations: Annotations,
    frames_root: Path,
    inference: Mapping[str, Any],
    *,
    on_video: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[VideoPredictions]:
    """Predictions for every video of a split, in its order.

    Args:
        model: A video model whose head has `decode_clip`.
        annotations: The videos and categories; the tracks are not looked at.
        frames_root: Folder that the file names of frames are relative to.
        inference: `side` and `max_side` of the resized frames, in pixels; `topk`, how many to keep of each list.
        on_video: Called after each video with how many are done, and how many there are.

    Raises:
        UserError: If a frame cannot be used, or the model's scores are not finite.
    """
    assert inference["mode"] == "whole"
    model.eval()
    for done, video in enumerate(annotations.videos, start=1):
        yield _predict_video(model, video, frames_root, inference, list(annotations.labels))
        on_video(done, len(annotations.videos))


@torch.inference_mode()
def _predict_video(
    model: nn.Module, video: Video, frames_root: Path, inference: Mapping[str, Any], category_ids: list[Id]
) -> VideoPredictions:
    size = resized_size(video.height, video.width, side=inference["side"], max_side=inference["max_side"])
    inputs = _network_input(model, video, frames_root, size)
    decoded = model.track_head.decode_clip(model.backbone(inputs))
    class_probs = decoded.class_probs.cpu().numpy()
    if not np.isfinite(class_probs).all():
        raise UserError(f"Check the weights: the model's scores for video {video.id!r} are not finite.")
    pairs = best_pairs(class_probs, inference["topk"])
    singles = best_queries(class_probs, inference["topk"])
    queries = sorted({query for query, _ in [*pairs, *singles]})
    masks = _kept_masks(decoded, queries, tuple(inputs.shape[-2:]), size, video)
    by_class, by_query = (
        tuple(Scored(query, category_ids[label], float(class_probs[query, label])) for query, label in kept)
        for kept in (pairs, singles)
    )
    return VideoPredictions(video.id, video.height, video.width, video.length, masks, by_class, by_query)


def best_pairs(class_probs: NDArray[np.floating], k: int) -> list[tuple[int, int]]:
    """The k best pairs of query and class, best first; of equal ones, the first query and class.

    Args:
        class_probs: (N, K) float.
        k: How many, at most.
    """
    order = np.argsort(-class_probs, axis=None, kind="stable")[:k]
    return [divmod(int(index), class_probs.shape[1]) for index in order]


def best_queries(class_probs: NDArray[np.floating], k: int) -> list[tuple[int, int]]:
    """The k best queries, each with its best class; order and arguments as in `best_pairs`."""
    order = np.argsort(-class_probs.max(axis=1), kind="stable")[:k]
    return [(int(query), int(class_probs[query].argmax())) for query in order]


def _network_input(model: nn.Module, video: Video, frames_root: Path, size: tuple[int, int]) -> Tensor:
    """All frames, resized to `size`, normalised and padded: (T, 3, height, width) float."""
    height, width = size
    frames = np.empty((video.length, height, width, 3), np.uint8)
    for t in range(video.length):
        frame = read_frame(frames_root, video, t)
        frames[t] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    sample = TrackDataSample()
    sample.video_data_samples = [DetDataSample() for _ in range(video.length)]  # the host wants one a frame
    inputs = [torch.from_numpy(frames).permute(0, 3, 1, 2)]
    return model.data_preprocessor({"inputs": inputs, "data_samples": [sample]}, training=False)["inputs"][0]


def _kept_masks(
    decoded: DecodedClip, queries: list[int], padded_size: tuple[int, ...], size: tuple[int, int], video: Video
) -> dict[int, tuple[Rle | None, ...]]:
    index = torch.tensor(queries, device=decoded.class_probs.device)
    masks: dict[int, list[Rle | None]] = {query: [] for query in queries}
    for t in range(video.length):
        logits = decoded.mask_logits(index, t)
        frame_masks = binary_masks(logits, padded_size, size, (video.height, video.width)).cpu().numpy()
        for query, mask in zip(queries, frame_masks):
            masks[query].append(encode(mask) if mask.any() else None)
    return {query: tuple(of_query) for query, of_query in masks.items()}
