"""Colours: what is drawn, and what it does to an image by hand."""

import colorsys

import numpy as np
import pytest

from ifrvis.datasets.sampling.colours import Colour, coloured, draw_colour


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
