"""A contact sheet of a YouTube-VIS set: a row per video, a column per frame, contours coloured by identity."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.frames import read_frame
from ifrvis.datasets.rle import decode
from ifrvis.datasets.ytvis import Annotations, Track, Video, read_annotations
from ifrvis.errors import UserError
from ifrvis.files import write_atomically

_CELL_WIDTH = 256  # pixels
_LABEL_WIDTH = 230
_COLOURS = ((60, 255, 60), (60, 60, 255), (255, 160, 40), (40, 230, 255), (255, 60, 255), (255, 255, 60))  # BGR


def contact_sheet(annotation_path: Path, frames_root: Path, out: Path, *, videos: int = 8, frames: int = 8) -> None:
    """Draw the first videos of a set, at frames spread over their length, with names and tags beside.

    Raises:
        UserError: If the annotations or a frame cannot be read, or the picture cannot be written.
    """
    annotations = read_annotations(annotation_path)
    rows = [_row(annotations, video, frames_root, frames) for video in annotations.videos[:videos]]
    if not rows:
        raise UserError(f"Choose a set with videos: {annotation_path} has none.")
    height, width = (max(row.shape[axis] for row in rows) for axis in (0, 1))
    padded = [np.pad(row, ((0, height - row.shape[0]), (0, width - row.shape[1]), (0, 0))) for row in rows]
    write_atomically(out, cv2.imencode(out.suffix, np.concatenate(padded))[1].tobytes())


def _row(annotations: Annotations, video: Video, frames_root: Path, frames: int) -> NDArray[np.uint8]:
    chosen = np.unique(np.linspace(0, video.length - 1, frames).round().astype(int))
    tracks = annotations.tracks_of(video.id)
    cells = [_cell(read_frame(frames_root, video, frame), tracks, frame) for frame in chosen.tolist()]
    return np.concatenate([_label(video, cells[0].shape[0]), *cells], axis=1)


def _label(video: Video, height: int) -> NDArray[np.uint8]:
    label = np.zeros((height, _LABEL_WIDTH, 3), np.uint8)
    for number, line in enumerate([video.name, *(f"{key}: {value}" for key, value in video.tags.items())]):
        _write(label, line, 16 * (number + 1))
    return label


def _cell(image: NDArray[np.uint8], tracks: tuple[Track, ...], frame: int) -> NDArray[np.uint8]:
    scale = _CELL_WIDTH / image.shape[1]
    cell: NDArray[np.uint8] = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for position, track in enumerate(tracks):
        rle = track.masks[frame]
        if rle is not None:
            mask = cv2.resize(decode(rle).astype(np.uint8), cell.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(cell, contours, -1, _COLOURS[position % len(_COLOURS)], 1)
    _write(cell, str(frame), 12)
    return cell


def _write(image: NDArray[np.uint8], line: str, bottom: int) -> None:
    cv2.putText(image, line, (4, bottom), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1, cv2.LINE_AA)
