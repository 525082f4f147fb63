"""Swin-Base, window 12, ImageNet-21k at 384."""

_base_ = ["./swin-s.py"]
model = {
    "backbone": {"pretrain_img_size": 384, "embed_dims": 128, "num_heads": [4, 8, 16, 32], "window_size": 12},
    "track_head": {"in_channels": [128, 256, 512, 1024]},
}
train = {"init": "mask2former_swin-b_coco_instance"}
