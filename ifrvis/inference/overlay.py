"""Draw predictions over the frames of a video: one number and colour an identity from the first frame to the last."""

import colorsys
import contextlib
import functools
import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ifrvis.datasets.rle import decode
from ifrvis.datasets.ytvis import Id
from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import VideoPredictions
from ifrvis.files import written
from ifrvis.inference.sources import FrameSource, name_of, times_of

Frame = NDArray[np.uint8]
Colour = tuple[int, int, int]  # BGR
OPACITY = 0.45
CODECS = {"vp09": "VP9", "mp4v": "MPEG-4, which browsers do not play"}  # the first that OpenCV can write here is taken


def write_overlay(
    path: Path, source: FrameSource, found: VideoPredictions, names: Mapping[Id, str], *, min_score: float
) -> tuple[int, str]:
    """Write a video with masks, numbers, names and scores of the instances that are likelier than `min_score`; how many
    are drawn, and how the video is coded. UserError if the file cannot be written.

    An instance's number is its place among the video's best queries.
    """
    shown = [(number, each) for number, each in enumerate(found.by_query, start=1) if each.score > min_score]
    labels = []
    for number, each in shown:
        label = f"{number} {names.get(each.category_id, each.category_id)} {each.score:.2f}"
        known = label.isascii() or _font(label)
        labels.append(label if known else f"{number} category {each.category_id} {each.score:.2f}")
    odd = (source.height % 2, source.width % 2)  # MPEG-4 has even sides: a row or column more, not one less
    size = (source.width + odd[1], source.height + odd[0])
    # MPEG-4 has 16 bits for ticks: the nearest rate that it can count.
    rate = max(0.01, round(source.frame_rate, 2 if source.frame_rate < 600 else None))
    path = written(path)
    part = path.with_name(f".{path.name}.part.mp4")
    for codec in CODECS:
        writer = cv2.VideoWriter(name_of(part), cv2.VideoWriter.fourcc(*codec), rate, size)
        if writer.isOpened():
            break
    else:
        part.unlink(missing_ok=True)
        raise UserError(f"Choose another --out: no video can be written to {path}.")
    try:
        for t, frame in enumerate(source):
            masks = [found.masks[scored.query][t] for _, scored in shown]
            drawn = [(n, decode(mask), label) for (n, _), mask, label in zip(shown, masks, labels) if mask is not None]
            whole = cv2.copyMakeBorder(draw_instances(frame, drawn), 0, odd[0], 0, odd[1], cv2.BORDER_REPLICATE)
            writer.write(whole)
        writer.release()
        if len(times_of(part)) != source.length:  # the writer says nothing of a full disk
            raise UserError(f"Look for room on the disk, or choose another --out: {path} could not be written whole.")
        part.replace(path)
    finally:
        writer.release()
        part.unlink(missing_ok=True)
    return len(shown), CODECS[codec]


def draw_instances(frame: Frame, instances: list[tuple[int, NDArray[np.bool_], str]]) -> Frame:
    """A frame with instances drawn over it: the number that gives an instance its colour, its mask and its label."""
    drawn = frame.copy()
    for number, mask, _ in instances:
        colour = np.array(colour_of(number))
        drawn[mask] = (drawn[mask] * (1 - OPACITY) + colour * OPACITY).astype(np.uint8)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour_of(number), 1, cv2.LINE_AA)
    taken = np.any([np.zeros(frame.shape[:2], bool), *(mask for _, mask, _ in instances)], axis=0)
    for number, mask, label in instances:  # last, so that no mask covers a name
        _label(drawn, mask, label, colour_of(number), taken)
    return drawn


def colour_of(number: int) -> Colour:
    """A bright colour, far from those of the numbers around it."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1.0, 0.85, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def _label(drawn: Frame, mask: NDArray[np.bool_], label: str, colour: Colour, taken: NDArray[np.bool_]) -> None:
    """Write a label on a bar of the instance's colour, inside the frame, and take its place.

    It is above the mask or, where that covers more of what is taken, right of it, left of it or below.
    """
    scale = max(0.35, min(drawn.shape[:2]) / 900)
    font = None if label.isascii() else ImageFont.truetype(_font(label) or "", round(30 * scale))
    if font:
        width, height, base = math.ceil(font.getlength(label)), *font.getmetrics()
    else:
        (width, height), base = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    rows, columns = np.nonzero(mask)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    middle = (top + bottom + height) // 2
    above, below = (
        (columns[rows.argmin()] - width // 2, top - base - 2),
        ((left + right - width) // 2, bottom + height + 3),
    )
    places = [
        (
            int(np.clip(x, 0, max(0, drawn.shape[1] - width))),
            int(np.clip(y, height, max(height, drawn.shape[0] - base))),
        )
        for x, y in (above, (right + 3, middle), (left - width - 3, middle), below)
    ]
    bars = [taken[max(0, y - height - 1) : y + base + 1, x : x + width + 1] for x, y in places]
    best = min(range(len(bars)), key=lambda place: bars[place].sum())
    bars[best][:] = True
    x, y = places[best]
    cv2.rectangle(drawn, (x, y - height - 1), (x + width, y + base), colour, -1)
    if font:
        image = Image.fromarray(drawn)
        ImageDraw.Draw(image).text((x, y), label, (0, 0, 0), font, anchor="ls")
        drawn[:] = np.asarray(image)
    else:
        cv2.putText(drawn, label, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)


@functools.cache
def _font(text: str) -> str | None:
    """A font file that has every character of a text: Matplotlib's own, or one of the system's; None without."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    for path in [
        font_manager.findfont("DejaVu Sans"),
        *sorted(each.fname for each in font_manager.fontManager.ttflist),
    ]:
        with contextlib.suppress(OSError, RuntimeError):  # a broken font of the system
            known = FT2Font(path).get_charmap()
            if all(ord(character) in known for character in text):
                return str(path)
    return None
