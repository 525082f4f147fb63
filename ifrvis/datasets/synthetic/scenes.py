"""One video of a synthetic set: what is seen of its objects, its tags, and its frames.

What a scene is tagged with is always measured on its masks; a scene is drawn again until the measured tags are the
wanted ones.

Shape letters:
    N     objects, from back to front
    T     frames
    H, W  frame height and width, in pixels
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.synthetic import textures
from ifrvis.datasets.synthetic.layouts import SUBPIXEL_BITS, AppearanceStratum, Layout, SceneObject, Strata
from ifrvis.datasets.synthetic.parameters import SPLITS, SyntheticParameters

MIN_VISIBLE_PIXELS = 8  # annotators mark no smaller sliver
MOSTLY_HIDDEN = 0.7  # share of an object's area in the frame
OCCLUSION_FRAMES = (2, 4)
_MIN_OVERLAP = 0.2  # of the smaller of two masks, for a crossing
_MAX_TRIES = 60  # drawn scenes; tiny sets whose frames are too few for their tags keep the last
_BLOCK = 20  # videos in which the shares of the strata hold exactly


@dataclass(frozen=True)
class Scene:
    """Objects with what is seen of them.

    Args:
        objects: From back to front.
        coverage: (N, T, H, W) uint8, share of each pixel that the object would cover alone.
        visible: (N, T, H, W) bool, the masks; empty where fewer than MIN_VISIBLE_PIXELS are seen.
        strata: Measured on the masks.
        crossing_pairs: Positions of the objects of one class that overlap.
        clear_cut: No occlusion is longer than OCCLUSION_FRAMES, and objects of one class that overlap do pass.
        background: (H, W, 3) uint8 BGR.
    """

    objects: tuple[SceneObject, ...]
    coverage: NDArray[np.uint8]
    visible: NDArray[np.bool_]
    strata: Strata
    crossing_pairs: tuple[tuple[int, int], ...]
    clear_cut: bool
    background: NDArray[np.uint8]


def scene_of(parameters: SyntheticParameters, split: str, index: int) -> Scene:
    """The scene of one video: with the wanted strata, or, for a still, with objects that are seen well enough."""
    split_number = SPLITS.index(split)
    wanted = wanted_strata(parameters, split_number, index)
    num_frames = parameters.frames
    if split == "pretrain":
        num_frames, wanted = 1, replace(wanted, occlusion=False, reentry=False)
    rng = np.random.default_rng([parameters.seed, split_number, 0, index])
    backdrop = textures.background(rng, split_number, parameters.height, parameters.width)
    for _ in range(_MAX_TRIES):
        objects = Layout(rng, parameters, num_frames, split_number, wanted).objects()
        scene = _measured(objects, parameters, wanted.appearance, backdrop)
        if _accepted(scene, wanted, num_frames):
            break
    return scene


def wanted_strata(parameters: SyntheticParameters, split_number: int, index: int) -> Strata:
    """What a video should hold: each stratum has its share of every block of videos, in an order of its own."""
    block, place = divmod(index, _BLOCK)
    rng = np.random.default_rng([parameters.seed, split_number, 1, block])
    ranks = [(rng.permutation(_BLOCK)[place] + 0.5) / _BLOCK for _ in range(4)]
    appearances: tuple[AppearanceStratum, ...] = ("distinct", "similar", "twin")
    shares = (parameters.crossing, parameters.occlusion, parameters.reentry)
    return Strata(appearances[int(3 * ranks[0])], *(bool(rank < share) for rank, share in zip(ranks[1:], shares)))


def _accepted(scene: Scene, wanted: Strata, num_frames: int) -> bool:
    if num_frames > 1:
        return scene.strata == wanted and scene.clear_cut
    seen = scene.visible.sum((1, 2, 3)) / np.maximum(1, (scene.coverage >= 128).sum((1, 2, 3)))
    return scene.strata == wanted and bool(seen.min() > 1 - MOSTLY_HIDDEN)


def _measured(
    objects: tuple[SceneObject, ...],
    parameters: SyntheticParameters,
    appearance: AppearanceStratum,
    backdrop: NDArray[np.uint8],
) -> Scene:
    coverage = np.stack([_coverage(each, parameters.height, parameters.width) for each in objects])
    whole = coverage >= 128
    visible, covered = np.empty_like(whole), np.zeros_like(whole[0])
    for index in reversed(range(len(objects))):
        visible[index] = whole[index] & ~covered
        covered |= whole[index]
    areas, seen = whole.sum((2, 3)), visible.sum((2, 3))
    visible[seen < MIN_VISIBLE_PIXELS] = False
    in_frame = areas >= MIN_VISIBLE_PIXELS
    hidden = in_frame & (seen < (1 - MOSTLY_HIDDEN) * areas)
    longest = max(_longest_run(row) for row in hidden)
    meetings = dict(_meetings(objects, whole, areas))
    reentry = any(np.diff(np.flatnonzero(row)).max(initial=0) > 1 for row in in_frame)
    strata = Strata(appearance, bool(meetings), longest >= OCCLUSION_FRAMES[0], reentry)
    clear_cut = longest <= OCCLUSION_FRAMES[1] and all(meetings.values())
    return Scene(objects, coverage, visible, strata, tuple(meetings), clear_cut, backdrop)


def _coverage(scene_object: SceneObject, height: int, width: int) -> NDArray[np.uint8]:
    coverage = np.zeros((len(scene_object.centres), height, width), np.uint8)
    for plane, polygon in zip(coverage, scene_object.polygons(), strict=True):
        cv2.fillPoly(plane, [polygon], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return coverage


def _longest_run(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return int(np.diff(edges)[::2].max(initial=0))


def _meetings(
    objects: tuple[SceneObject, ...], whole: NDArray[np.bool_], areas: NDArray[np.int64]
) -> Iterator[tuple[tuple[int, int], bool]]:
    """Pairs of one class whose masks overlap, and whether one has passed to the other side of the other."""
    for first, second in itertools.combinations(range(len(objects)), 2):
        if objects[first].label == objects[second].label:
            shared = (whole[first] & whole[second]).sum((1, 2))
            if np.any(shared > _MIN_OVERLAP * np.minimum(areas[first], areas[second])):
                touching = np.flatnonzero(shared)
                apart = objects[second].centres - objects[first].centres
                yield (first, second), bool(apart[touching[0]] @ apart[touching[-1]] < 0)


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
