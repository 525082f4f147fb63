"""Swin-Large, window 12, ImageNet-21k at 384."""

_base_ = ["./swin-b.py"]
model = {
    "backbone": {"embed_dims": 192, "num_heads": [6, 12, 24, 48]},
    "track_head": {"in_channels": [192, 384, 768, 1536]},
}
train = {"init": "mask2former_swin-l_coco_instance"}  # it has 200 queries: 100 start at random
inference = {"side": 480}  # 2019; the baseline's official 2021 recipe tests at 360: a row's setting
