"""Sizes are the official ones; with a crop, images and masks show the same part of the frame.

Frames are Pillow's to one grey level, masks exactly; what is not Pillow's is what it was before.
"""

import cv2
import numpy as np
import pytest
from PIL import Image

from ifrvis.datasets.placement import Placing, nearest, resize_frame, resized_size

SIZES = [((72, 128), (36, 64)), ((72, 128), (48, 85)), ((24, 43), (36, 64)), ((64, 96), (64, 96)), ((9, 200), (1, 31))]
CROP = {"probability": 0.5, "sides": [40, 50], "smallest": 30, "largest": 45}
SEQFORMER = {"sides": [28, 36], "max_side": 60, "resize": "pillow", "truncate": True, "crop": CROP}


@pytest.mark.parametrize(
    ("size", "side", "max_side", "expected"),
    [
        ((720, 1280), 360, 1333, (360, 640)),
        ((1280, 720), 480, 1333, (853, 480)),
        ((100, 1000), 360, 1333, (133, 1333)),  # the longest side binds
        ((1, 16384), 32, 64, (1, 64)),
    ],
)
def test_resized_size_is_the_official_one(size, side, max_side, expected):
    assert resized_size(*size, side=side, max_side=max_side) == expected


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((720, 1280), 352, (352, 625)),
        ((1280, 720), 288, (512, 288)),
        ((720, 1280), 512, (432, 768)),
        ((9, 9), 288, (288, 288)),
        ((1, 2000), 288, (1, 2000)),  # a side that rounds to nothing is one pixel
    ],
)
def test_truncated_sizes_are_those_of_detr(size, side, expected):
    assert resized_size(*size, side=side, max_side=768, truncate=True) == expected


def test_half_of_the_frames_are_resized_cropped_and_resized_again(rng):
    placing, source = Placing(**SEQFORMER), (48, 64)
    drawn = [placing.draw(rng, source) for _ in range(400)]
    cropped = [each for each in drawn if each.window != (0, 0, *source)]
    assert 150 < len(cropped) < 250
    assert {min(each.first) for each in cropped} == {40, 50}
    assert {min(each.size) for each in drawn} == {28, 36}
    for top, left, height, width in (each.window for each in cropped):
        assert 30 <= height <= 45
        assert 30 <= width <= 45
        assert top >= 0
        assert left >= 0
    assert all(a + b <= full for each in cropped for a, b, full in zip(each.window, each.window[2:], each.first))
    assert {each.window[2] for each in cropped} == {*range(30, 46)}


def by_pillow(picture, placement, how):
    top, left, height, width = placement.window
    first = Image.fromarray(picture).resize(placement.first[::-1], how)
    window = first.crop((left, top, left + width, top + height))
    return np.asarray(window.resize(placement.size[::-1], how), int)


def test_images_and_masks_go_the_way_of_pillow_step_by_step(rng):
    image = rng.integers(0, 256, (48, 64, 3), np.uint8)
    mask = rng.random((48, 64)) < 0.5
    for _ in range(20):
        placement = Placing(**SEQFORMER).draw(rng, (48, 64))
        expected = by_pillow(image, placement, Image.Resampling.BILINEAR)
        assert np.abs(np.moveaxis(placement.frame(image), 0, 2) - expected).max() <= 2  # one grey level a step
        expected = by_pillow(mask.astype(np.uint8), placement, Image.Resampling.NEAREST)
        assert np.array_equal(mask[placement.sources(0)][:, placement.sources(1)], expected)


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
