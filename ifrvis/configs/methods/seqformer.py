"""SeqFormer, the official recipe (SeqFormer, Sec. 4.1, and its published code)."""

model = {
    "type": "Mask2FormerVideo",  # the host's model of a backbone and a head for videos
    "data_preprocessor": {
        "type": "TrackDataPreprocessor",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "bgr_to_rgb": True,
        "pad_mask": True,
        "pad_size_divisor": 1,  # a video is tested without padding; training clips come padded to 32
    },
    "track_head": {
        "type": "SeqFormerHead",
        "num_classes": 40,  # the harness sets the data set's
        "feat_channels": 256,
        "num_queries": 300,
        "mask_channels": 8,
        "encoder": {"num_layers": 6, "num_heads": 8, "num_points": 4, "feedforward_channels": 1024},
        "decoder": {"num_layers": 6, "num_heads": 8, "num_points": 4, "feedforward_channels": 1024},
        "dropout": 0.1,
        "loss_weights": {"cls": 2.0, "box": 5.0, "giou": 2.0, "mask": 2.0, "dice": 5.0},
        "focal": {"alpha": 0.25, "gamma": 2.0, "prior": 0.01},
    },
}
train = {
    "pipeline": {
        "sides": [288, 320, 352, 392, 416, 448, 480, 512],
        "max_side": 768,
        "flip": 0.5,
        "resize": "pillow",
        "crop": {"probability": 0.5, "sides": [400, 500, 600], "smallest": 384, "largest": 600},  # resize, crop, resize
        "truncate": True,  # the longer side
        "colour": True,
    },
    "sampler": {"around": "frames", "num_frames": 5, "frame_range": 3},  # a clip around every frame in each epoch
    "optimizer": {
        "lr": 2e-4,
        "weight_decay": 1e-4,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "backbone_lr_mult": 0.1,
        "lr_mults": {"reference_points": 0.1, "sampling_offsets": 0.1},  # of parameters by a part of their names
        "decay_all": True,
        "clip_grad": 0.1,
    },
    "stills": {"dataset": "coco", "ratio": None},  # null: videos alone, with another schedule (below)
    "global_batch": 16,
    "precision": "fp32",
    "threads": 1,
}
inference = {
    "mode": "whole",  # or clips
    "max_side": None,  # no bound
    "truncate": True,  # the longer side
    "resize": "pillow",
    "topk": 10,
    "clip_frames": None,  # T of clips
    "stride": 1,  # of clips
    "min_class_score": 0.01,  # of clips: what is left out of the result
    "min_overlap": 0.05,  # of clips: soft IoU with a track that continues it
    "tta": None,  # shortest sides in pixels
    "flip": False,  # of tta: each size mirrored too
}
changes = {  # to the configs of backbones and schedules
    "backbones": {
        "r50": {"model": {"backbone": {"frozen_stages": 1}}, "train": {"init": "seqformer_r50_coco"}},
        "r101": {"model": {"backbone": {"frozen_stages": 1}}, "train": {"init": "seqformer_r101_coco"}},
        "swin-t": {"train": {"init": "seqformer_swin-t_coco"}, "inference": {"side": 360}},
        "swin-s": {"train": {"init": "seqformer_swin-s_coco"}, "inference": {"side": 360}},
        "swin-b": {"train": {"init": "seqformer_swin-b_coco"}, "inference": {"side": 360}},
        "swin-l": {"train": {"init": "seqformer_swin-l_coco"}, "inference": {"side": 360}},
    },
    # 12 epochs, each a clip around every frame and one of every still: 12 x (frames + stills) // 16 iterations.
    # The rate falls after 4 and 10 epochs. Unconfirmed: the 90,160 frames of 2021, and 90,000 stills with a shared
    # category; docs/decisions.md says where they come from and how to count them.
    # On videos alone (stills null) the rate falls after 2 and 10 epochs, of 46,383 iterations on 2019, 67,620 on 2021.
    "schedules": {
        "ytvis19": {"train": {"iterations": 113883, "schedule": {"milestones": [37961, 94902], "gamma": 0.1}}},
        "ytvis21": {"train": {"iterations": 135120, "schedule": {"milestones": [45040, 112600], "gamma": 0.1}}},
    },
}
