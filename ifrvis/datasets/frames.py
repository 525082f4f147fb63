"""Frames of a data set, from their files."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.ytvis import Video
from ifrvis.errors import DataMissingError, UserError


def read_frame(frames_root: Path, video: Video, frame: int) -> NDArray[np.uint8]:
    """A frame as (height, width, 3) uint8, BGR.

    Raises:
        DataMissingError: If its file is missing.
        UserError: If its file is no image or does not have the size that the annotations state.
    """
    path = frames_root / video.file_names[frame]
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError as error:
        raise DataMissingError(f"Restore {path}: this frame of video {video.id!r} does not exist.") from error
    except OSError as error:
        raise UserError(f"Make {path} readable: {error.strerror}.") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise UserError(f"Copy {path} again: this frame of video {video.id!r} is cut short or is no image.")
    if image.shape[:2] != (video.height, video.width):
        raise UserError(
            f"Replace {path}, or correct width and height of video {video.id!r}: the frame is "
            f"{image.shape[1]} x {image.shape[0]} pixels, the annotations say {video.width} x {video.height}."
        )
    return np.asarray(image, np.uint8)
