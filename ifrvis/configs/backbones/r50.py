"""ResNet-50, batch norm frozen."""

model = {
    "backbone": {
        "type": "ResNet",
        "depth": 50,
        "base_channels": 64,
        "stem_channels": 64,
        "num_stages": 4,
        "out_indices": [0, 1, 2, 3],
        "frozen_stages": -1,
        "norm_cfg": {"type": "BN", "requires_grad": False},
        "norm_eval": True,
        "style": "pytorch",
    },
    "track_head": {"in_channels": [256, 512, 1024, 2048]},
}
train = {"init": "mask2former_r50_coco_instance"}
inference = {"side": 360}
