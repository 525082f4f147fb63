"""Where the frames of a video come from: a data set, a folder of images, a video file.

A source knows size and length before the work starts and gives its frames in order, as often as it is asked. What is
not a data set's is decoded once at the beginning, so that a broken frame is found before anything is computed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.frames import pictures_in, read_frame
from ifrvis.datasets.pictures import open_picture
from ifrvis.datasets.rle import MAX_SIDE
from ifrvis.datasets.ytvis import Id, Video
from ifrvis.errors import UserError

Frames = Iterator[NDArray[np.uint8]]  # each (height, width, 3), BGR
FRAME_RATE = 10.0  # of what has none of its own


@dataclass(frozen=True)
class FrameSource:
    """One video: `height` and `width` in pixels, `length` in frames, `frame_rate` in frames a second."""

    video_id: Id
    height: int
    width: int
    length: int
    frames: Callable[[], Frames]
    frame_rate: float = FRAME_RATE

    def __iter__(self) -> Frames:
        return self.frames()


def dataset_source(video: Video, frames_root: Path) -> FrameSource:
    """A video of a data set, whose annotations say how large and long it is."""

    def frames() -> Frames:
        return (read_frame(frames_root, video, t) for t in range(video.length))

    return FrameSource(video.id, video.height, video.width, video.length, frames)


def open_source(path: Path) -> FrameSource:
    """The images of a folder, ordered by name and in names by number, or the frames of a video file.

    Raises:
        UserError: If there is no such thing, a frame cannot be read, there is none, or they differ in size.
    """
    try:
        if path.is_dir():
            _refuse_masks(path, images := pictures_in(path))
            return _measured(path, lambda: (open_picture(each).frame() for each in images), FRAME_RATE)
        if path.is_file():
            with path.open("rb"):
                return _measured(path, lambda: _read_video(path), _frame_rate(path))
    except OSError as error:
        raise UserError(f"Make {path} readable: {error.strerror}.") from error
    raise UserError(f"Check the path of the video: there is no file or folder {path}.")


def _measured(path: Path, frames: Callable[[], Frames], frame_rate: float) -> FrameSource:
    """A source whose frames are all decoded once, to learn how many and how large they are."""
    length, size = 0, (0, 0)
    for length, frame in enumerate(frames(), start=1):
        found = (frame.shape[0], frame.shape[1])
        if length > 1 and found != size:
            raise UserError(
                f"Give frames of one size: frame {length} of {path} is {found[1]} x {found[0]} pixels, those before it "
                f"are {size[1]} x {size[0]}."
            )
        size = found
    if not length:
        raise UserError(f"Give a video with at least one frame: {path} has none that can be read.")
    if max(size) > MAX_SIDE:
        raise UserError(f"Make the frames of {path} smaller: no side may exceed {MAX_SIDE} pixels.")
    return FrameSource(1, *size, length, frames, frame_rate)


def _refuse_masks(path: Path, images: list[Path]) -> None:
    """Masks among the frames of a folder would be taken for frames."""
    kinds = {open_picture(each).has_one_channel: each.name for each in images}
    if len(kinds) > 1:
        text = f"{path} has {kinds[True]}, of one channel as masks are, beside {kinds[False]}"
        raise UserError(f"Give a folder with the frames of one video alone: {text}.")


def _opened(path: Path) -> cv2.VideoCapture:
    return cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)  # a full path is never taken for an address


def _frame_rate(path: Path) -> float:
    capture = _opened(path)
    rate = capture.get(cv2.CAP_PROP_FPS)
    if not capture.isOpened():
        raise UserError(f"Give a video file that FFmpeg can read, or a folder of frames: {path} is no such file.")
    return float(rate) if 0 < rate < 1000 else FRAME_RATE


def _read_video(path: Path) -> Frames:
    capture = _opened(path)
    there, frame = capture.read()
    while there:
        yield np.asarray(frame, np.uint8)
        there, frame = capture.read()
