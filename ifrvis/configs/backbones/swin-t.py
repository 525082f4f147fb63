"""Swin-Tiny, window 7."""

model = {
    "backbone": {
        "type": "SwinTransformer",
        "pretrain_img_size": 224,
        "embed_dims": 96,
        "depths": [2, 2, 6, 2],
        "num_heads": [3, 6, 12, 24],
        "window_size": 7,
        "mlp_ratio": 4,
        "qkv_bias": True,
        "drop_path_rate": 0.3,
        "patch_norm": True,
        "out_indices": [0, 1, 2, 3],
        "convert_weights": False,
        "frozen_stages": -1,
    },
    "track_head": {"in_channels": [96, 192, 384, 768]},
}
train = {"init": "mask2former_swin-t_coco_instance"}
inference = {"side": 480}
