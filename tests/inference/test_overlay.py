"""What is drawn over a video."""

import cv2
import numpy as np
import pytest
from inference.conftest import ArrayVideo

from ifrvis.datasets.rle import encode
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import Scored, VideoPredictions
from ifrvis.inference import overlay
from ifrvis.inference.overlay import colour_of, draw_instances, write_overlay


def mask_at(left):
    mask = np.zeros((60, 80), bool)
    mask[20:40, left : left + 20] = True
    return mask


def test_an_instance_keeps_its_colour_and_only_its_mask_and_label_are_painted():
    grey = np.full((60, 80, 3), 100, np.uint8)
    first = draw_instances(grey, [(0, mask_at(5), "1"), (1, mask_at(50), "2")])
    second = draw_instances(grey, [(1, mask_at(30), "2")])
    assert np.array_equal(first[32, 60], second[32, 40])
    assert not np.array_equal(first[32, 60], first[32, 15])
    assert (first[45:] == 100).all()
    assert (grey == 100).all()


@pytest.mark.parametrize("left", [0, 60])
def test_labels_stay_inside_the_frame(left):
    mask = np.zeros((60, 80), bool)
    mask[0:3, left : left + 20] = True
    drawn = draw_instances(np.zeros((60, 80, 3), np.uint8), [(2, mask, "a long name of a class 1.00")])
    assert (drawn == colour_of(2)).all(2).any()


def test_labels_stand_beside_small_objects_and_never_on_one_another():
    small, high = np.zeros((60, 160), bool), np.zeros((60, 160), bool)
    small[30:34, 20:24], high[0:4, 100:104] = True, True
    for instances in ([(0, small, "1 cat 0.90"), (1, small, "2 cat 0.80")], [(0, high, "1 a")], [(1, small, "2 b")]):
        drawn = draw_instances(np.zeros((60, 160, 3), np.uint8), instances)
        for number, mask, _ in instances:
            bar = (drawn == colour_of(number)).all(2)
            assert bar.sum() > 60  # whole, but for its letters
            assert not bar[mask].any()


def test_the_video_shows_what_is_likelier_than_the_threshold_frame_by_frame(tmp_path):
    video = ArrayVideo(np.full((3, 60, 80, 3), 100, np.uint8))
    masks = {4: (encode(mask_at(5)), None, encode(mask_at(45))), 9: (encode(mask_at(30)),) * 3}
    by_query = (Scored(4, 1, 0.9), Scored(9, 2, 0.1))
    found = VideoPredictions(7, 60, 80, 3, masks, by_query, by_query)
    assert write_overlay(tmp_path / "o.mp4", video, found, {1: "cat", 2: "dog"}, min_score=0.3) == (1, "VP9")
    capture = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") == b"VP90"
    frames = [capture.read()[1] for _ in range(3)]
    painted = [np.abs(frame.astype(int) - 100).max(2) > 40 for frame in frames]
    assert [bool(each[35, 15]) for each in painted] == [True, False, False]
    assert [bool(each[35, 55]) for each in painted] == [False, False, True]
    assert not painted[1].any()


@pytest.mark.parametrize(
    ("rate", "size"), [(119.4734, (60, 80)), (0.001, (60, 80)), (999.99, (60, 80)), (29.97, (61, 79))]
)
def test_a_rate_is_rounded_and_an_odd_side_padded(tmp_path, rate, size):
    video = ArrayVideo(np.full((2, *size, 3), 100, np.uint8))
    object.__setattr__(video, "frame_rate", rate)
    none = VideoPredictions(7, *size, 2, {}, (), ())
    assert write_overlay(tmp_path / "o.mp4", video, none, {}, min_score=0.3)[0] == 0
    capture = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    assert capture.read()[1].shape[:2] == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(max(rate, 0.01), rel=0.01)


@pytest.mark.parametrize(
    ("name", "like"), [("größe", None), ("Ärztin мышь", None), ("\U0010ffff", "1 category 3 0.90")]
)
def test_a_name_is_drawn_by_a_font_that_has_it_or_the_categorys_number_is(tmp_path, monkeypatch, name, like):
    labels = []
    draw = overlay.draw_instances

    def look(frame, instances):
        labels.extend(label for _, _, label in instances)
        return draw(frame, instances)

    monkeypatch.setattr(overlay, "draw_instances", look)
    video = ArrayVideo(np.full((1, 60, 160, 3), 100, np.uint8))
    mask = np.zeros((60, 160), bool)
    mask[30:50, 60:100] = True
    found = VideoPredictions(7, 60, 160, 1, {0: (encode(mask),)}, (Scored(0, 3, 0.9),), (Scored(0, 3, 0.9),))
    write_overlay(tmp_path / "o.mp4", video, found, {3: name}, min_score=0.3)
    assert labels == [like or f"1 {name} 0.90"]
    drawn = draw(np.full((60, 160, 3), 100, np.uint8), [(0, mask, labels[0])])
    assert (drawn[:30] < 90).all(2).sum() > 10  # ink of letters, not of boxes in their place
    assert like or not np.array_equal(drawn, draw(np.full((60, 160, 3), 100, np.uint8), [(0, mask, "\u00e4" * 9)]))


def test_what_is_interrupted_leaves_what_was_there(tmp_path):
    class Interrupted(ArrayVideo):
        def __iter__(self):
            yield self.frames[0]
            raise KeyboardInterrupt

    (tmp_path / "o.mp4").write_bytes(b"another")
    with pytest.raises(KeyboardInterrupt):
        write_overlay(
            tmp_path / "o.mp4",
            Interrupted(np.zeros((3, 60, 80, 3), np.uint8)),
            VideoPredictions(7, 60, 80, 3, {}, (), ()),
            {},
            min_score=0.3,
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"o.mp4": b"another"}


def test_a_place_that_takes_no_video_is_an_error(tmp_path):
    video, found = ArrayVideo(np.zeros((1, 60, 80, 3), np.uint8)), VideoPredictions(7, 60, 80, 1, {}, (), ())
    with pytest.raises(UserError, match="Choose another --out"):
        write_overlay(tmp_path / "absent" / "o.mp4", video, found, {}, min_score=0.3)
