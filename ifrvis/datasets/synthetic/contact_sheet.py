"""A contact sheet of YouTube-VIS sets: a row per video, a column per frame, contours coloured by identity."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.frames import read_frame
from ifrvis.datasets.rle import decode
from ifrvis.datasets.strata import strata_of
from ifrvis.datasets.ytvis import Annotations, Track, read_annotations
from ifrvis.files import write_atomically

_CELL_WIDTH = 128  # pixels
_LABEL_WIDTH = 130
_JPEG_QUALITY = 40  # frames are noisy, and sheets lie in the repository
_COLOURS = ((60, 255, 60), (60, 60, 255), (255, 160, 40), (40, 230, 255), (255, 60, 255), (255, 255, 60))  # BGR


def contact_sheet(splits: Sequence[tuple[Path, Path]], out: Path, *, videos: int = 4, frames: int = 6) -> None:
    """Draw the first videos of some splits, a row each, at frames spread over their length, with what they are beside,
    to a PNG or JPEG file; UserError if the annotations or a frame cannot be read, or the picture cannot be written.

    A split is its annotation file and folder of frames.
    """
    rows = [row for annotation, root in splits for row in _rows(read_annotations(annotation), root, videos, frames)]
    height, width = (max(row.shape[axis] for row in rows) for axis in (0, 1))
    padded = [np.pad(row, ((0, height - row.shape[0]), (0, width - row.shape[1]), (0, 0))) for row in rows]
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    write_atomically(out, cv2.imencode(out.suffix, np.concatenate(padded), quality)[1].tobytes())


def _rows(annotations: Annotations, root: Path, videos: int, frames: int) -> Iterator[NDArray[np.uint8]]:
    strata = strata_of(annotations)
    for video in annotations.videos[:videos]:
        chosen = np.unique(np.linspace(0, video.length - 1, frames).round().astype(int))
        tracks = annotations.tracks_of(video.id)
        cells = [_cell(read_frame(root, video, frame), tracks, frame) for frame in chosen.tolist()]
        lines = [f"{annotations.path.stem} {video.name}", *(f"{key}: {value}" for key, value in video.tags.items())]
        lines += [name for name, holds in vars(strata[video.id]).items() if holds]
        label = np.zeros((cells[0].shape[0], _LABEL_WIDTH, 3), np.uint8)
        for number, line in enumerate(lines, start=1):
            _write(label, line, 15 * number)
        yield np.concatenate([label, *cells], axis=1)


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
