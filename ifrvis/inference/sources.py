"""Where the frames of a video come from: a data set, a folder of images, a video file.

A source knows size and length before the work starts and gives its frames in order, as often as it is asked. What is
not a data set's is decoded once at the beginning, so that a broken frame is found before anything is computed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.clips import read_frame
from ifrvis.datasets.rle import MAX_SIDE
from ifrvis.datasets.ytvis import Id, Video
from ifrvis.errors import UserError

__all__ = ["DatasetVideo", "FrameFolder", "FrameSource", "VideoFile", "open_source"]

Frame = NDArray[np.uint8]  # (height, width, 3), BGR
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
FRAME_RATE = 10.0  # of what has none of its own, in frames a second


class FrameSource(Protocol):
    """The frames of one video, in order: (height, width, 3) uint8, BGR."""

    video_id: Id
    height: int  # pixels
    width: int
    length: int  # frames
    frame_rate: float  # frames a second

    def __iter__(self) -> Iterator[Frame]: ...


@dataclass(frozen=True)
class DatasetVideo:
    """A video of a data set, whose annotations say how large and long it is."""

    video: Video
    frames_root: Path
    frame_rate: float = FRAME_RATE

    @property
    def video_id(self) -> Id:
        """The video's id in its data set."""
        return self.video.id

    @property
    def height(self) -> int:
        """Pixels, as annotated."""
        return self.video.height

    @property
    def width(self) -> int:
        """Pixels, as annotated."""
        return self.video.width

    @property
    def length(self) -> int:
        """Frames, as annotated."""
        return self.video.length

    def __iter__(self) -> Iterator[Frame]:
        return (read_frame(self.frames_root, self.video, t) for t in range(self.length))


class _Decoded:
    """A source that is decoded once to learn its size and length, and to find what is broken."""

    def __init__(self, path: Path, frame_rate: float) -> None:
        self.path, self.video_id, self.frame_rate = path, 1, frame_rate
        self.height = self.width = self.length = 0
        for frame in self:
            size = frame.shape[:2]
            if not self.length:
                self.height, self.width = size
            if size != (self.height, self.width):
                raise UserError(
                    f"Give frames of one size: frame {self.length + 1} of {path} is {size[1]} x {size[0]} pixels, "
                    f"those before it are {self.width} x {self.height}."
                )
            self.length += 1
        if not self.length:
            raise UserError(f"Give a video with at least one frame: {path} has none that can be read.")
        if max(self.height, self.width) > MAX_SIDE:
            raise UserError(f"Make the frames of {path} smaller: no side may exceed {MAX_SIDE} pixels.")

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError


class FrameFolder(_Decoded):
    """The images of a folder, ordered by name and, within names, by number.

    Raises:
        UserError: If there is none, one cannot be read, or they differ in size.
    """

    def __init__(self, path: Path) -> None:
        found = (each for each in path.iterdir() if each.suffix.lower() in SUFFIXES and not each.name.startswith("."))
        self.paths = sorted(found, key=_natural)
        super().__init__(path, FRAME_RATE)

    def __iter__(self) -> Iterator[Frame]:
        for path in self.paths:
            try:
                data = np.frombuffer(path.read_bytes(), np.uint8)
                image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            except (OSError, cv2.error):
                image = None
            if image is None:
                raise UserError(f"Copy {path} again or remove it: it is cut short, unreadable, or no image.")
            yield np.asarray(image, np.uint8)


class VideoFile(_Decoded):
    """A video file, as FFmpeg reads it through OpenCV.

    Raises:
        UserError: If it cannot be read or has no frame.
    """

    def __init__(self, path: Path) -> None:
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)  # a full path is never taken for an address
        opened, rate = capture.isOpened(), capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        if not opened:
            raise UserError(f"Give a video file that FFmpeg can read, or a folder of frames: {path} is no such file.")
        super().__init__(path, rate if 0 < rate < 1000 else FRAME_RATE)

    def __iter__(self) -> Iterator[Frame]:
        capture = cv2.VideoCapture(str(self.path.resolve()), cv2.CAP_FFMPEG)
        try:
            while True:
                there, frame = capture.read()
                if not there:
                    return
                yield np.asarray(frame, np.uint8)
        finally:
            capture.release()


def open_source(path: Path) -> FrameSource:
    """The frames of a folder or a video file.

    Raises:
        UserError: If there is no such thing, or it cannot be used.
    """
    try:
        if path.is_dir():
            return FrameFolder(path)
        if path.is_file():
            with path.open("rb"):
                return VideoFile(path)
    except OSError as error:
        raise UserError(f"Make {path} readable: {error.strerror}.") from error
    raise UserError(f"Check the path of the video: there is no file or folder {path}.")


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorting key under which frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts]
