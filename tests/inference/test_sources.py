"""Frames from folders, video files and data sets, and what is refused."""

import cv2
import numpy as np
import pytest

from ifrvis.errors import UserError
from ifrvis.inference.sources import open_source


def write_frames(folder, frames, name="{}.png"):
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


def empty_folder(path):
    path.mkdir()


def folder_without_images(path):
    path.mkdir()
    (path / "a.txt").write_text("x")


def frame_cut_short(path):
    write_frames(path, [np.zeros((20, 30, 3), np.uint8)] * 3)
    (path / "1.png").write_bytes((path / "1.png").read_bytes()[:40])


def empty_frame(path):
    write_frames(path, [np.zeros((20, 30, 3), np.uint8)])
    (path / "1.png").write_bytes(b"")


def frames_of_two_sizes(path):
    write_frames(path, [np.zeros((20, 30, 3), np.uint8), np.zeros((20, 31, 3), np.uint8)])


def empty_file(path):
    path.write_bytes(b"")


def text_file(path):
    path.write_text("no video " * 100)


def header_alone(path):
    writer = cv2.VideoWriter(str(path.with_suffix(".avi")), cv2.VideoWriter_fourcc(*"MJPG"), 5, (16, 16))
    writer.write(np.zeros((16, 16, 3), np.uint8))
    writer.release()
    path.write_bytes(path.with_suffix(".avi").read_bytes()[:400])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "Check the path of the video: there is no file or folder"),
        (empty_folder, "Give a video with at least one frame"),
        (folder_without_images, "Give a video with at least one frame"),
        (frame_cut_short, r"Copy .*1.png again or remove it"),
        (empty_frame, r"Copy .*1.png again or remove it"),
        (frames_of_two_sizes, r"Give frames of one size: frame 2 of .* is 31 x 20 pixels, those before it are 30 x 20"),
        (empty_file, "Give a video file that FFmpeg can read, or a folder of frames"),
        (text_file, "Give a video file that FFmpeg can read, or a folder of frames"),
        (header_alone, "Give a video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, make, message):
    make(tmp_path / "v")
    with pytest.raises(UserError, match=message):
        open_source(tmp_path / "v")
