"""Frames from folders, video files and data sets, and what is refused."""

import re
import struct
from argparse import Namespace

import cv2
import numpy as np
import pytest
from inference.conftest import ArrayVideo
from PIL import Image

from ifrvis.commands.predict import _source
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import VideoPredictions
from ifrvis.inference.overlay import write_overlay
from ifrvis.inference.sources import open_source


def write_frames(folder, frames, name):
    folder.mkdir(exist_ok=True)
    for t, frame in enumerate(frames):
        cv2.imwrite(str(folder / name.format(t)), frame)


@pytest.fixture
def frames(rng):
    return [rng.integers(0, 256, (24, 32, 3), np.uint8) for _ in range(12)]


def test_a_folder_gives_its_frames_in_the_order_of_their_numbers_as_often_as_asked(tmp_path, frames):
    write_frames(tmp_path / "v", frames, "frame{}.png")
    (tmp_path / "v" / "notes.txt").write_text("no frame")
    (tmp_path / "v" / ".hidden.png").write_text("no frame either")
    source = open_source(tmp_path / "v")
    assert (source.height, source.width, source.length) == (24, 32, 12)
    for _ in range(2):
        assert all(np.array_equal(frame, expected) for frame, expected in zip(source, frames, strict=True))


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "mp4v"), (".avi", "MJPG")])
def test_a_video_file_gives_its_frames_and_rate(tmp_path, suffix, codec):
    path = tmp_path / f"v{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 12.5, (64, 48))
    for t in range(7):
        writer.write(np.full((48, 64, 3), 30 * t, np.uint8))
    writer.release()
    source = open_source(path)
    assert (source.height, source.width, source.length) == (48, 64, 7)
    assert source.frame_rate == pytest.approx(12.5)
    for _ in range(2):
        assert [abs(float(frame.mean()) - 30 * t) < 6 for t, frame in enumerate(source)] == [True] * 7


def written_video(path, codec="MJPG"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 12.5, (64, 48))
    for t in range(20):
        writer.write(np.full((48, 64, 3), 10 * t, np.uint8))
    writer.release()
    data = path.read_bytes()
    return data, [match.start() for match in re.finditer(rb"00dc....\xff\xd8", data, re.DOTALL)]


def shown(source):
    """Which frame each frame is, by its grey."""
    return [round(float(frame.mean()) / 10) for frame in source]


@pytest.mark.parametrize(
    ("broken", "cut", "expected", "says"),
    [
        ((), None, range(20), ""),
        ((7,), None, [*range(7), 6, *range(8, 20)], "20 frames, 19 can be read; 1 broken ones show the frame before"),
        ((0, 7, 8), None, [1, *range(1, 7), 6, 6, *range(9, 20)], "20 frames, 17 can be read; 3 broken ones"),
        ((), 12, range(12), "its container says 20 frames, 12 can be read."),
        ((19,), None, range(19), "its container says 20 frames, 19 can be read."),
    ],
)
def test_frames_that_a_video_announces_and_lacks_are_told_and_move_no_other(tmp_path, broken, cut, expected, says):
    data, places = written_video(tmp_path / "v.avi")
    data = bytearray(data if cut is None else data[: places[cut] + 50])
    for frame in broken:
        data[places[frame] + 8 : places[frame] + 208] = bytes(200)
    (tmp_path / "v.avi").write_bytes(data)
    source = open_source(tmp_path / "v.avi")
    for _ in range(2):
        assert shown(source) == list(expected)
    assert source.length == len(expected)
    assert (says in source.warning) if says else source.warning == ""


@pytest.mark.parametrize(
    ("delay", "length", "says"), [({}, 1, "its container says 10 frames, 1 can be read."), ({"duration": 40}, 10, "")]
)
def test_frames_of_a_gif_without_delays_that_ffmpeg_leaves_out_are_told(tmp_path, rng, delay, length, says):
    first, *others = map(Image.fromarray, rng.integers(0, 256, (10, 64, 96, 3), np.uint8))
    first.save(tmp_path / "v.gif", save_all=True, append_images=others, **delay)
    source = open_source(tmp_path / "v.gif")
    assert source.length == length
    assert source.warning.endswith(says) if says else source.warning == ""


