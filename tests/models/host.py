"""The host's own Mask2Former-VIS head, for comparison."""

from mmengine.config import ConfigDict

from ifrvis.models.host_configs import decoder_cfg, pixel_decoder_cfg


def host_head_cfg(ours, num_frames):
    """Config of the host's head of the same size as one of our heads' configs."""
    width, num_classes = ours["feat_channels"], ours["num_classes"]
    costs = [
        {"type": "ClassificationCost", "weight": 2.0},
        {"type": "CrossEntropyLossCost", "weight": 5.0, "use_sigmoid": True},
        {"type": "DiceCost", "weight": 5.0, "pred_act": True, "eps": 1.0},
    ]
    return ConfigDict(
        type="Mask2FormerTrackHead",
        in_channels=ours["in_channels"],
        feat_channels=width,
        out_channels=width,
        num_classes=num_classes,
        num_frames=num_frames,
        num_queries=ours["num_queries"],
        pixel_decoder=pixel_decoder_cfg(width, **ours["encoder"]),
        transformer_decoder=decoder_cfg(width, **ours["decoder"]),
        positional_encoding={"type": "SinePositionalEncoding3D", "num_feats": width // 2, "normalize": True},
        loss_cls={
            "type": "CrossEntropyLoss",
            "loss_weight": 2.0,
            "reduction": "mean",
            "class_weight": [1.0] * num_classes + [0.1],
        },
        train_cfg={
            "num_points": ours["num_points"],
            "assigner": {"type": "HungarianAssigner", "match_costs": costs},
            "sampler": {"type": "MaskPseudoSampler"},
        },
    )
