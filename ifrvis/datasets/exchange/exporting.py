"""A set's tracks, or predictions, as DAVIS' PNGs and as COCO with `track_id`; both are read back mask for mask."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from ifrvis.datasets.pictures import MAX_BYTES
from ifrvis.datasets.rle import area, box, decode
from ifrvis.datasets.ytvis import Annotations, Id, Track, Video
from ifrvis.errors import UserError
from ifrvis.files import publish_once, read_bytes, write_atomically

_PALETTE = [value * step % 256 for value in range(256) for step in (41, 113, 197)]  # colours that differ


def export_davis(annotations: Annotations, frames: Path, out: Path) -> list[str]:
    """Write `JPEGImages/VIDEO/` and `Annotations/VIDEO/`: palettes, or, of the videos it names, a folder an object."""
    names = [_folder_name(video) for video in annotations.videos]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"Choose videos with --videos: several are called {twice}, and would share a folder.")
    folders = "Annotations", "JPEGImages"
    for folder in (out / each for each in folders):
        if folder.exists():  # it could be where the frames are
            raise UserError(f"Choose another --out, or remove {folder}: it is there already.")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part.", dir=out) as part:  # what is cut short would look whole
        layered = _export_davis(annotations, frames, Path(part))
        for each in folders:
            Path(part, each).rename(out / each)
    return layered


def _export_davis(annotations: Annotations, frames: Path, out: Path) -> list[str]:
    layered = []
    for video in annotations.videos:
        tracks, name = annotations.tracks_of(video.id), _folder_name(video)
        stems = [f"{t:05d}" for t in range(video.length)]
        for stem, file_name in zip(stems, video.file_names):
            target = out / "JPEGImages" / name / (stem + Path(file_name).suffix)
            write_atomically(target, read_bytes(frames / file_name, "the frame", MAX_BYTES))
        if _share_pixels(tracks, video.length) or len(tracks) > 254:  # 255 is no object in DAVIS
            layered.append(video.name)
            for number, track in enumerate(tracks, start=1):
                _write(out / "Annotations" / name / str(number), stems, video, {1: track})
        else:
            _write(out / "Annotations" / name, stems, video, dict(enumerate(tracks, start=1)))
    return layered


def _share_pixels(tracks: tuple[Track, ...], length: int) -> bool:
    frames = [[mask for track in tracks if (mask := track.masks[t])] for t in range(length)]
    return any(area(coco_mask.merge(masks)) < sum(map(area, masks)) for masks in frames if masks)


def _write(folder: Path, stems: list[str], video: Video, tracks: dict[int, Track]) -> None:
    for t, stem in enumerate(stems):
        numbers = np.zeros((video.height, video.width), np.uint8)
        for number, track in tracks.items():
            if (mask := track.masks[t]) is not None:
                numbers[decode(mask)] = number
        image, stream = Image.fromarray(numbers, "P"), io.BytesIO()
        image.putpalette(_PALETTE)
        image.save(stream, "PNG")
        write_atomically(folder / f"{stem}.png", stream.getvalue())


def _folder_name(video: Video) -> str:
    name = video.name.replace("/", "-")
    return f"_{name}" if name.startswith(".") else name


def export_coco(annotations: Annotations, scores: dict[Id, float], path: Path) -> None:
    """Write one JSON file; images have `video_id` and `frame_index`, annotations `track_id`, also as CVAT reads it."""
    images: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for video in annotations.videos:
        first = len(images) + 1
        for t, name in enumerate(video.file_names):
            image = {"id": first + t, "file_name": name, "width": video.width, "height": video.height}
            images.append({**image, "video_id": video.id, "frame_index": t})
        for track in annotations.tracks_of(video.id):
            for t, mask in enumerate(track.masks):
                if mask is None:
                    continue
                entry: Any = {"id": len(entries) + 1, "image_id": first + t, "category_id": track.category_id}
                entry |= {"segmentation": mask, "area": area(mask), "bbox": box(mask), "iscrowd": int(track.is_crowd)}
                entry |= {"track_id": track.id, "attributes": {"track_id": track.id, "keyframe": True}}
                entries.append(entry | ({"score": scores[track.id]} if track.id in scores else {}))
    videos = [{"id": video.id, "name": video.name} for video in annotations.videos]
    categories = [{"id": category.id, "name": category.name} for category in annotations.categories]
    content = {"info": {}, "videos": videos, "categories": categories, "images": images, "annotations": entries}
    if not publish_once(path, json.dumps(content)):
        raise UserError(f"Choose another --out, or remove {path}: it is there already.")
