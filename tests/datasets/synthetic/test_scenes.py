"""What makes the synthetic sets informative, measured on their files alone.

Also tests: ifrvis.datasets.synthetic.layouts, ifrvis.datasets.synthetic.textures.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from ifrvis.datasets.rle import area, box, decode
from ifrvis.datasets.synthetic import parameters as synthetic
from ifrvis.datasets.synthetic import scenes, textures
from ifrvis.datasets.synthetic.making import make_split
from ifrvis.datasets.ytvis import read_annotations
from ifrvis.files import read_json

APPEARANCES = ["distinct", "similar", "twin"]
KERNEL = np.ones((3, 3), np.uint8)
NUM_MADE = {"pretrain": 60, "train": 20, "dev": 0, "test": 40}  # enough for shares, quick to make


@dataclass
class Video:
    """Shape letters: N objects, T frames, H and W height and width in pixels."""

    tags: dict
    ids: list
    labels: np.ndarray  # (N,) categories
    masks: np.ndarray  # (N, T, H, W) bool
    images: list  # T paths

    @cached_property
    def centroids(self):
        """(N, T, 2) x and y of the visible mask; not a number where there is none."""
        areas = self.masks.sum((2, 3))
        y = self.masks.sum(3) @ np.arange(self.masks.shape[2])
        x = self.masks.sum(2) @ np.arange(self.masks.shape[3])
        with np.errstate(invalid="ignore"):
            return np.stack([x / areas, y / areas], -1)

    @property
    def pairs(self):
        """Pairs of objects of one class."""
        return [
            pair for pair in itertools.combinations(range(len(self.ids)), 2) if np.ptp(self.labels[list(pair)]) == 0
        ]


def load(folder, split):
    annotations = read_annotations(folder / f"{split}.json")
    for video in annotations.videos:
        tracks = annotations.tracks_of(video.id)
        empty = np.zeros((video.height, video.width), bool)
        masks = [[empty if rle is None else decode(rle) for rle in track.masks] for track in tracks]
        images = [folder / split / "JPEGImages" / name for name in video.file_names]
        labels = np.array([track.category_id for track in tracks])
        yield Video(dict(video.tags), [track.id for track in tracks], labels, np.array(masks), images)


@dataclass
class Mini:
    """A small part of a mini set, as it is read from its files."""

    parameters: synthetic.SyntheticParameters
    folder: Path
    stills: list
    train: list
    test: list

    @property
    def clips(self):
        return self.train + self.test


@pytest.fixture(scope="module", params=["mini19", "mini21"])
def mini(request, tmp_path_factory, parameters_of):
    folder = tmp_path_factory.mktemp(request.param)
    parameters = parameters_of(request.param, videos=NUM_MADE)
    for split in ("pretrain", "train", "test"):
        make_split(parameters, split, folder)
    return Mini(parameters, folder, *(list(load(folder, split)) for split in ("pretrain", "train", "test")))


def iou(first, second):
    """IoU of masks (N, H, W) and (M, H, W), as (N, M)."""
    first, second = (
        masks.reshape(len(masks), np.prod(masks.shape[1:])).astype(np.float32) for masks in (first, second)
    )
    shared = first @ second.T
    return shared / (first.sum(1)[:, None] + second.sum(1)[None] - shared)


def adjacent_frame_tracks(masks):
    """(N, T) track of each visible mask, linked to the frame before by a Hungarian matching of IoU."""
    tracks = np.full(masks.shape[:2], -1)
    fresh = itertools.count()
    before = np.array([], int)
    for frame in range(masks.shape[1]):
        now = np.flatnonzero(masks[:, frame].any((1, 2)))
        overlap = iou(masks[now, frame], masks[before, frame - 1])
        for row, column in zip(*linear_sum_assignment(-overlap)):
            if overlap[row, column] > 0:
                tracks[now[row], frame] = tracks[before[column], frame - 1]
        for index in now[tracks[now, frame] < 0]:
            tracks[index, frame] = next(fresh)
        before = now
    return tracks


def id_true_positives(tracks):
    """Detections under the best matching of objects and tracks over the whole video."""
    shared = np.stack([(tracks == track).sum(1) for track in range(tracks.max() + 1)], 1)
    return shared[linear_sum_assignment(-shared)].sum()


def test_adjacent_iou_association_solves_crossings(mini):
    videos = [video for video in mini.clips if video.tags["crossing"] and not video.tags["reentry"]]
    tracks = [adjacent_frame_tracks(video.masks) for video in videos]
    # Each detection is an object in both worlds: false positives and false negatives are equally many.
    idf1 = sum(id_true_positives(each) for each in tracks) / sum((each >= 0).sum() for each in tracks)
    assert idf1 >= 0.95


def features(video, index):
    """(T, 5) mean colour and position of an object, not a number where it is not seen."""
    colours = np.full((len(video.images), 3), np.nan)
    for frame, path in enumerate(video.images):
        mask = video.masks[index, frame]
        if mask.any():
            colours[frame] = cv2.imread(str(path))[mask].mean(0)
    return np.concatenate([colours, video.centroids[index]], 1)


def linear_accuracy(train, test):
    """Share of right answers on `test` of least squares fitted on `train`; both (T, 2, 5) features of two objects."""
    mean, std = train.mean((0, 1)), train.std((0, 1)) + 1e-6

    def design(samples):
        scaled = (samples.reshape(-1, 5) - mean) / std
        return np.concatenate([scaled, np.ones((len(scaled), 1))], 1)

    weights = np.linalg.lstsq(design(train), np.tile([-1.0, 1.0], len(train)), rcond=None)[0]
    return ((design(test) @ weights > 0) == np.tile([False, True], len(test))).mean()


def accuracies(videos, appearance):
    """Of each pair of one class: fitted on one half of the video, asked about the other, both ways.

    Halves, because an identity has to be carried across time; between neighbouring frames position alone tells
    any two objects apart, whatever they look like.
    """
    for video in videos:
        for pair in video.pairs if video.tags["appearance"] == appearance else []:
            both = np.stack([features(video, index) for index in pair], 1)
            both = both[np.isfinite(both).all((1, 2))]
            early, late = np.array_split(both, 2)
            yield (linear_accuracy(early, late) + linear_accuracy(late, early)) / 2


def test_colour_and_position_do_not_tell_twins_apart(mini):
    assert np.mean(list(accuracies(mini.clips, "twin"))) <= 0.75


def test_colour_and_position_tell_distinct_objects_apart(mini):
    assert np.mean(list(accuracies(mini.test, "distinct"))) >= 0.95


def nearest_is_itself(video, first, second):
    """Of each object seen in both frames and not alone of its class: is its own centroid the nearest in `second`?"""
    here, there = video.centroids[:, first], video.centroids[:, second]
    for index in np.flatnonzero(np.isfinite(here[:, 0] + there[:, 0])):
        same = np.flatnonzero((video.labels == video.labels[index]) & np.isfinite(there[:, 0]))
        if len(same) > 1:
            yield same[np.linalg.norm(there[same] - here[index], axis=1).argmin()] == index


def test_nearest_position_matches_most_training_pairs(mini):
    right = [
        answer
        for video in mini.train
        for first, second in itertools.permutations(range(mini.parameters.frames), 2)
        if abs(first - second) <= 5
        for answer in nearest_is_itself(video, first, second)
    ]
    assert np.mean(right) >= 0.8


@pytest.mark.parametrize(
    ("tag", "least", "most"), [("crossing", 0.55, 0.65), ("occlusion", 0.45, 0.55), ("reentry", 0.05, 0.15)]
)
def test_tags_have_their_shares(mini, tag, least, most):
    assert least <= np.mean([video.tags[tag] for video in mini.clips]) <= most


def test_appearances_have_equal_shares(mini):
    counts = [sum(video.tags["appearance"] == stratum for video in mini.clips) for stratum in APPEARANCES]
    assert min(counts) >= 0.25 * len(mini.clips)
    assert all(video.pairs for video in mini.clips)


def test_crossing_objects_share_a_class_and_meet(mini):
    for video in mini.clips:
        pairs = [tuple(video.ids.index(each) for each in pair) for pair in video.tags["crossing_pairs"]]
        assert bool(pairs) == video.tags["crossing"]
        for pair in pairs:
            assert pair in video.pairs
            touching = [cv2.dilate(video.masks[each].astype(np.uint8).transpose(1, 2, 0), KERNEL) for each in pair]
            assert np.any(touching[0] & touching[1])


def longest_run_below(video, share):
    """Most frames in a row in which some object shows less than `share` of its largest mask."""
    areas = video.masks.sum((2, 3))
    rows = areas < share * areas.max(1, keepdims=True)
    return max((len(list(run)) for row in rows for low, run in itertools.groupby(row) if low), default=0)


def test_occlusions_last_two_to_four_frames(mini):
    for video in mini.clips:
        if video.tags["occlusion"]:
            assert longest_run_below(video, 0.35) >= 2
        if not video.tags["reentry"]:
            assert longest_run_below(video, 0.2) <= (4 if video.tags["occlusion"] else 1)


def test_reentering_objects_are_gone_and_come_back(mini):
    for video in mini.clips:
        if video.tags["reentry"]:
            assert any(np.diff(np.flatnonzero(row)).max() > 1 for row in video.masks.any((2, 3)))


def test_adjacent_masks_overlap(mini):
    overlaps = [
        iou(masks[frame : frame + 1], masks[frame + 1 : frame + 2]).item()
        for video in mini.clips
        for masks in video.masks
        for frame in range(mini.parameters.frames - 1)
        if masks[frame].any() and masks[frame + 1].any()
    ]
    assert np.median(overlaps) >= 0.6


def test_objects_move_slowly_and_far(mini):
    objects = [each for index in range(20) for each in scenes.scene_of(mini.parameters, "test", index).objects]
    steps = [np.linalg.norm(np.diff(each.centres, axis=0), axis=1) / each.diameter for each in objects]
    assert min(each.sum() for each in steps) >= 3
    assert 0.1 <= np.median(steps) <= 0.3
    assert np.max(steps) <= 0.3


def test_stills_show_the_classes_and_scales_of_the_clips(mini):
    assert all(len(video.images) == 1 for video in mini.stills)
    stills, clips = (np.concatenate([video.labels for video in videos]) for videos in (mini.stills, mini.clips))
    assert set(stills) == set(clips) == set(range(1, mini.parameters.num_classes + 1))
    sides = [
        np.sqrt(np.concatenate([video.masks.sum((2, 3)).max(1) for video in videos]))
        for videos in (mini.stills, mini.clips)
    ]
    assert np.median(sides[0]) == pytest.approx(np.median(sides[1]), rel=0.15)


def test_boxes_and_areas_are_those_of_the_masks(mini):
    for track in read_json(mini.folder / "test.json")["annotations"]:
        for rle, bbox, claimed in zip(track["segmentations"], track["bboxes"], track["areas"], strict=True):
            assert (rle is None) == (bbox is None) == (claimed is None)
            if rle is not None:
                assert claimed == area(rle) >= scenes.MIN_VISIBLE_PIXELS
                assert tuple(bbox) == box(rle)


def test_masks_never_overlap(mini):
    assert all(video.masks.sum(0).max() == 1 for video in mini.clips + mini.stills)


def test_a_video_depends_on_its_index_alone(mini):
    scene = scenes.scene_of(mini.parameters, "test", 7)
    assert np.array_equal(scene.visible, mini.test[7].masks)


@pytest.mark.parametrize("name", ["mini19", "mini21"])
def test_splits_share_no_texture(name, parameters_of):
    parameters = parameters_of(name)
    tiles, arcs = {}, {}
    for split in synthetic.SPLITS:
        looks = [each.appearance for index in range(10) for each in scenes.scene_of(parameters, split, index).objects]
        arcs[split] = {int(hue // 15) for look in looks for hue in look.hues}
        tiles[split] = {textures.tile(look).tobytes() for look in looks}
    for first, second in itertools.combinations(synthetic.SPLITS, 2):
        assert not arcs[first] & arcs[second]
        assert not tiles[first] & tiles[second]
