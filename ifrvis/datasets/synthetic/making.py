"""How a split of a synthetic set comes onto the disk.

Files have the YouTube-VIS format, so whatever reads them does not know that they are synthetic.
"""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets import rle
from ifrvis.datasets.synthetic.layouts import SHAPES
from ifrvis.datasets.synthetic.parameters import GENERATOR_VERSION, SyntheticParameters, split_fingerprint
from ifrvis.datasets.synthetic.scenes import Scene, frames_of, scene_of
from ifrvis.errors import UserError
from ifrvis.files import canonical_json, read_bytes, write_atomically

_JPEG_QUALITY = 90


def make_split(
    parameters: SyntheticParameters, split: str, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write `<folder>/<split>.json` and `<folder>/<split>/JPEGImages/`, unless they are there; UserError if the split
    has no videos, the folder holds one of other parameters, or it cannot be written.

    The frames appear by one rename and the annotations after them, so what is there is whole, whether this was
    killed before or runs twice at once.

    Args:
        parameters: What the set is made from.
        split: One of SPLITS.
        folder: Where the splits of this set lie.
        progress: Called with the number of videos made so far and their total.

    Returns:
        The path of the annotation file.
    """
    if not parameters.videos[split]:
        raise UserError(f"Choose another set, or raise {split!r} of its 'videos': it has none there.")
    annotation_path, marker = folder / f"{split}.json", split_fingerprint(parameters, split)
    _check_marker(folder / split, marker)
    if annotation_path.exists() and (folder / split).exists():
        return annotation_path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{split}.", suffix=".part") as temporary:
            content = _write_videos(parameters, split, Path(temporary) / split, progress)
            (Path(temporary) / split / "fingerprint.txt").write_text(marker)
            _rename_unless_there(Path(temporary) / split, folder / split)
    except OSError as error:
        raise UserError(f"Make {folder} writable and free some disk space: cannot write there ({error}).") from error
    _check_marker(folder / split, marker)
    write_atomically(annotation_path, canonical_json(content))
    return annotation_path


def _check_marker(frames_folder: Path, fingerprint: str) -> None:
    marker = frames_folder / "fingerprint.txt"
    if frames_folder.exists() and (not marker.is_file() or read_bytes(marker) != fingerprint.encode()):
        raise UserError(f"Remove {frames_folder} or choose another folder: it was made from other parameters.")


def _rename_unless_there(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _write_videos(
    parameters: SyntheticParameters, split: str, folder: Path, progress: Callable[[int, int], None] | None
) -> dict[str, Any]:
    total = parameters.videos[split]
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(total):
        scene = scene_of(parameters, split, index)
        tracks = _tracks(scene, index + 1, len(annotations) + 1)
        video = _video(scene, index)
        _write_frames(frames_of(scene), [folder / "JPEGImages" / name for name in video["file_names"]])
        videos.append(video)
        annotations.extend(tracks)
        if progress is not None:
            progress(index + 1, total)
    names = list(SHAPES)[: parameters.num_classes]
    categories = [{"id": label + 1, "name": name, "supercategory": "shape"} for label, name in enumerate(names)]
    info = {"description": f"synthetic set, generator {GENERATOR_VERSION}, seed {parameters.seed}, split {split}"}
    return {"info": info, "videos": videos, "annotations": annotations, "categories": categories}


def _video(scene: Scene, index: int) -> dict[str, Any]:
    _, length, height, width = scene.coverage.shape
    return {
        "id": index + 1,
        "file_names": [f"{index:05d}/{frame:05d}.jpg" for frame in range(length)],
        "height": height,
        "width": width,
        "length": length,
        "tags": {"appearance": scene.appearance},
    }


def _tracks(scene: Scene, video_id: int, first_id: int) -> list[dict[str, Any]]:
    _, length, height, width = scene.coverage.shape
    seen = [pair for pair in zip(scene.objects, scene.masks, strict=True) if any(pair[1])]
    return [
        {
            "id": first_id + position,
            "video_id": video_id,
            "category_id": scene_object.label + 1,
            "iscrowd": 0,
            "height": height,
            "width": width,
            "length": length,
            "segmentations": masks,
            "bboxes": [mask and rle.box(mask) for mask in masks],
            "areas": [mask and rle.area(mask) for mask in masks],
        }
        for position, (scene_object, masks) in enumerate(seen)
    ]


def _write_frames(frames: Iterable[NDArray[np.uint8]], paths: list[Path]) -> None:
    paths[0].parent.mkdir(parents=True)
    for image, path in zip(frames, paths, strict=True):
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        path.write_bytes(data.tobytes())
