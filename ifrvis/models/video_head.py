"""What inference asks of a head, and whole videos through it under the host's interface.

Shape letters:
    F  frames, of one or several clips    B  clips    T  frames of a clip    N  instance queries    K  classes
    C  channels
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from mmdet.structures import TrackDataSample
from mmdet.structures.mask import mask2bbox
from mmengine.structures import InstanceData
from torch import Tensor

from ifrvis.models.attention import Level
from ifrvis.models.decoding import FrameFeatures, LayerOutput, MaskDecoder, full_precision
from ifrvis.models.losses import FocalClasses, SoftmaxClasses


class Supervised(Protocol):
    """How classes are scored, and the weights of cls, mask and dice by which views are matched, too."""

    @property
    def classes(self) -> SoftmaxClasses | FocalClasses:
        """How classes are scored."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Of cls, mask and dice at least."""


class VideoHead:
    """A head that decodes clips and whole videos.

    Attributes:
        num_classes: K.
        topk: Results of `predict` for a video, out of all pairs of query and class.
        masks: What makes masks of embeddings and features.
        supervision: How it is trained.
    """

    num_classes: int
    topk: int
    masks: MaskDecoder
    supervision: Supervised

    @property
    def width(self) -> int:
        """C."""
        raise NotImplementedError

    def bytes_per_frame(self, pixels: int) -> float:
        """What inference keeps of each frame of so many pixels beside mask features at stride 4."""
        raise NotImplementedError

    def encode_frames(self, feats: Sequence[Tensor], sizes: Sequence[Sequence[int]]) -> FrameFeatures:
        """Features of frames, each independent of the others.

        Args:
            feats: Backbone features, four of (F, C_i, H_i, W_i).
            sizes: Height and width of each clip's frames in pixels, before padding; one where all have the same.
        """
        raise NotImplementedError

    def levels(self, frames: FrameFeatures) -> list[Level]:
        """What the decoder reads of frames, low resolution first; the last one's mask features are at stride 8."""
        raise NotImplementedError

    def decode_clips(self, levels: Sequence[Level], num_frames: int, stride: int = 1) -> LayerOutput:
        """The last prediction for clips that may share frames.

        Args:
            levels: Of F = (B - 1) stride + T frames.
            num_frames: T.
            stride: How many frames after one clip the next begins.
        """
        raise NotImplementedError

    def class_probs(self, cls_logits: Tensor) -> Tensor:
        """Class probabilities without no-object, (N, K) in [0, 1]."""
        return self.supervision.classes.probs(cls_logits)[:, :-1]

    def kept_queries(self, cls_logits: Tensor, min_score: float) -> Tensor:
        """Queries that are an object, (N,) bool; `min_score` is for heads without a no-object class."""
        return self.supervision.classes.kept(cls_logits, min_score)

    @torch.no_grad()
    def predict(self, x: Sequence[Tensor], data_samples: TrackDataSample, rescale: bool = True) -> list[InstanceData]:
        """The best pairs of query and class of a video in every frame, as the host returns them.

        Args:
            x: Backbone features, four of (T, C_i, H_i, W_i).
            data_samples: The video's frames.
            rescale: Masks at ori_shape, else at img_shape.

        Returns:
            Per frame masks (topk, height, width) bool, bboxes, labels, scores and instances_id.
        """
        metas = [frame.metainfo for frame in data_samples.video_data_samples]
        frames = self.encode_frames(x, [metas[0]["img_shape"][:2]])
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
