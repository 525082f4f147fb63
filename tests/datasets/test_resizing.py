"""Frames are Pillow's to one grey level, masks exactly; what is not Pillow's is what it was before."""

import cv2
import numpy as np
import pytest
from PIL import Image

from ifrvis.datasets.resizing import nearest, resize_frame

SIZES = [((72, 128), (36, 64)), ((72, 128), (48, 85)), ((24, 43), (36, 64)), ((64, 96), (64, 96)), ((9, 200), (1, 31))]


@pytest.fixture
def frame(rng):
    """Edges as sharp as they come: noise."""
    return lambda size: rng.integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize(("source", "size"), SIZES)
def test_frames_are_those_of_pillow_to_one_grey_level(frame, source, size):
    image = frame(source)
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    found = resize_frame(image, size, "pillow")
    assert found.dtype == np.uint8
    assert np.abs(np.moveaxis(found, 0, 2) - expected).max() <= 1


def test_a_frame_that_shrinks_is_antialiased_unless_opencv_is_asked_for(frame):
    image = frame((72, 128))
    smooth, sharp = (resize_frame(image, (24, 43), how).astype(int) for how in ("pillow", "opencv"))
    assert np.array_equal(sharp, np.moveaxis(cv2.resize(image, (43, 24)), 2, 0))
    assert smooth.std() < 0.7 * sharp.std()


@pytest.mark.parametrize("how", ["pillow", "opencv"])
def test_masks_are_those_of_the_library_whatever_the_size(how):
    for source in (7, 36, 96, 720, 1280):
        for count in (1, 5, 31, 48, 66, 108, 360, 853):
            line = np.arange(source, dtype=np.float32)[None]
            if how == "pillow":
                expected = np.asarray(Image.fromarray(line).resize((count, 1), Image.Resampling.NEAREST))
            else:
                expected = cv2.resize(line, (count, 1), interpolation=cv2.INTER_NEAREST_EXACT)
            assert np.array_equal(nearest(count, source, how), expected[0])
    assert not np.array_equal(nearest(108, 720, "pillow"), nearest(108, 720, "opencv"))  # where centres lie on edges
