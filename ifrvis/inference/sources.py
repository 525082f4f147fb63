"""Where the frames of a video come from: a data set, a folder of images, a video file.

A source knows size and length before the work starts and gives its frames in order, as often as it is asked. What is
not a data set's is decoded once at the beginning, so that a broken frame is found before anything is computed.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.frames import pictures_in, read_frame
from ifrvis.datasets.pictures import SUFFIXES, open_picture
from ifrvis.datasets.rle import MAX_SIDE
from ifrvis.datasets.ytvis import Id, Video
from ifrvis.errors import UserError
from ifrvis.files import open_file

Frames = Iterator[NDArray[np.uint8]]  # each (height, width, 3), BGR
FRAME_RATE = 10.0  # of what has none of its own
# Containers that say how many frames they have, and the share by which that may be wrong: some say seconds alone.
_COUNTED = dict.fromkeys((".gif", ".avi", ".mp4", ".m4v", ".mov", ".3gp"), 0.0)
_COUNTED |= dict.fromkeys((".mkv", ".webm", ".flv"), 0.02)


@dataclass(frozen=True)
class FrameSource:
    """One video."""

    video_id: Id
    height: int  # pixels
    width: int
    length: int  # frames
    frames: Callable[[], Frames]
    frame_rate: float = FRAME_RATE  # frames a second
    warning: str = ""  # what to do about frames that its container announces and that cannot be read

    def __iter__(self) -> Frames:
        return self.frames()


def dataset_source(video: Video, frames_root: Path) -> FrameSource:
    """A video of a data set, whose annotations say how large and long it is."""

    def frames() -> Frames:
        return (read_frame(frames_root, video, t) for t in range(video.length))

    return FrameSource(video.id, video.height, video.width, video.length, frames)


def open_source(path: Path) -> FrameSource:
    """The images of a folder, ordered by name and in names by number, or the frames of a video file; UserError if there
    is no such thing, a frame cannot be read, there is none, or they differ in size.
    """
    if path.is_dir():
        if not (images := pictures_in(path)):
            kinds = ", ".join(sorted(SUFFIXES))
            raise UserError(f"Give the folder that has the frames itself ({kinds}), or a video file: {path} has none.")
        _refuse_masks(path, images)
        return _measured(path, lambda: (open_picture(each).frame() for each in images), FRAME_RATE)
    if path.is_file():
        open_file(path, "the video").close()  # who may not read it is told so
        return _video(path)
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


def _opened(path: Path, *options: int) -> cv2.VideoCapture:
    return cv2.VideoCapture(name_of(path.resolve()), cv2.CAP_FFMPEG, options)  # a full path is never an address


def name_of(path: Path) -> str:
    """A path as OpenCV takes it, which ends the program over any other; UserError if it is no UTF-8 text."""
    if re.search("[\ud800-\udfff]", str(path)):
        raise UserError(f"Rename {path}, or a folder above it: its name is not UTF-8 text.")
    return str(path)


def _video(path: Path) -> FrameSource:
    capture = _opened(path)
    rate, said = (capture.get(each) for each in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
    if not capture.isOpened():
        raise UserError(f"Give a video file that FFmpeg can read, or a folder of frames: {path} is no such file.")
    times, read, slack = times_of(path), Counter[str](), _COUNTED.get(path.suffix.lower())
    last = rate * max(times, default=0) / 1000 if slack else 0  # where frames last as they like, their number says less
    if slack is None or said <= max(len(times), last + 1) * (1 + slack) + slack:
        said = len(times)
    frame_rate, places = float(rate) if 0 < rate < 1000 else FRAME_RATE, dict[float, int]()
    source = _measured(path, lambda: _read_video(path, len(times), places, read), frame_rate)
    if read["there"] < len(times):  # only then: a decoder's times may be later than those of what it decodes
        places |= {time: t for t, time in reversed([*enumerate(times)])}
        source = _measured(path, source.frames, frame_rate)
    if read["there"] >= said:
        return source
    held = f"; {read['held']} broken ones show the frame before, so that later ones keep their numbers"
    text = f"its container says {said:.0f} frames, {read['there']} can be read{held * bool(read['held'])}"
    return replace(source, warning=f"Copy or convert {path} again if all of it is meant: {text}.")


def times_of(path: Path) -> list[float]:
    """When each frame of a video file is shown, in milliseconds and in order, by what is not decoded; those before time
    0 are cut away by an edit. All are 0 where the file does not say it.
    """
    packets, times = _opened(path, cv2.CAP_PROP_FORMAT, -1), []
    while packets.grab():
        times.append(packets.get(cv2.CAP_PROP_POS_MSEC))
    return sorted(time for time in times if time >= 0)


def _read_video(path: Path, length: int, places: Mapping[float, int], read: Counter[str]) -> Frames:
    """The frames, of which `places` says by their times which they are; one that is broken shows the one before, so
    that those after it keep their places. `read` takes how many were there, and how many of the others were held.
    """
    read.clear()
    capture, before, t = _opened(path), None, 0
    for _ in range(2 * length + 2):  # a broken frame ends nothing: a later one may be whole
        there, frame = capture.read()
        if not there:
            continue
        frame = np.asarray(frame, np.uint8)
        place = max(t, places.get(capture.get(cv2.CAP_PROP_POS_MSEC), t))
        read.update(there=1, held=place - t)
        yield from [frame if before is None else before] * (place - t)
        yield frame
        before, t = frame, place + 1
