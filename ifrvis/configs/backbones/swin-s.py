"""Swin-Small: Swin-Tiny but for its depth."""

_base_ = ["./swin-t.py"]
model = {"backbone": {"depths": [2, 2, 18, 2]}}
train = {"init": "mask2former_swin-s_coco_instance"}
