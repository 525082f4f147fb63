"""One video of a synthetic set: what is seen of its objects, and its frames.

A scene is drawn again until its strata, measured on its masks as those of any video are, are the wanted ones.

Shape letters:
    N     objects, from back to front
    T     frames
    H, W  frame height and width, in pixels
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.rle import Rle, encode
from ifrvis.datasets.strata import geometry_of, strata_of_video
from ifrvis.datasets.synthetic import textures
from ifrvis.datasets.synthetic.layouts import SUBPIXEL_BITS, AppearanceStratum, Layout, SceneObject, Wanted
from ifrvis.datasets.synthetic.parameters import SPLITS, SyntheticParameters

MIN_VISIBLE_PIXELS = 8  # annotators mark no smaller sliver
_SEEN = 0.3  # of an object's area in the frame, at its best
_MAX_TRIES = 60  # drawn scenes; tiny sets whose frames are too few for their strata keep the last
_BLOCK = 20  # videos in which the shares of the strata hold exactly


@dataclass(frozen=True)
class Scene:
    """Objects with what is seen of them."""

    objects: tuple[SceneObject, ...]  # from back to front
    coverage: NDArray[np.uint8]  # (N, T, H, W) uint8, share of each pixel that the object would cover alone
    masks: tuple[tuple[Rle | None, ...], ...]  # N tuples of T masks; None where fewer than MIN_VISIBLE_PIXELS are seen
    appearance: AppearanceStratum  # of objects of one class
    background: NDArray[np.uint8]  # (H, W, 3) uint8 BGR


def scene_of(parameters: SyntheticParameters, split: str, index: int) -> Scene:
    """The scene of one video: with the wanted strata, and objects that are seen well at least once."""
    split_number = SPLITS.index(split)
    wanted = wanted_of(parameters, split_number, index)
    if split == "pretrain":
        wanted = replace(wanted, num_frames=1, occlusion=False, reentry=False)
    rng = np.random.default_rng([parameters.seed, split_number, 0, index])
    backdrop = textures.background(rng, split_number, parameters.height, parameters.width)
    for _ in range(_MAX_TRIES):
        objects = Layout(rng, parameters, split_number, wanted).objects()
        coverage = np.stack([_coverage(each, parameters.height, parameters.width) for each in objects])
        scene = Scene(objects, coverage, _masks(coverage), wanted.appearance, backdrop)
        if _is_as(wanted, scene):
            break
    return scene


def wanted_of(parameters: SyntheticParameters, split_number: int, index: int) -> Wanted:
    """What a video should hold: everything has its share of every block of videos, in an order of its own."""
    block, place = divmod(index, _BLOCK)
    rng = np.random.default_rng([parameters.seed, split_number, 1, block])
    ranks, lengths, looks = ((rng.permutation(_BLOCK) + 0.5) / _BLOCK for _ in range(3))
    counts = 1 + np.searchsorted(np.cumsum(parameters.objects)[:-1], ranks)
    low, high = parameters.frames
    appearances: tuple[AppearanceStratum, ...] = ("distinct", "similar", "twin")
    return Wanted(
        num_objects=int(counts[place]),
        num_frames=low + int(lengths[place] * (high + 1 - low)),
        appearance=appearances[int(3 * looks[place])],
        crossing=bool(_dealt(rng, counts > 1, parameters.crossing)[place]),
        occlusion=bool(_dealt(rng, counts > 1, parameters.occlusion)[place]),
        reentry=bool(_dealt(rng, counts == 1, parameters.reentry)[place]),
    )


def _dealt(rng: np.random.Generator, candidates: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Which of the candidates are a share of them, chosen at random."""
    order = rng.permutation(np.flatnonzero(candidates))
    return np.isin(np.arange(len(candidates)), order[: round(share * len(order))])


def _is_as(wanted: Wanted, scene: Scene) -> bool:
    areas, boxes = geometry_of(scene.masks)
    strata = strata_of_video([each.label for each in scene.objects], areas, boxes)
    well = areas > _SEEN * (scene.coverage >= 128).sum((2, 3))
    wanted_strata = (wanted.crossing, wanted.occlusion or wanted.reentry)
    return (strata.crossing, strata.occlusion) == wanted_strata and bool(well.any(1).all())


def _masks(coverage: NDArray[np.uint8]) -> tuple[tuple[Rle | None, ...], ...]:
    whole = coverage >= 128
    covered, masks = np.zeros_like(whole[0]), []
    for planes in whole[::-1]:
        visible = planes & ~covered
        masks.append(tuple(encode(each) if each.sum() >= MIN_VISIBLE_PIXELS else None for each in visible))
        covered |= planes
    return tuple(masks[::-1])


def _coverage(scene_object: SceneObject, height: int, width: int) -> NDArray[np.uint8]:
    coverage = np.zeros((len(scene_object.centres), height, width), np.uint8)
    for plane, polygon in zip(coverage, scene_object.polygons(), strict=True):
        cv2.fillPoly(plane, [polygon], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return coverage


def frames_of(scene: Scene) -> Iterator[NDArray[np.uint8]]:
    """The frames of a scene, each (H, W, 3) uint8 BGR."""
    tiles = [textures.tile(each.appearance) for each in scene.objects]
    polygons = [each.polygons() for each in scene.objects]
    to_disk = np.array([[1 / textures.TILE_SIDE, 0, -0.5], [0, 1 / textures.TILE_SIDE, -0.5], [0, 0, 1]])
    placements = [each.placements() @ to_disk for each in scene.objects]
    for frame in range(scene.coverage.shape[1]):
        image = scene.background.copy()
        for index, tile in enumerate(tiles):
            _paint(image, scene.coverage[index, frame], tile, placements[index][frame], polygons[index][frame])
        yield image


def _paint(
    image: NDArray[np.uint8],
    coverage: NDArray[np.uint8],
    tile: NDArray[np.uint8],
    placement: NDArray[np.float64],
    polygon: NDArray[np.int32],
) -> None:
    """Draw one object over an image, with a dark rim that parts it from others like it."""
    height, width = coverage.shape
    x, y, box_width, box_height = cv2.boundingRect(coverage)
    texture = cv2.warpAffine(tile, placement, (width, height), borderMode=cv2.BORDER_REFLECT)
    rim = (0.35 * tile.mean((0, 1))).round().tolist()
    cv2.polylines(texture, [polygon], True, rim, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    window = np.s_[y : y + box_height, x : x + box_width]
    weight = coverage[window].astype(np.float32)[..., None] / 255
    image[window] = np.round(image[window] + weight * (texture[window] - image[window].astype(np.float32)))
