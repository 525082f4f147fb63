"""Mask2Former for video, the official recipe (Mask2Former for Video Instance Segmentation, Sec. 2)."""

model = {
    "type": "Mask2FormerVideo",
    "data_preprocessor": {
        "type": "TrackDataPreprocessor",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "bgr_to_rgb": True,
        "pad_mask": True,
        "pad_size_divisor": 32,
    },
    "track_head": {
        "type": "Mask2FormerVISHead",
        "num_classes": 40,  # the harness sets the data set's
        "feat_channels": 256,
        "num_queries": 100,
        "encoder": {"num_layers": 6, "num_heads": 8, "num_points": 4, "feedforward_channels": 1024},
        "decoder": {"num_layers": 9, "num_heads": 8, "feedforward_channels": 2048},
        "loss_weights": {"cls": 2.0, "mask": 5.0, "dice": 5.0},
        "class_loss": "softmax",  # or focal
        "no_object_weight": 0.1,  # of softmax
        "focal": {"alpha": 0.25, "gamma": 2.0, "prior": 0.01},
        "key_positions": "3d",  # or 2d
        "copy_image_decoder": True,
        "decoder_init": "xavier_uniform",  # or xavier_normal, which is the host's
        "num_points": 12544,
        "oversample_ratio": 3.0,
        "importance_ratio": 0.75,
        "host_mask_loss": False,
        "class_target_from_last_frame": False,
    },
}
train = {
    "pipeline": {"sides": [360, 480], "max_side": 1333, "flip": 0.5, "resize": "pillow"},  # or opencv: no antialiasing
    "sampler": {"num_frames": 2, "frame_range": 20, "redraw_empty": False},
    "optimizer": {
        "lr": 1e-4,
        "weight_decay": 0.05,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "backbone_lr_mult": 0.1,
        "clip_grad": 0.01,
    },
    "stills": None,  # or dataset and ratio (null: by their number): pseudo-videos of stills among the clips
    "global_batch": 16,
    "precision": "amp",
    "threads": 1,
}
inference = {
    "mode": "whole",  # or clips
    "max_side": 1333,
    "resize": "pillow",  # or opencv
    "topk": 10,  # pairs of instance and class; null: all
    "clip_frames": None,  # T of clips
    "stride": 1,  # of clips
    "min_class_score": 0.01,  # of clips: what is left out of the result
    "min_overlap": 0.05,  # of clips: soft IoU with a track that continues it
    "tta": None,  # shortest sides in pixels
    "flip": False,  # of tta: each size mirrored too
}
