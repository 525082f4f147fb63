"""What is sound in the files of the YouTube-VIS format and in predictions, said a second time in the plainest way.

Knows nothing of the readers; `fuzz.py` holds them to it: what is sound is accepted, all else refused.
"""

import re
import sys
from pathlib import PurePosixPath
from typing import Any

SIDE, LARGEST = 16384, sys.float_info.max


def same(first: Any, second: Any) -> bool:
    return type(first) is type(second) and first == second


def is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def is_text(value: Any) -> bool:
    return isinstance(value, str) and value != "" and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)


def are_entries(values: Any) -> bool:
    if not isinstance(values, list) or not all(isinstance(e, dict) and type(e.get("id")) in (int, str) for e in values):
        return False
    return len({str(entry["id"]) for entry in values}) == len(values)


def sound_annotations(gt: Any) -> bool:
    if not isinstance(gt, dict) or not all(are_entries(gt.get(k)) for k in ("videos", "categories", "annotations")):
        return False
    if not gt["videos"] or not gt["categories"] or not all(is_text(entry.get("name")) for entry in gt["categories"]):
        return False
    return all(map(sound_video, gt["videos"])) and all(sound_track(entry, gt) for entry in gt["annotations"])


def sound_video(video: Any) -> bool:
    names = video.get("file_names")
    if not isinstance(names, list) or not names or not all(is_text(n) for n in names):
        return False
    inside = all(not name.startswith("/") and ".." not in name.split("/") for name in names)
    sides = all(type(video.get(k)) is int and 1 <= video[k] <= SIDE for k in ("width", "height"))
    length = video.get("length")
    good_length = length is None or same(length, len(names))
    name = video.get("name", PurePosixPath(names[0]).parent.as_posix())
    return inside and sides and good_length and is_text(name) and isinstance(video.get("tags", {}), dict)


def known(entries: Any, value: Any) -> Any:
    """The entry that has this id, or None."""
    return next((entry for entry in entries if same(entry["id"], value)), None)


def sound_track(entry: Any, gt: Any) -> bool:
    video, category = known(gt["videos"], entry.get("video_id")), known(gt["categories"], entry.get("category_id"))
    if video is None or category is None or not sound_masks(entry.get("segmentations"), video):
        return False
    length = len(video["file_names"])
    areas, is_crowd = entry.get("areas", [None] * length), entry.get("iscrowd", 0)
    good_areas = isinstance(areas, list) and len(areas) == length
    good_areas = good_areas and all(area is None or is_number(area, 0, SIDE**2) for area in areas)
    return good_areas and type(is_crowd) in (int, bool) and is_crowd in (0, 1)


def sound_results(entries: Any, gt: Any) -> bool:
    return isinstance(entries, list) and all(
        isinstance(entry, dict)
        and (video := known(gt["videos"], entry.get("video_id"))) is not None
        and known(gt["categories"], entry.get("category_id")) is not None
        and is_number(entry.get("score"), -LARGEST, LARGEST)
        and sound_masks(entry.get("segmentations"), video)
        for entry in entries
    )


def sound_predictions(content: Any, gt: Any) -> bool:
    if not isinstance(content, dict) or not same(content.get("schema"), 1):
        return False
    videos = content.get("videos")
    if not isinstance(videos, list) or not all(isinstance(v, dict) and sound_prediction(v, gt) for v in videos):
        return False
    return len(videos) == len(gt["videos"]) == len({video["video_id"] for video in videos})


def sound_prediction(entry: Any, gt: Any) -> bool:
    video, masks = known(gt["videos"], entry.get("video_id")), entry.get("masks")
    if video is None or not isinstance(masks, dict):
        return False
    sides = {"height": video["height"], "width": video["width"], "length": len(video["file_names"])}
    queries = all(re.fullmatch("0|[1-9][0-9]{0,8}", query) and sound_masks(masks[query], video) for query in masks)
    if not queries or not all(same(entry.get(key), side) for key, side in sides.items()):
        return False
    pairs, best = entry.get("by_class"), entry.get("by_query")
    if not all(isinstance(of, list) and all(sound_score(each, masks, gt) for each in of) for of in (pairs, best)):
        return False
    return len({tuple(p[:2]) for p in pairs}) == len(pairs) and len({query for query, _, _ in best}) == len(best)


def sound_score(each: Any, masks: Any, gt: Any) -> bool:
    if not isinstance(each, list) or len(each) != 3:
        return False
    query, category, score = each
    there = type(query) is int and str(query) in masks and known(gt["categories"], category) is not None
    return there and is_number(score, 0, 1)


def sound_masks(masks: Any, video: Any) -> bool:
    if not isinstance(masks, list) or len(masks) != len(video["file_names"]):
        return False
    return all(mask is None or sound_mask(mask, video["height"], video["width"]) for mask in masks)


def sound_mask(mask: Any, height: int, width: int) -> bool:
    if isinstance(mask, list):
        return bool(mask) and all(sound_polygon(polygon, height, width) for polygon in mask)
    if not isinstance(mask, dict) or mask.get("size") != [height, width]:
        return False
    runs = mask.get("counts")
    runs = decompressed(runs) if isinstance(runs, str) else runs
    whole = isinstance(runs, list) and runs != [] and all(type(run) is int and run >= 0 for run in runs)
    return whole and sum(runs) == height * width


def sound_polygon(polygon: Any, height: int, width: int) -> bool:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    if any(type(n) not in (int, float) for n in polygon):
        return False
    points = list(zip(polygon[::2], polygon[1::2]))
    near = all(-width <= x <= 2 * width and -height <= y <= 2 * height for x, y in points)
    around = sum(abs(x - u) + abs(y - v) for (x, y), (u, v) in zip(points, points[1:] + points[:1])) if near else 0
    return near and around <= 1000 * (height + width)


def decompressed(text: str) -> list[int] | None:
    """The runs of compressed counts, digit by digit; None if they are none."""
    runs, number, shift = [], 0, 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift == 30:
            return None
        number, shift = number | (digit & 31) << shift, shift + 5
        if digit < 32:
            number -= 1 << shift if digit & 16 else 0
            runs.append(number + runs[-2] if len(runs) > 2 else number)
            number, shift = 0, 0
    return runs if shift == 0 else None
