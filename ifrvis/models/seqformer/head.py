"""SeqFormer (Wu et al., ECCV 2022) as a head of MMDetection's video models.

Shape letters:
    B  clips    T  frames of a clip    F  frames of all clips    Q  instance queries    M  instances of a clip
    K  classes    C  channels    E  channels of mask features    h, w  height and width at stride 8
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.models.layers import MLP
from mmdet.registry import MODELS
from mmdet.structures import TrackDataSample
from mmengine.model import BaseModule
from torch import Tensor, nn

from ifrvis.models.attention import Level
from ifrvis.models.decoding import FrameFeatures, LayerOutput, VideoHead, full_precision
from ifrvis.models.losses import FocalClasses
from ifrvis.models.seqformer.decoder import ClipMemory, Decoder, LayerState
from ifrvis.models.seqformer.encoder import Layout, PixelEncoder
from ifrvis.models.seqformer.losses import BoxSupervision, Predictions
from ifrvis.models.seqformer.masks import GEOMETRY, DynamicMasks, MaskBranch, geometry, num_parameters, upsampled
from ifrvis.models.targets import batch_normalisers, clip_targets

BOX_SIZE_LOGIT = -2.0  # of the boxes that the first layer predicts


@dataclass(frozen=True)
class _Encoded:
    """tokens (F, L, C) with their layout, and mask features (F, 4 + E, h, w)."""

    tokens: Tensor
    layout: Layout
    mask_features: Tensor


@MODELS.register_module()
class SeqFormerHead(VideoHead, BaseModule):
    """Encoder, decoder, dynamic masks, matching and losses."""

    supervision: BoxSupervision
    masks = DynamicMasks()

    def __init__(
        self,
        in_channels: Sequence[int],  # channels of the backbone's four levels; the first is not used
        num_classes: int,  # K
        *,
        feat_channels: int,  # C
        num_queries: int,  # Q
        mask_channels: int,  # E, of mask features and of the dynamic layers
        encoder: dict[str, int],  # num_layers, num_heads, num_points, feedforward_channels
        decoder: dict[str, int],  # the same
        dropout: float,  # probability, of all dropouts
        loss_weights: dict[str, float],  # of cls, box, giou, mask and dice; the first three in the matching cost, too
        # Alpha and gamma of class and mask losses, and the prior probability that starts the classes' bias.
        focal: dict[str, float],
        topk: int = 10,  # results of `predict` for a video, out of all pairs of query and class
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes, self.num_queries, self.topk = num_classes, num_queries, topk
        self.width = feat_channels
        self.supervision = BoxSupervision(FocalClasses(focal["alpha"], focal["gamma"]), dict(loss_weights))
        self.prior, self.mask_width = focal["prior"], GEOMETRY + mask_channels
        self.pixel_encoder = PixelEncoder(in_channels[1:], feat_channels, dropout=dropout, **encoder)
        self.mask_branch = MaskBranch(feat_channels, mask_channels)
        self.query_embed = nn.Embedding(num_queries, 2 * feat_channels)  # positions, then starts
        num_levels = len(self.pixel_encoder.input_convs)
        self.decoder = Decoder(feat_channels, num_levels, dropout=dropout, **decoder)
        self.cls_embed = nn.ModuleList(nn.Linear(feat_channels, num_classes) for _ in self.decoder.layers)
        self.controller = MLP(feat_channels, feat_channels, num_parameters(mask_channels), 3)

    def init_weights(self) -> None:
        """Start everything at random, as the official code does.

        Biases of the transformer are torch's own where nothing else is said: the second output projection of the
        decoder's deformable attention is no exception, though the first one's bias is zero.
        """
        for part in (self.pixel_encoder.encoder, self.decoder.layers):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
            for module in part.modules():
                if isinstance(module, MultiScaleDeformableAttention):
                    module.init_weights()
        nn.init.normal_(self.pixel_encoder.level_embed)
        layers: Any = (*self.pixel_encoder.input_convs, self.decoder.reference_points, *self.controller.layers)
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
        convs: Any = self.mask_branch.convs
        for conv in convs:
            nn.init.kaiming_uniform_(conv.weight, a=1)
        for layer in (*layers, *convs):
            nn.init.zeros_(layer.bias)
        self._start_predictors(self.cls_embed, self.decoder.box_mlps)

    def _start_predictors(self, classes: Any, boxes: Any) -> None:
        """Classes at their prior, boxes at their references: one start for all layers but for the first one's sizes."""
        for layer in (*boxes[0].layers, classes[0]):
            layer.reset_parameters()
        nn.init.zeros_(boxes[0].layers[-1].weight)
        nn.init.zeros_(boxes[0].layers[-1].bias)
        nn.init.constant_(classes[0].bias, -math.log(1 / self.prior - 1))
        for predictors in (classes, boxes):
            for other in predictors[1:]:
                other.load_state_dict(predictors[0].state_dict())
        nn.init.constant_(boxes[0].layers[-1].bias[2:], BOX_SIZE_LOGIT)

    # From features to predictions

    def forward(
        self, x: Sequence[Tensor], data_samples: Sequence[TrackDataSample] | TrackDataSample
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Every layer's class logits (B, Q, K), boxes (B, T, Q, 4) and mask logits at stride 4 (B, Q, T, 2 h, 2 w).

        Arguments as of `Mask2FormerVISHead.forward`.
        """
        clips = data_samples if isinstance(data_samples, list) else [data_samples]
        encoded = self._encode(x, [_size(clip) for clip in clips])
        layers = self._decode(encoded, len(clips))
        features = encoded.mask_features.unflatten(0, (len(clips), -1))
        logits = [self.masks.logits(self._mask_embeds(layer), features) for layer in layers]
        masks = [upsampled(each.flatten(0, 2)).unflatten(0, each.shape[:3]).transpose(1, 2) for each in logits]
        classes = [classify(layer.queries) for classify, layer in zip(self.cls_embed, layers)]
        return classes, [layer.boxes for layer in layers], masks

    def _encode(self, feats: Sequence[Tensor], sizes: Sequence[Sequence[int]]) -> _Encoded:
        """Frames of clips of these sizes, in pixels before padding."""
        with torch.autocast(feats[0].device.type, enabled=False):
            tokens, layout = self.pixel_encoder([full_precision(level) for level in feats[1:]], sizes)
            features = self.mask_branch(_maps(tokens, layout)[:3])
            where = torch.stack([geometry(size, features.shape[2:], like=features) for size in sizes])
        times = len(features) // len(sizes)
        return _Encoded(tokens, layout, torch.cat([where.repeat_interleave(times, 0), features], 1))

    def _decode(self, encoded: _Encoded, num_clips: int) -> list[LayerState]:
        num_frames = len(encoded.tokens) // num_clips
        memory = ClipMemory([encoded.tokens], encoded.layout, num_frames, num_frames)
        with torch.autocast(encoded.tokens.device.type, enabled=False):
            return list(self.decoder(self.query_embed.weight, memory))

    def _mask_embeds(self, layer: LayerState) -> Tensor:
        """Embeddings of all queries' masks, (B, T, Q, 2 + parameters): the references that entered the layer first."""
        parameters = self.controller(layer.queries)[:, None].expand(-1, layer.references.shape[1], -1, -1)
        return torch.cat([layer.references, parameters], -1)

    # Training

    def loss(self, x: Sequence[Tensor], data_samples: list[TrackDataSample]) -> dict[str, Tensor]:
        """Weighted losses of a batch: loss_cls, loss_box, loss_giou, loss_mask, loss_dice, of earlier layers `d<i>.`;
        NotFiniteLossError if a matching cost is not finite; it names the video. Arguments as of
        `Mask2FormerVISHead.loss`.
        """
        targets = [clip_targets(clip, x[0].device) for clip in data_samples]
        sizes = [_size(clip) for clip in data_samples]
        norms = batch_normalisers(data_samples, targets)
        encoded = self._encode(x, sizes)
        layers = self._decode(encoded, len(targets))
        with torch.autocast(x[0].device.type, enabled=False):
            given = Predictions(
                torch.stack([classify(layer.queries) for classify, layer in zip(self.cls_embed, layers)], 1),
                torch.stack([layer.boxes for layer in layers], 1),
                torch.stack([self._mask_embeds(layer) for layer in layers], 1),
                encoded.mask_features.unflatten(0, (len(targets), -1)),
            )
            return self.supervision.losses(given, targets, sizes, norms)

    # Testing

    def encode_frames(self, feats: Sequence[Tensor], sizes: Sequence[Sequence[int]]) -> FrameFeatures:
        """See `VideoHead`; mask features, with geometry, are at stride 8."""
        encoded = self._encode(feats, sizes)
        return FrameFeatures(encoded.mask_features, _maps(encoded.tokens, encoded.layout)[::-1])

    def levels(self, frames: FrameFeatures) -> list[Level]:
        """See `VideoHead`; the finest level has the mask features, the others none."""
        tokens = [level.flatten(2).transpose(1, 2) for level in frames.memories]
        nothing = [level[:, :0] for level in frames.memories[:-1]]
        return [Level(*each) for each in zip(tokens, [*nothing, frames.mask_features])]

    @torch.no_grad()
    def decode_clips(self, levels: Sequence[Level], num_frames: int, stride: int = 1) -> LayerOutput:
        """See `VideoHead`."""
        maps = [level.mask_features for level in levels[::-1]]
        width, height = maps[0][0, :2, 0, 0].tolist()
        layout = Layout.of([(each.shape[2], each.shape[3]) for each in maps], [(int(height), int(width))])
        tokens = [full_precision(level.tokens) for level in levels[::-1]]
        with torch.autocast(maps[0].device.type, enabled=False):
            memory = ClipMemory(tokens, layout, num_frames, stride)
            (last,) = deque(self.decoder(self.query_embed.weight, memory), maxlen=1)
            return LayerOutput(self.cls_embed[-1](last.queries), self._mask_embeds(last))

    def bytes_per_frame(self, pixels: int) -> float:
        """See `VideoHead`."""
        of_pixels = 2 * 4 * self.width * (1 / 64 + 1 / 256 + 1 / 1024 + 1 / 4096) + self.num_queries / 64
        of_queries = 16 * 4 * self.num_queries * self.width  # box queries and what they look at
        of_masks = 4 * self.mask_width / 64  # the finest level has mask features, too: at stride 8, with geometry
        return pixels * (of_pixels + of_masks) + of_queries


def _size(clip: TrackDataSample) -> tuple[int, int]:
    height, width = clip.video_data_samples[0].metainfo["img_shape"][:2]
    return int(height), int(width)


def _maps(tokens: Tensor, layout: Layout) -> list[Tensor]:
    """(F, L, C) as one (F, C, h_l, w_l) a level, the finest first; views."""
    parts = tokens.transpose(1, 2).split([rows * columns for rows, columns in layout.shapes], 2)
    return [part.unflatten(2, shape) for part, shape in zip(parts, layout.shapes)]
