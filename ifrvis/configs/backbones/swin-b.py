"""Swin-Base, window 12, ImageNet-21k at 384."""

model = {
    "backbone": {
        "type": "SwinTransformer",
        "pretrain_img_size": 384,
        "embed_dims": 128,
        "depths": [2, 2, 18, 2],
        "num_heads": [4, 8, 16, 32],
        "window_size": 12,
        "mlp_ratio": 4,
        "qkv_bias": True,
        "drop_path_rate": 0.3,
        "patch_norm": True,
        "out_indices": [0, 1, 2, 3],
        "convert_weights": False,
        "frozen_stages": -1,
    },
    "track_head": {"in_channels": [128, 256, 512, 1024]},
}
train = {"init": "mask2former_swin-b_coco_instance"}
inference = {"side": 480}
