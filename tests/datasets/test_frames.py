"""What is wrong with a frame's file is said with its cure."""

import cv2
import numpy as np
import pytest
from PIL import Image

from ifrvis.datasets.frames import read_frame, same_number
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


def tagged(path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, (200, 100, 50)).save(path, exif=exif)


def test_a_tag_that_turns_a_frame_away_from_its_masks_is_named_and_one_that_may_is_told(tmp_path):
    video = Video(1, WIDTH, HEIGHT, ("a.jpg",), "a")
    tagged(tmp_path / "a.jpg", 6, (WIDTH, HEIGHT))  # masks were drawn on the picture as it is stored
    with pytest.raises(
        UserError, match=r"^Write .*a.jpg anew without its orientation tag 6.*40 x 60.*60 x 40, as it is"
    ):
        read_frame(tmp_path, video, 0)
    tagged(tmp_path / "a.jpg", 3, (WIDTH, HEIGHT))
    with pytest.warns(UserWarning, match="Frames of video 1 are turned as their orientation tags say"):
        assert read_frame(tmp_path, video, 0).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0.jpg", "1.jpg", "10.jpg"], None),
        (["v/0.jpg", "w/0.jpg", "first.jpg", "last.jpg"], None),
        (["1.png", "0.jpg", "1_mask.png"], ("1.png", "1_mask.png")),
        (["v/7.jpg", "v/07.jpg"], ("v/7.jpg", "v/07.jpg")),
        (["cat.jpg", "cat.png"], ("cat.jpg", "cat.png")),
    ],
)
def test_names_that_say_one_frame_are_found(names, expected):
    assert same_number(names) == expected
