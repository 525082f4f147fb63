"""What a decoder reads and what it gives: features of frames, predictions of a layer, a decoded clip.

Shape letters:
    F  frames, of one or several clips    B  clips    T  frames of a clip
    N  instance queries    K  classes (a layer's logits may have one more, no-object)    C  channels
    H, W  height and width of the mask features (stride 4)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from mmdet.structures import TrackDataSample
from mmdet.structures.mask import mask2bbox
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from ifrvis.models.attention import Level


def full_precision(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@dataclass(frozen=True)
class FrameFeatures:
    """The pixel decoder's output; each frame's is independent of the other frames.

    Attributes:
        mask_features: (F, C, H, W) float.
        memories: The pyramid from low to high resolution (strides 32, 16, 8), each (F, C, H_l, W_l) float.
    """

    mask_features: Tensor
    memories: Sequence[Tensor]

    @staticmethod
    def cat(parts: Sequence["FrameFeatures"]) -> "FrameFeatures":
        """Features of consecutive groups of frames as one."""
        if len(parts) == 1:
            return parts[0]
        memories = [torch.cat(level) for level in zip(*(part.memories for part in parts))]
        return FrameFeatures(torch.cat([part.mask_features for part in parts]), memories)

    def __getitem__(self, frames: slice | Tensor) -> "FrameFeatures":
        return FrameFeatures(self.mask_features[frames], [level[frames] for level in self.memories])


class LayerOutput(NamedTuple):
    """Predictions after one decoder layer, masks still as embeddings: ten layers of full masks would not fit.

    cls_logits is (B, N, K or K + 1) float; mask_embeds is (B, T, N, C) float, whose product with the mask features
    of a frame is the mask logits there.
    """

    cls_logits: Tensor
    mask_embeds: Tensor


class MaskDecoder(Protocol):
    """How a head's mask embeddings become masks; an embedding of zeros gives logits of zero, an empty mask."""

    @property
    def linear(self) -> bool:
        """Whether the mean of embeddings gives the mean of their mask logits."""

    def logits(self, embeds: Tensor, features: Tensor) -> Tensor:
        """(..., N, C) embeddings and (..., C', h, w) mask features of their frames to (..., N, h, w) float."""

    def output(
        self, logits: Tensor, padded_size: Sequence[int], image_size: Sequence[int], output_size: Sequence[int]
    ) -> Tensor:
        """Mask logits at the output size; arguments as those of `output_logits`."""


class LinearMasks:
    """Masks that are products of embeddings and features at stride 4, as Mask2Former's."""

    linear = True

    def logits(self, embeds: Tensor, features: Tensor) -> Tensor:
        """See `MaskDecoder`."""
        return full_precision(torch.einsum("...nc,...chw->...nhw", embeds, features))

    def output(
        self, logits: Tensor, padded_size: Sequence[int], image_size: Sequence[int], output_size: Sequence[int]
    ) -> Tensor:
        """See `MaskDecoder`."""
        return output_logits(logits, padded_size, image_size, output_size)


