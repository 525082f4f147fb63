"""Swin-Large, window 12, ImageNet-21k at 384."""

model = {
    "backbone": {
        "type": "SwinTransformer",
        "pretrain_img_size": 384,
        "embed_dims": 192,
        "depths": [2, 2, 18, 2],
        "num_heads": [6, 12, 24, 48],
        "window_size": 12,
        "mlp_ratio": 4,
        "qkv_bias": True,
        "drop_path_rate": 0.3,
        "patch_norm": True,
        "out_indices": [0, 1, 2, 3],
        "convert_weights": False,
        "frozen_stages": -1,
    },
    "track_head": {"in_channels": [192, 384, 768, 1536]},
}
train = {"init": "mask2former_swin-l_coco_instance"}  # it has 200 queries: 100 start at random
inference = {"side": 480}  # 2019; the baseline's official 2021 recipe tests at 360: a row's setting
