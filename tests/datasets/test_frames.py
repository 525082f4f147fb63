"""What is wrong with a frame's file is said with its cure."""

import cv2
import numpy as np
import pytest

from ifrvis.datasets.frames import read_frame
from ifrvis.datasets.ytvis import Video
from ifrvis.errors import DataMissingError, UserError

HEIGHT, WIDTH = 40, 60


def test_broken_frames_are_named_with_their_cure(tmp_path):
    video, path = Video(1, WIDTH, HEIGHT, ("00.png",), "video1"), tmp_path / "00.png"
    whole = cv2.imencode(".png", np.zeros((HEIGHT, WIDTH), np.uint8))[1].tobytes()
    for content, message in [
        (whole[: len(whole) // 2], "^Copy .*00.png again"),
        (b"", "^Copy .*00.png again"),
        (cv2.imencode(".png", np.zeros((HEIGHT, 30), np.uint8))[1].tobytes(), "^Replace .*30 x 40.*60 x 40"),
    ]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_frame(tmp_path, video, 0)
    path.unlink()
    with pytest.raises(DataMissingError, match=r"^Restore .*00\.png"):
        read_frame(tmp_path, video, 0)


def test_a_jpeg_cut_short_is_refused(tmp_path, rng):
    content = cv2.imencode(".jpg", rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    video = Video(1, WIDTH, HEIGHT, ("a.jpg",), "a")
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_frame(tmp_path, video, 0).shape == (HEIGHT, WIDTH, 3)
    (tmp_path / "a.jpg").write_bytes(content[:-200])
    with pytest.raises(UserError, match="cut short"):
        read_frame(tmp_path, video, 0)