@dataclass(frozen=True)
class DecodedClip:
    """The last prediction for a clip or a whole video.

    Attributes:
        class_probs: (N, K) float in [0, 1], without no-object.
        mask_embeds: (T, N, C) float.
        mask_features: (T, C, H, W) float.
        masks: What makes masks of the two.
    """

    class_probs: Tensor
    mask_embeds: Tensor
    mask_features: Tensor
    masks: MaskDecoder

    def mask_logits(self, queries: Tensor, frame: int) -> Tensor:
        """Mask logits of some queries in one frame, (len(queries), H, W) float at the stride of the features."""
        return self.masks.logits(self.mask_embeds[frame, queries], self.mask_features[frame])

    def top_classes(self, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """The k best pairs of query and class: queries, labels and scores, best first."""
        scores, index = self.class_probs.flatten().topk(min(k, self.class_probs.numel()))
        num_classes = self.class_probs.shape[1]
        return index // num_classes, index % num_classes, scores

    def instances(self, metas: Sequence[Mapping[str, Any]], k: int, *, rescale: bool) -> list[InstanceData]:
        """The k best pairs of query and class in every frame, as the host returns them.

        Args:
            metas: Every frame's batch_input_shape, img_shape and ori_shape.
            k: How many.
            rescale: Masks at ori_shape, else at img_shape.

        Returns:
            Per frame masks (k, height, width) bool, bboxes, labels, scores and instances_id.
        """
        queries, labels, scores = self.top_classes(k)
        results = []
        for t, meta in enumerate(metas):
            size = meta["ori_shape" if rescale else "img_shape"][:2]
            logits = self.mask_logits(queries, t)
            masks = self.masks.output(logits, meta["batch_input_shape"], meta["img_shape"][:2], size) > 0
            found = {"masks": masks, "bboxes": mask2bbox(masks), "labels": labels, "scores": scores}
            results.append(InstanceData(**found, instances_id=torch.arange(len(queries))))
        return results


class VideoHead:
    """What inference asks of a head, and whole videos by it.

    Attributes:
        topk: Results of `predict` for a video, out of all pairs of query and class.
        masks: What makes masks of embeddings and features.
    """

    topk: int
    masks: MaskDecoder

    def encode_frames(self, feats: Sequence[Tensor], sizes: Sequence[Sequence[int]]) -> FrameFeatures:
        """Features of frames, each independent of the others; arguments as for `decode_clip`."""
        raise NotImplementedError

    def levels(self, frames: FrameFeatures) -> list["Level"]:
        """What the decoder reads of frames, low resolution first; the last one's mask features are at stride 8."""
        raise NotImplementedError

    def decode_clips(self, levels: Sequence["Level"], num_frames: int, stride: int = 1) -> LayerOutput:
        """The last prediction for clips of `num_frames`, each `stride` frames after the one before."""
        raise NotImplementedError

    def class_probs(self, cls_logits: Tensor) -> Tensor:
        """Class probabilities without no-object, (N, K) in [0, 1]."""
        raise NotImplementedError

    @torch.no_grad()
    def decode_clip(self, feats: Sequence[Tensor], sizes: Sequence[Sequence[int]] = ()) -> DecodedClip:
        """Decode a clip or a whole video from backbone features.

        Args:
            feats: Four of (T, C_i, H_i, W_i).
            sizes: Height and width of the frames in pixels, before padding, as the only element.
        """
        return self.decode_frames(self.encode_frames(feats, sizes))

    @torch.no_grad()
    def decode_frames(self, frames: FrameFeatures) -> DecodedClip:
        """Decode a clip whose frames went through the pixel decoder before: overlapping clips share that work."""
        last = self.decode_clips(self.levels(frames), len(frames.mask_features))
        class_probs = self.class_probs(full_precision(last.cls_logits[0]))
        return DecodedClip(class_probs, last.mask_embeds[0], frames.mask_features, self.masks)

    @torch.no_grad()
    def predict(self, x: Sequence[Tensor], data_samples: TrackDataSample, rescale: bool = True) -> list[InstanceData]:
        """The best pairs of query and class of a video, frame by frame; see `DecodedClip.instances`.

        Args:
            x: Backbone features, four of (T, C_i, H_i, W_i).
            data_samples: The video's frames.
            rescale: Masks at the original size.
        """
        metas = [frame.metainfo for frame in data_samples.video_data_samples]
        return self.decode_clip(x, [metas[0]["img_shape"]]).instances(metas, self.topk, rescale=rescale)


def output_logits(
    mask_logits: Tensor, padded_size: Sequence[int], image_size: Sequence[int], output_size: Sequence[int]
) -> Tensor:
    """Mask logits at the output size, resized in two steps as in the official inference.

    Args:
        mask_logits: (N, H, W) float at stride 4 of the padded frame.
        padded_size: Height and width of the network's input.
        image_size: Height and width of the frame in it, top left.
        output_size: Height and width of the result.

    Returns:
        (N, *output_size) float; a mask is where they are above zero.
    """
    logits = F.interpolate(mask_logits[:, None], tuple(padded_size), mode="bilinear", align_corners=False)
    logits = logits[..., : image_size[0], : image_size[1]]
    return F.interpolate(logits, tuple(output_size), mode="bilinear", align_corners=False)[:, 0]
