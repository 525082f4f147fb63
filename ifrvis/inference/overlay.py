"""Draw predictions over the frames of a video: one colour an identity from the first frame to the last."""

import colorsys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.rle import decode
from ifrvis.datasets.ytvis import Id
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import VideoPredictions
from ifrvis.inference.sources import FrameSource

Frame = NDArray[np.uint8]
Colour = tuple[int, int, int]  # BGR
OPACITY = 0.45


def write_overlay(
    path: Path, source: FrameSource, found: VideoPredictions, names: Mapping[Id, str], *, min_score: float
) -> int:
    """Write a video with masks, names and scores of the instances that are likelier than `min_score`.

    Returns:
        How many instances are drawn.

    Raises:
        UserError: If the file cannot be written.
    """
    shown = [scored for scored in found.by_query if scored.score > min_score]
    labels = [f"{names.get(scored.category_id, scored.category_id)} {scored.score:.2f}" for scored in shown]
    size = (source.width, source.height)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), source.frame_rate, size)
    if not writer.isOpened():
        raise UserError(f"Choose another --out: no video can be written to {path}.")
    try:
        for t, frame in enumerate(source):
            masks = [found.masks[scored.query][t] for scored in shown]
            drawn = [(i, decode(mask), label) for i, (mask, label) in enumerate(zip(masks, labels)) if mask is not None]
            writer.write(draw_instances(frame, drawn))
    finally:
        writer.release()
    return len(shown)


def draw_instances(frame: Frame, instances: list[tuple[int, NDArray[np.bool_], str]]) -> Frame:
    """A frame with instances drawn over it: the number that gives an instance its colour, its mask and its label."""
    drawn = frame.copy()
    for number, mask, _ in instances:
        colour = np.array(colour_of(number))
        drawn[mask] = (drawn[mask] * (1 - OPACITY) + colour * OPACITY).astype(np.uint8)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour_of(number), 1, cv2.LINE_AA)
    for number, mask, label in instances:  # last, so that no mask covers a name
        _label(drawn, mask, label, colour_of(number))
    return drawn


def colour_of(number: int) -> Colour:
    """A bright colour, far from those of the numbers around it."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1.0, 0.85, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def _label(drawn: Frame, mask: NDArray[np.bool_], label: str, colour: Colour) -> None:
    """Write a label on a bar of the instance's colour, inside the frame, above its mask if there is room."""
    scale = max(0.35, min(drawn.shape[:2]) / 900)
    (width, height), base = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    rows, columns = np.nonzero(mask)
    x = int(np.clip(columns[rows.argmin()] - width // 2, 0, max(0, drawn.shape[1] - width)))
    y = int(np.clip(rows.min() - base, height, drawn.shape[0] - base))
    cv2.rectangle(drawn, (x, y - height - 1), (x + width, y + base), colour, -1)
    cv2.putText(drawn, label, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)
