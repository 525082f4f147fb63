"""What a picture is: the one place that opens images, for `data check`, training, `predict` and importers alike.

A frame is three channels of 8 bits, upright as an orientation tag says: all eight of Exif, in any format that has
them. Grey and palettes become colours, alpha is left out. What has more than 8 bits a channel does not say which
values are black and white: it is stretched so that 1 % of a picture's values are black and 0.2 % white. A file of masks
has one number a pixel instead, which nothing stretches.

Shape letters:
    H, W  height and width, in pixels
"""

import io
import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ifrvis.datasets.rle import MAX_SIDE
from ifrvis.errors import UserError
from ifrvis.files import read_bytes

MAX_PIXELS = 1 << 25  # more than 8K video has; a decoded picture takes up to 0.6 GB
MAX_BYTES = 1 << 29  # of a file
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
STRETCH = (1.0, 99.8)  # percentiles that become black and white
SAMPLE = 1 << 22  # pixels; of larger pictures these percentiles are those of every second row and column, or third
_ONE_CHANNEL = {"1", "L", "P", "I", "F"}
_PNG_WITH_TAG = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


@dataclass(frozen=True)
class Picture:
    """A picture that is not decoded yet, by its header."""

    path: Path
    width: int  # in pixels, upright
    height: int  # in pixels, upright
    orientation: int  # Exif's tag, 1 to 8; 1 is upright, and where there is none
    is_deep: bool  # whether a channel has more than 8 bits, so that values are stretched
    has_one_channel: bool  # grey, a palette or two colours: frames may be so, masks are
    _turn: int  # the same, but 1 where decoders turn by themselves
    _data: bytes = field(repr=False)

    def frame(self) -> NDArray[np.uint8]:
        """The picture as (H, W, 3) uint8, BGR; UserError if it cannot be decoded."""
        import cv2  # for who decodes frames; headers, and numbers of masks, are Pillow's

        stored = cv2.imdecode(np.frombuffer(self._data, np.uint8), cv2.IMREAD_UNCHANGED)  # as stored, tag or not
        if stored is None:
            raise _refused(self.path)
        channels = stored[..., None] if stored.ndim == 2 else stored[..., :3]
        upright = _upright(channels if channels.dtype == np.uint8 else self._stretched(channels), self._turn)
        return np.ascontiguousarray(np.repeat(upright, 3, 2) if upright.shape[2] == 1 else upright)

    def _stretched(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        step = 1 + int((values.shape[0] * values.shape[1] / SAMPLE) ** 0.5)
        low, high = np.percentile(values[::step, ::step].astype(np.float32), STRETCH)
        if low == high:  # nearly all of it has one value
            low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high, values.min(), values.max()]).all():
            raise UserError(f"Write {self.path} anew: it has values that are no finite numbers.")
        if low == high:
            return np.full(values.shape, 128 if high else 0, np.uint8)
        stretched = np.empty(values.shape, np.uint8)
        for row, line in enumerate(values):  # a copy of all in float would take gigabytes
            stretched[row] = np.clip((line.astype(np.float32) - low) * (255 / (high - low)), 0, 255)
        return stretched

    def numbers(self) -> NDArray[np.int64]:
        """The numbers, (H, W), of a file of masks: a palette's or a channel's; UserError if these are colours or
        broken.
        """
        with _opened(self.path, self._data) as image, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tags that are not looked at
            try:
                values = np.asarray(image.getchannel(0) if image.mode == "LA" else image)
            except (*_WRONG, MemoryError) as error:
                raise _refused(self.path) from error
        if values.ndim == 3 and np.ptp(values[..., :3], axis=2).any():
            text = "masks are numbers, as the indices of a palette or grey values"
            raise UserError(f"Write {self.path} with one channel: {text}, and this picture has colours.")
        values = values if values.ndim == 2 else values[..., 0]
        if values.dtype.kind == "f" and not np.array_equal(values, np.trunc(values)):
            raise UserError(f"Write {self.path} with whole numbers: it has masks with parts of numbers.")
        return _upright(values, self._turn).astype(np.int64)


# What Pillow's readers raise about files that are none of theirs, or broken.
_WRONG = (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, EOFError, RuntimeError, struct.error)


def open_picture(path: Path) -> Picture:
    """Read a picture's header; DataMissingError without a file, UserError if it is none, several or too large."""
    data = read_bytes(path, "the picture", MAX_BYTES)
    with _opened(path, data) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags that are not looked at
        try:
            parts = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
            width, height = image.size
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                most = f"{MAX_PIXELS} pixels, and no side of more than {MAX_SIDE}"
                raise UserError(f"Make {path} smaller: it has {width} x {height} pixels, at most {most} are decoded.")
            if image.format == "PNG" and not _has_whole_chunks(data):
                raise _refused(path)
            orientation = _orientation(image, data)
        except _WRONG as error:
            if isinstance(error, UserError):
                raise
            raise _refused(path) from error
        # Pillow's mode hides that colours have 16 bits, what it decodes from does not.
        modes = f"{image.mode} {[each[3] for each in getattr(image, 'tile', ())]}"
    if parts > 1:
        raise UserError(f"Write each of the {parts} pictures in {path} to a file of its own: a frame is one of them.")
    turn = 1 if image.format == "TIFF" else orientation  # OpenCV and Pillow turn these by themselves
    if turn > 4:
        width, height = height, width
    is_deep = ";16" in modes or modes[:2] in ("I ", "F ") or "65535" in modes
    has_one_channel = image.mode.split(";")[0] in _ONE_CHANNEL
    return Picture(path, width, height, orientation, is_deep, has_one_channel, turn, data)


def _opened(path: Path, data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise UserError(f"Make {path} smaller: at most {MAX_PIXELS} pixels are decoded ({error}).") from error
    except _WRONG as error:
        raise _refused(path) from error


def _has_whole_chunks(data: bytes) -> bool:
    """Whether a PNG's chunks are as long as they say: OpenCV takes so much memory before it looks, up to 4 GB."""
    at, kind = 8, b""
    while kind != b"IEND" and at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return kind == b"IEND" and at <= len(data)


def _orientation(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG" and not any(mark in data for mark in _PNG_WITH_TAG):
        return 1  # Pillow would decode all of it to learn that
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _upright(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels as stored, turned and mirrored as Exif's tag says."""
    turned = stored.swapaxes(0, 1) if orientation > 4 else stored
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return turned[rows, columns]


def _refused(path: Path) -> UserError:
    return UserError(f"Copy {path} again: it is empty, cut short, or no picture that can be read.")