def test_frames_that_last_as_they_like_are_each_there_once(tmp_path, rng):
    """Phones and screen recorders film so: ticks of the mean rate, which OpenCV counts in, are too few for them."""
    first, *others = map(Image.fromarray, images := rng.integers(0, 256, (12, 64, 96, 3), np.uint8))
    first.save(tmp_path / "v.gif", save_all=True, append_images=others, duration=[30] * 5 + [2000] + [30] * 6)
    source = open_source(tmp_path / "v.gif")
    assert (source.length, source.warning) == (12, "")
    assert all(abs(frame[..., ::-1].astype(int) - image).mean() < 30 for frame, image in zip(source, images))

    data, _ = written_video(tmp_path / "v.mkv")  # its second cluster comes three seconds later
    cluster, duration = b"\xe7\x82" + struct.pack(">H", 1440), b"\x44\x89\x88" + struct.pack(">d", 1600.0)
    assert (data.count(cluster), data.count(duration)) == (1, 1)
    data = data.replace(cluster, cluster[:2] + struct.pack(">H", 4440))
    (tmp_path / "v.mkv").write_bytes(data.replace(duration, duration[:3] + struct.pack(">d", 4600.0)))
    source = open_source(tmp_path / "v.mkv")
    assert (shown(source), source.warning) == ([*range(20)], "")


@pytest.mark.parametrize(("name", "codec"), [("v.mp4", "mp4v"), ("v.webm", "VP80"), ("v.ts", "mp4v")])
def test_a_whole_video_has_no_warning_whatever_its_container_says_of_frames(tmp_path, name, codec):
    written_video(tmp_path / name, codec)
    source = open_source(tmp_path / name)
    assert (source.length, source.warning) == (20, "")


def png(width=30):
    return cv2.imencode(".png", np.zeros((20, width, 3), np.uint8))[1].tobytes()


def grey():
    return cv2.imencode(".png", np.zeros((20, 30), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Check the path of the video: there is no file or folder"),
        ({}, "Give the folder that has the frames itself .*.jpeg, .jpg, .*, or a video file: .* has none"),
        ({"a.gif": b"x"}, "Give the folder that has the frames itself"),
        ({"0.png": png(), "1.png": png()[:40]}, r"Copy .*1.png again"),
        ({"0.png": png(), "1.png": b""}, r"Copy .*1.png again"),
        ({"0.png": png(), "1.png": png(31)}, r"Give frames of one size: frame 2 of .* is 31 x 20 pixels, those before"),
        ({"0.png": png(), "0_mask.png": png()}, "Give a folder with the frames of one video alone: .*0.* beside .*0"),
        (
            {"0.png": png(), "1.png": grey()},
            "Give a folder with the frames of one video alone: .* 1.png, of one .* 0.png",
        ),
        (b"", "Give a video file that FFmpeg can read, or a folder of frames"),
        (b"no video " * 100, "Give a video file that FFmpeg can read, or a folder of frames"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Run `git lfs pull` .* which stands for the video"),
        (b"RIFF\x00\x10\x00\x00AVI LIST", "Give a video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, content, message):
    path = tmp_path / "v"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
        for name, data in content.items():
            (path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        open_source(path)


def test_a_name_that_is_no_text_is_refused_before_opencv_ends_the_program(tmp_path):
    (path := tmp_path / "v\udcff.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"^Rename .*v\?.mp4"):
        open_source(path)
    video, found = ArrayVideo(np.zeros((1, 60, 80, 3), np.uint8)), VideoPredictions(7, 60, 80, 1, {}, (), ())
    with pytest.raises(UserError, match=r"^Rename .*v\?.mp4"):
        write_overlay(path, video, found, {}, min_score=0.3)


def test_what_is_predicted_of_a_folder_is_called_as_all_of_its_name(tmp_path):
    write_frames(tmp_path / "2026.11.30", np.zeros((1, 20, 30, 3), np.uint8), "{}.png")
    assert _source(Namespace(video=str(tmp_path / "2026.11.30")))[1] == "2026.11.30"
