"""Sizes, windows and colours: what is drawn, and what it does to an image by hand."""

import colorsys

import numpy as np
import pytest
from ifrvis.datasets.frames.augment import (
    Colour,
    Window,
    Windows,
    coloured,
    detr_size,
    draw_colour,
    draw_still_colour,
    resized_image,
    resized_mask,
)
from PIL import Image

CROP = {"probability": 0.5, "sides": [400, 500, 600], "window": [384, 600]}
SIDES = [288, 320, 352, 392, 416, 448, 480, 512]


@pytest.mark.parametrize(
    ("size", "side", "max_side", "expected"),
    [
        ((720, 1280), 360, None, (360, 640)),
        ((1280, 720), 360, None, (640, 360)),
        ((480, 854), 360, None, (360, 640)),  # 640.5: truncated
        ((700, 1280), 360, None, (360, 658)),  # 658.3
        ((720, 1280), 480, 768, (432, 768)),
        ((500, 500), 288, 768, (288, 288)),
        ((300, 1280), 512, 768, (180, 768)),
    ],
)
def test_the_longer_side_is_truncated(size, side, max_side, expected):
    assert detr_size(*size, side=side, max_side=max_side) == expected


def test_windows_are_whole_or_crops_within_their_bounds(rng):
    windows = [Windows(SIDES, 768, CROP).draw(rng, 720, 1280) for _ in range(400)]
    crops = [window for window in windows if window.first]
    assert 150 < len(crops) < 250
    assert {window.first for window in crops} == {(400, 711), (500, 888), (600, 1066)}
    for window in windows:
        assert min(window.size) in SIDES or max(window.size) == 768
        assert max(window.size) <= 768
    for top, left, rows, columns in (window.crop for window in crops):
        assert 384 <= rows <= 600
        assert 384 <= columns <= 600
        assert top >= 0 <= left
    assert all(w.crop[0] + w.crop[2] <= w.first[0] and w.crop[1] + w.crop[3] <= w.first[1] for w in crops)
    assert min(w.crop[2] for w in crops) < 400 < max(w.crop[3] for w in crops)
    assert {w.first for w in (Windows(SIDES, 768, None).draw(rng, 720, 1280) for _ in range(9))} == {None}


def test_a_crop_is_no_larger_than_a_small_frame(rng):
    crop = {"probability": 1.0, "sides": [30], "window": [40, 50]}
    for _ in range(20):
        window = Windows([32], 100, crop).draw(rng, 60, 90)
        assert (window.first, window.crop[0], window.crop[2]) == ((30, 45), 0, 30)
        assert 40 <= window.crop[3] <= 45


@pytest.mark.parametrize("flip", [False, True])
def test_masks_lie_where_the_image_shows_their_object(rng, flip):
    mask = np.zeros((72, 128), bool)
    mask[16:48, 24:80] = True
    image = np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255
    image = image[:, ::-1] if flip else image
    crop = {"probability": 0.7, "sides": [60, 100], "window": [40, 90]}
    for _ in range(40):
        window = Windows([48, 64, 80], 200, crop).draw(rng, 72, 128)
        shown, found = resized_image(np.ascontiguousarray(image), window), resized_mask(mask, window, flip=flip)
        assert shown.shape[:2] == found.shape == window.size
        wrong = (shown[..., 0] > 127) != found  # along the edge; the nearest of the nearest pixel adds to it
        assert wrong.sum() <= (1.5 if window.first else 0.5) * sum(window.size)


def test_images_are_resized_as_pillow_does_in_both_steps(rng):
    image = rng.integers(0, 256, (60, 90, 3), np.uint8)
    once = Image.fromarray(image).resize((45, 30), Image.Resampling.BILINEAR)
    assert np.array_equal(resized_image(image, Window((30, 45))), np.asarray(once))
    twice = once.crop((5, 2, 35, 22)).resize((60, 40), Image.Resampling.BILINEAR)
    assert np.array_equal(resized_image(image, Window((40, 60), (30, 45), (2, 5, 20, 30))), np.asarray(twice))


def test_each_part_of_a_colour_happens_half_of_the_time_within_its_bounds(rng):
    drawn = [draw_colour(rng) for _ in range(600)]
    plain = Colour()
    for name in ("brightness", "contrast", "saturation", "hue"):
        values = [getattr(each, name) for each in drawn if getattr(each, name) != getattr(plain, name)]
        assert 240 < len(values) < 360
        low, high = {"brightness": (-32, 32), "hue": (-18, 18)}.get(name, (0.5, 1.5))
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high
    assert 200 < sum(each.contrast_first for each in drawn) < 400
    assert 200 < sum(each.order != (0, 1, 2) for each in drawn) < 300  # five of six orders, half of the time
    assert len({each.order for each in drawn}) == 6


def test_copies_of_a_still_change_brightness_or_hue_or_both(rng):
    drawn = [draw_still_colour(rng) for _ in range(300)]
    kinds = [(each.brightness != 0, each.hue != 0) for each in drawn]
    assert all(kinds.count(kind) > 60 for kind in [(True, False), (False, True), (True, True)])
    assert (False, False) not in kinds
    assert max(abs(each.brightness) for each in drawn) <= 40
    assert all(each.hue == pytest.approx(each.more_saturation * 360) for each in drawn)
    assert max(abs(each.more_saturation) for each in drawn) <= 5 / 255


def test_colours_follow_by_hand():
    image = np.array([[[10, 100, 200], [250, 40, 60]]], np.uint8)
    assert coloured(image, Colour()) is image
    assert coloured(image, Colour(brightness=10.0)).tolist() == [[[20, 110, 210], [255, 50, 70]]]
    assert coloured(image, Colour(contrast=0.5)).tolist() == [[[5, 50, 100], [125, 20, 30]]]
    assert coloured(image, Colour(order=(2, 0, 1))).tolist() == [[[200, 10, 100], [60, 250, 40]]]
    blue, green, red = (int(x) / 255 for x in image[0, 0])
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    expected = colorsys.hsv_to_rgb((hue + 18 / 360) % 1, saturation * 0.5, value)
    found = coloured(image, Colour(hue=18.0, saturation=0.5))[0, 0]
    assert found.tolist() == pytest.approx([255 * x for x in expected[::-1]], abs=1.5)


def test_contrast_before_and_after_saturation_differ_only_where_values_are_clipped():
    image = np.array([[[10, 100, 200]]], np.uint8)
    first, last = (coloured(image, Colour(contrast=1.2, hue=10.0, contrast_first=each)) for each in (True, False))
    assert np.abs(first.astype(int) - last).max() <= 1
