"""How objects and backgrounds of the synthetic sets look.

Hues are what keeps the splits apart: the circle has 24 arcs of 15 degrees, and each split owns every fourth, so all
splits see all colours and no two splits ever see the same one.

Shape letters:
    S     side of a texture tile, which spans one object diameter
    H, W  frame height and width, in pixels
"""

import colorsys
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

TILE_SIDE = 32  # S: objects are 18 to 36 pixels wide, so tiles are hardly scaled
NUM_SECTORS = 6  # arcs of hue that a split owns, 60 degrees apart
_PATTERNS = ("stripes", "checks", "rings", "blotches")


@dataclass(frozen=True)
class Appearance:
    """Colours and texture of one object; equal appearances give equal tiles."""

    hues: tuple[float, float]  # the two colours, in degrees
    saturations: tuple[float, float]  # theirs, in [0, 1]
    brightnesses: tuple[float, float]  # theirs, in [0, 1]
    pattern: str  # name of the pattern that mixes the two colours
    cycles: float  # periods of the pattern across the object
    direction: float  # of the pattern, in radians
    grain_seed: int  # seed of what is random in the tile


def draw_appearance(rng: np.random.Generator, split_number: int, sector: int) -> Appearance:
    """A random appearance whose first colour lies in `sector` of the split's hues, the second in another one."""
    second_sector = (sector + int(rng.integers(1, NUM_SECTORS))) % NUM_SECTORS
    bright_first = rng.random() < 0.5
    brightnesses = (rng.uniform(0.8, 1.0), rng.uniform(0.3, 0.6))
    return Appearance(
        hues=(_hue(rng, split_number, sector), _hue(rng, split_number, second_sector)),
        saturations=(rng.uniform(0.7, 1.0), rng.uniform(0.5, 0.9)),
        brightnesses=brightnesses if bright_first else brightnesses[::-1],
        pattern=_PATTERNS[rng.integers(len(_PATTERNS))],
        cycles=rng.uniform(1.5, 3.0),
        direction=rng.uniform(0, np.pi),
        grain_seed=int(rng.integers(2**31)),
    )


def similar_appearance(rng: np.random.Generator, like: Appearance, split_number: int) -> Appearance:
    """The same pattern in neighbouring hues, turned another way."""
    first, second = (_hue(rng, split_number, int(hue // 60)) for hue in like.hues)
    turned = (like.direction + rng.uniform(0.25, 0.75) * np.pi) % np.pi
    return replace(like, hues=(first, second), direction=turned, grain_seed=int(rng.integers(2**31)))


def _hue(rng: np.random.Generator, split_number: int, sector: int) -> float:
    return 60.0 * sector + 15.0 * split_number + rng.uniform(1, 14)


def tile(appearance: Appearance) -> NDArray[np.uint8]:
    """The texture of an appearance, (S, S, 3) uint8 BGR."""
    rng = np.random.default_rng(appearance.grain_seed)
    axis = np.linspace(-0.5, 0.5, TILE_SIDE)
    along, across = np.cos(appearance.direction) * axis, np.sin(appearance.direction) * axis
    u, v = along[None] + across[:, None], along[:, None] - across[None]
    waves = 2 * np.pi * appearance.cycles
    if appearance.pattern == "stripes":
        mix = np.sin(waves * u)
    elif appearance.pattern == "checks":
        mix = np.sin(waves * u) * np.sin(waves * v) * 1.5
    elif appearance.pattern == "rings":
        mix = np.sin(waves * 1.5 * np.hypot(u - 0.1, v))
    else:
        mix = 4 * _blotches(rng, 5, TILE_SIDE, TILE_SIDE) - 2
    colours = [_bgr(*parts) for parts in zip(appearance.hues, appearance.saturations, appearance.brightnesses)]
    return _mixed(rng, np.clip(0.5 + mix, 0, 1), colours)


def background(rng: np.random.Generator, split_number: int, height: int, width: int) -> NDArray[np.uint8]:
    """A frame of blotches in two dull colours of the split, (H, W, 3) uint8 BGR."""
    coarse, fine = int(rng.integers(3, 6)), int(rng.integers(9, 16))
    mix = 0.6 * _blotches(rng, coarse, height, width) + 0.4 * _blotches(rng, fine, height, width)
    sectors = rng.integers(NUM_SECTORS, size=2)
    brightnesses = rng.uniform(0.2, 0.45), rng.uniform(0.6, 0.9)
    colours = [
        _bgr(_hue(rng, split_number, int(sector)), rng.uniform(0.05, 0.3), brightness)
        for sector, brightness in zip(sectors, brightnesses, strict=True)
    ]
    return _mixed(rng, np.clip(2 * mix - 0.5, 0, 1), colours)


def _blotches(rng: np.random.Generator, cells: int, height: int, width: int) -> NDArray[Any]:
    grid = rng.random((cells, cells), dtype=np.float32)
    blotches: NDArray[Any] = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return blotches


def _bgr(hue: float, saturation: float, brightness: float) -> NDArray[np.float64]:
    return np.array(colorsys.hsv_to_rgb(hue / 360, saturation, brightness)[::-1])


def _mixed(rng: np.random.Generator, mix: NDArray[Any], colours: list[NDArray[np.float64]]) -> NDArray[np.uint8]:
    image = mix[..., None] * colours[0] + (1 - mix[..., None]) * colours[1]
    image += rng.normal(0, 0.03, mix.shape)[..., None]
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
