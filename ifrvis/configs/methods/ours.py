"""Inter-Frame Recurrent attention on the baseline's recipe ("we follow the same setting", Sec. 4.1)."""

_base_ = ["./mask2former.py"]
model = {
    "track_head": {
        "type": "IFRHead",
        "lambda_e": 0.3,
        "cross_frame_sum": "sum",
        "recurrence": True,
        "cross_residual": True,
        "temporal_keys": "all",
        "class_loss": "focal",
        "key_positions": "2d",
        "copy_image_decoder": False,
    }
}
inference = {"recurrence": True}  # off: at test the clip-level query takes the place of Q^{t-1}, however it was trained
