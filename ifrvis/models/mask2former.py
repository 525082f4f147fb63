"""Mask2Former for video (Mask2Former-VIS), the paper's baseline, with the official losses.

Every query is one instance of the whole clip: it attends to all frames together, and one mask embedding predicts its
mask in each of them. Weights have the host's names, so that its COCO checkpoints load.

Shape letters:
    B  clips    T  frames of a clip    F  frames of all clips, B T    N  instance queries    M  instances of a clip
    K  classes (softmax logits have one more, no-object)    C  channels    L  keys of a frame
    H, W  height and width of the mask features (stride 4)
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmdet.models.tracking_heads import Mask2FormerTrackHead
from mmdet.registry import MODELS
from mmdet.structures import TrackDataSample
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ifrvis.models.attention import Level, Memory, decoder_layer, resize_mask_features, time_positions
from ifrvis.models.decoding import FrameFeatures, LayerOutput, VideoHead, full_precision
from ifrvis.models.deformable import adopt
from ifrvis.models.host_configs import decoder_cfg, one_of, pixel_decoder_cfg
from ifrvis.models.losses import FocalClasses, SoftmaxClasses, Supervision
from ifrvis.models.targets import batch_normalisers, clip_targets


@MODELS.register_module()
class Mask2FormerVISHead(VideoHead, Mask2FormerTrackHead):
    """The host's head with the official losses, draws that can be repeated, and inference in bounded memory."""

    supervision: Supervision

    def __init__(
        self,
        in_channels: Sequence[int],  # channels of the backbone's four levels
        num_classes: int,  # K
        *,
        feat_channels: int,  # C, the width of both transformers
        num_queries: int,  # N
        encoder: dict[str, int],  # pixel decoder: num_layers, num_heads, num_points, feedforward_channels
        decoder: dict[str, int],  # transformer decoder: num_layers, num_heads, feedforward_channels
        # Of cls, mask and dice, in the matching cost as in the loss (lambda_c, lambda_m, lambda_D).
        loss_weights: dict[str, float],
        class_loss: str,  # "softmax" over classes and no-object, or "focal" for each class
        no_object_weight: float,  # weight of the no-object class in the cross-entropy
        focal: Mapping[str, float],  # alpha, gamma and the prior probability that starts the bias of the focal loss
        key_positions: str,  # "3d", of which one part is the frame's time in its clip, or "2d"
        # Let an image checkpoint fill what fits of the decoder layers; else they start at random.
        copy_image_decoder: bool,
        # Their random start: "xavier_uniform" as in the official code, or the host's "xavier_normal".
        decoder_init: str,
        num_points: int,  # P, points of a mask
        oversample_ratio: float,  # candidates for uncertain points, in units of P
        importance_ratio: float,  # share of uncertain points
        host_mask_loss: bool,  # multiply the mask loss by T, as the host does
        # Train an instance that the last frame does not show as no-object, as the official code does.
        class_target_from_last_frame: bool,
        topk: int = 10,  # results of `predict` for a video, out of all pairs of query and class
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            in_channels=list(in_channels),
            feat_channels=feat_channels,
            out_channels=feat_channels,
            num_classes=num_classes,
            num_queries=num_queries,
            pixel_decoder=pixel_decoder_cfg(feat_channels, **encoder),
            transformer_decoder=decoder_cfg(feat_channels, **decoder),
            positional_encoding={"type": "SinePositionalEncoding", "num_feats": feat_channels // 2, "normalize": True},
            # The constructor asks for it; the losses in use are those of `supervision`.
            loss_cls=ConfigDict(type="CrossEntropyLoss", class_weight=[1.0] * num_classes + [no_object_weight]),
            init_cfg=init_cfg,
        )
        adopt(self.pixel_decoder)
        classes: SoftmaxClasses | FocalClasses = SoftmaxClasses(no_object_weight, num_queries)
        if one_of("class_loss", class_loss) == "focal":
            classes = FocalClasses(focal["alpha"], focal["gamma"])
            self.cls_embed = nn.Linear(feat_channels, num_classes)
            nn.init.constant_(self.cls_embed.bias, -math.log(1 / focal["prior"] - 1))
        self.supervision = Supervision(
            classes, dict(loss_weights), num_points, oversample_ratio, importance_ratio, host_mask_loss
        )
        self.width = feat_channels
        self.topk = topk
        self.absent_class = num_classes if class_target_from_last_frame else None
        self.has_times = one_of("key_positions", key_positions) == "3d"
        self.decoder_init = one_of("decoder_init", decoder_init)
        self._layers_name = "layers" if copy_image_decoder else "random_layers"
        self._name_layers()

    def _name_layers(self) -> None:
        """Layers that start at random must not have the name that they have in image checkpoints."""
        decoder = self.transformer_decoder
        if self._layers_name != "layers":
            decoder.add_module(self._layers_name, decoder.layers)
            del decoder.layers

    def init_weights(self) -> None:
        """The host's random start, and the official one of the decoder."""
        super().init_weights()
        if self.decoder_init == "xavier_uniform":
            for parameter in self.transformer_decoder.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    # From features to predictions

    def forward(
        self, x: Sequence[Tensor], data_samples: Sequence[TrackDataSample] | TrackDataSample
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The host's interface: class logits (B, N, K + 1) and mask logits (B, N, T, H, W) of every layer.

        Backbone features are four of (F, C_i, H_i, W_i); a list of samples has a clip an element, anything else is one
        clip.
        """
        frames = self.encode_frames(x)
        layers = self.decode_layers(frames, len(data_samples) if isinstance(data_samples, list) else 1)
        features = frames.mask_features.unflatten(0, (len(layers[0].cls_logits), -1))
        masks = [torch.einsum("btnc,btchw->bnthw", layer.mask_embeds, features) for layer in layers]
        return [layer.cls_logits for layer in layers], masks

    def encode_frames(self, feats: Sequence[Tensor], sizes: Sequence[Sequence[int]] = ()) -> FrameFeatures:
        """See `VideoHead`; without a look at `sizes`."""
        # The official pixel decoder leaves mixed precision.
        with torch.autocast(feats[0].device.type, enabled=False):
            return FrameFeatures(*self.pixel_decoder([full_precision(level) for level in feats]))

    def levels(self, frames: FrameFeatures) -> list[Level]:
        """See `VideoHead`."""
        levels = []
        for features, projection in zip(frames.memories, self.decoder_input_projs):
            tokens = projection(features).flatten(2).transpose(1, 2)
            levels.append(Level(tokens, resize_mask_features(frames.mask_features, features.shape[-2:])))
        return levels

    def decode_layers(self, frames: FrameFeatures, num_clips: int) -> list[LayerOutput]:
        """Predictions of the initial queries and after every layer, for F = B T frames of B clips."""
        num_frames = len(frames.mask_features) // num_clips
        return list(self._decode(self.levels(frames), num_frames, num_frames))

    @torch.no_grad()
    def decode_clips(self, levels: Sequence[Level], num_frames: int, stride: int = 1) -> LayerOutput:
        """See `VideoHead`."""
        (last,) = deque(self._decode(levels, num_frames, stride), maxlen=1)
        return last

    def _decode(self, levels: Sequence[Level], num_frames: int, stride: int) -> Iterator[LayerOutput]:
        memories = [self._memory(i, level, num_frames, stride) for i, level in enumerate(levels)]
        num_clips = (len(levels[0].tokens) - num_frames) // stride + 1
        queries = self.query_feat.weight.expand(num_clips, -1, -1)
        output = self._predict_layer(queries, queries[:, None], num_frames)
        yield output
        for i, layer in enumerate(self._layers()):
            memory = memories[i % len(memories)]
            queries, frame_queries = self._decode_layer(layer, queries, memory, output.mask_embeds)
            output = self._predict_layer(queries, frame_queries, num_frames)
            yield output

    def _layers(self) -> Iterable[nn.Module]:
        return getattr(self.transformer_decoder, self._layers_name)

    def _memory(self, index: int, level: Level, num_frames: int, stride: int) -> Memory:
        seen = level.tokens.new_zeros(1, *level.mask_features.shape[-2:], dtype=torch.bool)
        positions = self.decoder_positional_encoding(seen)[0].flatten(1).T.to(level.tokens)
        times = time_positions(num_frames, like=level.tokens) if self.has_times else None
        return Memory(level, self.level_embed.weight[index], positions, times, num_frames, stride)

    def _decode_layer(self, layer: nn.Module, queries: Tensor, memory: Memory, embeds: Tensor) -> tuple[Tensor, Tensor]:
        """Clip-level queries (B, N, C), and the queries that predict masks, (B, T or 1, N, C)."""
        queries = decoder_layer(layer, queries, self.query_embed.weight, memory, embeds[:, :1])
        return queries, queries[:, None]

    def _predict_layer(self, queries: Tensor, frame_queries: Tensor, num_frames: int) -> LayerOutput:
        norm = self.transformer_decoder.post_norm
        embeds = self.mask_embed(norm(frame_queries))
        return LayerOutput(self.cls_embed(norm(queries)), embeds.expand(-1, num_frames, -1, -1))

    # Training

    def loss(self, x: Sequence[Tensor], data_samples: list[TrackDataSample]) -> dict[str, Tensor]:
        """Weighted losses of a batch: loss_cls, loss_mask and loss_dice, of earlier predictions under `d<i>.`;
        NotFiniteLossError if a matching cost is not finite; it names the video.

        Backbone features are four of (F, C_i, H_i, W_i), samples B clips as the host packs them, all of T frames.
        """
        targets = [clip_targets(clip, x[0].device, absent_class=self.absent_class) for clip in data_samples]
        norms = batch_normalisers(data_samples, targets, absent_class=self.absent_class)
        frames = self.encode_frames(x)
        layers = self.decode_layers(frames, len(data_samples))
        features = full_precision(frames.mask_features).unflatten(0, (len(data_samples), -1))
        with torch.autocast(features.device.type, enabled=False):  # sums over points overflow half precision
            return self.supervision.losses(layers, features, targets, norms)

    # Testing

    def bytes_per_frame(self, pixels: int) -> float:
        """See `VideoHead`."""
        per_pixel = 2 * 4 * self.width * (1 / 64 + 1 / 256 + 1 / 1024)  # two in float32 at strides 8, 16 and 32
        # A decoder's masks at stride 8, those of a pivot, one head's keys.
        return pixels * (per_pixel + (6 * self.num_queries + self.width) / 64)
