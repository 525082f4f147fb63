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


def png(width=30):
    return cv2.imencode(".png", np.zeros((20, width, 3), np.uint8))[1].tobytes()


def grey():
    return cv2.imencode(".png", np.zeros((20, 30), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Check the path of the video: there is no file or folder"),
        ({}, "Give a video with at least one frame"),
        ({"a.txt": b"x"}, "Give a video with at least one frame"),
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
