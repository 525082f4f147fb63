"""What a decoder reads and what it gives: features of frames, predictions of a layer, masks; and who asks for them.

Shape letters:
    F  frames, of one or several clips    B  clips    T  frames of a clip
    N  instance queries    K  classes (a layer's logits may have one more, no-object)    C  channels
    H, W  height and width of the mask features (stride 4)
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from mmdet.structures import TrackDataSample
from mmdet.structures.mask import mask2bbox
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from ifrvis.models.attention import Level
    from ifrvis.models.losses import Supervision
    from ifrvis.models.seqformer.losses import BoxSupervision

FRAMES_PER_CHUNK = 16  # that `predict` encodes at once


def full_precision(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@dataclass(frozen=True)
class FrameFeatures:
    """The pixel decoder's output; each frame's is independent of the other frames."""

    mask_features: Tensor  # (F, C, H, W) float
    # The pyramid from low to high resolution (strides 32, 16, 8), each (F, C, H_l, W_l) float.
    memories: Sequence[Tensor]

    @staticmethod
    def cat(parts: Sequence["FrameFeatures"]) -> "FrameFeatures":
        """Features of consecutive groups of frames as one."""
        memories = [torch.cat(level) for level in zip(*(part.memories for part in parts))]
        return FrameFeatures(torch.cat([part.mask_features for part in parts]), memories)


class LayerOutput(NamedTuple):
    """Predictions after one decoder layer, masks still as embeddings: ten layers of full masks would not fit."""

    cls_logits: Tensor  # (B, N, K or K + 1) float
    mask_embeds: Tensor  # (B, T, N, C) float, whose product with a frame's mask features is its mask logits


class MaskDecoder:
    """How mask embeddings become masks: products with features at stride 4, as Mask2Former's, unless a head has others.

    An embedding of zeros gives logits of zero, an empty mask.
    """

    linear = True  # whether the mean of embeddings gives the mean of their mask logits

    def logits(self, embeds: Tensor, features: Tensor) -> Tensor:
        """(..., N, C) embeddings and (..., C', h, w) mask features of their frames to (..., N, h, w) float."""
        return full_precision(torch.einsum("...nc,...chw->...nhw", embeds, features))

    def output(
        self, logits: Tensor, padded_size: Sequence[int], image_size: Sequence[int], output_size: Sequence[int]
    ) -> Tensor:
        """Mask logits at the output size, (N, *output_size) float, in two steps as in the official inference.

        Args:
            logits: (N, h, w) float, of a padded frame.
            padded_size: Height and width of the network's input.
            image_size: Height and width of the frame in it, top left.
            output_size: Height and width of the result; a mask is where it is above zero.
        """
        logits = F.interpolate(logits[:, None], tuple(padded_size), mode="bilinear", align_corners=False)
        logits = logits[..., : image_size[0], : image_size[1]]
        if logits.shape[2:] != tuple(output_size):  # the step to its own size would take as long as the first
            logits = F.interpolate(logits, tuple(output_size), mode="bilinear", align_corners=False)
        return logits[:, 0]


class VideoHead(ABC):
    """A head that decodes clips and whole videos: what inference asks of it."""

    num_classes: int  # K
    width: int  # C
    topk: int  # results of `predict` for a video, out of all pairs of query and class
    masks = MaskDecoder()  # what makes masks of embeddings and features
    # How it is trained; by its weights of cls, mask and dice views are matched, too.
    supervision: "Supervision | BoxSupervision"

    @abstractmethod
    def bytes_per_frame(self, pixels: int) -> float:
        """What inference keeps of each frame of so many pixels, with padding, beside its mask features."""

    @abstractmethod
    def encode_frames(self, feats: Sequence[Tensor], sizes: Sequence[Sequence[int]]) -> FrameFeatures:
        """Features of frames, each independent of the others, of backbone features, four of (F, C_i, H_i, W_i).

        `sizes` are height and width of each clip's frames in pixels, before padding; one where all have the same.
        """

    @abstractmethod
    def levels(self, frames: FrameFeatures) -> list["Level"]:
        """What the decoder reads of frames, low resolution first; the last one's mask features are at stride 8."""

    @abstractmethod
    def decode_clips(self, levels: Sequence["Level"], num_frames: int, stride: int = 1) -> LayerOutput:
        """The last prediction for clips that may share frames: each begins `stride` frames after the one before.

        Levels are of F = (B - 1) stride + T frames; `num_frames` is T.
        """

    def class_probs(self, cls_logits: Tensor) -> Tensor:
        """Class probabilities without no-object, (N, K) in [0, 1]."""
        return self.supervision.classes.probs(cls_logits)[:, :-1]

    def kept_queries(self, cls_logits: Tensor) -> Tensor:
        """The queries of a clip that are objects, (N,) bool."""
        return self.supervision.classes.kept(cls_logits)

    @torch.no_grad()
    def predict(self, x: Sequence[Tensor], data_samples: TrackDataSample, rescale: bool = True) -> list[InstanceData]:
        """The best pairs of query and class of a video in every frame, as the host returns them.

        Backbone features are four of (T, C_i, H_i, W_i). Per frame there are masks (topk, height, width) bool, at
        ori_shape or, without `rescale`, at img_shape, bboxes, labels, scores and instances_id.
        """
        metas = [frame.metainfo for frame in data_samples.video_data_samples]
        sizes, chunks = [metas[0]["img_shape"][:2]], zip(*(level.split(FRAMES_PER_CHUNK) for level in x))
        frames = FrameFeatures.cat([self.encode_frames(chunk, sizes) for chunk in chunks])
        last = self.decode_clips(self.levels(frames), len(frames.mask_features))
        probs = self.class_probs(full_precision(last.cls_logits[0]))
        scores, index = probs.flatten().topk(min(self.topk, probs.numel()))
        found = {"labels": index % self.num_classes, "scores": scores, "instances_id": torch.arange(len(scores))}
        results = []
        for meta, embeds, features in zip(metas, last.mask_embeds[0], frames.mask_features):
            logits = self.masks.logits(embeds[index // self.num_classes], features)
            size = meta["ori_shape" if rescale else "img_shape"][:2]
            masks = self.masks.output(logits, meta["batch_input_shape"], meta["img_shape"][:2], size) > 0
            results.append(InstanceData(masks=masks, bboxes=mask2bbox(masks), **found))
        return results
