"""ResNet-101: the ResNet-50 but for its depth."""

_base_ = ["./r50.py"]
model = {"backbone": {"depth": 101}}
train = {"init": "mask2former_r101_coco_instance"}
