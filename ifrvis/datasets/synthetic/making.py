"""How a split of a synthetic set comes onto the disk.

Files have the YouTube-VIS format, so whatever reads them does not know that they are synthetic.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from ifrvis.datasets.splits import official
from ifrvis.datasets.synthetic.layouts import SHAPES
from ifrvis.datasets.synthetic.parameters import GENERATOR_VERSION, SyntheticParameters, split_fingerprint
from ifrvis.datasets.synthetic.scenes import frames_of, scene_of
from ifrvis.datasets.ytvis import checked_annotations
from ifrvis.errors import UserError
from ifrvis.files import canonical_json, read_bytes, write_atomically

_JPEG_QUALITY = 90


def make_split(
    parameters: SyntheticParameters, split: str, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write `<folder>/<split>.json`, whose path is returned, and `<folder>/<split>/JPEGImages/`, unless they are there;
    UserError if the split has no videos, the folder holds one of other parameters, or it cannot be written.

    The frames appear by one rename and the annotations after them, so what is there is whole, whether this was
    killed before or runs twice at once. `progress` is called with the number of videos made so far and their total.
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
    """Write the frames; the content of the annotation file."""
    categories = [{"id": label + 1, "name": name, "supercategory": "shape"} for label, name in enumerate(SHAPES)]
    info = {"description": f"synthetic set, generator {GENERATOR_VERSION}, seed {parameters.seed}, split {split}"}
    content: dict[str, Any] = {"info": info, "videos": [], "annotations": []}
    content["categories"] = categories[: parameters.num_classes]
    for number in range(1, parameters.videos[split] + 1):
        scene = scene_of(parameters, split, number - 1)
        _, length, height, width = scene.coverage.shape
        names = [f"{number - 1:05d}/{frame:05d}.jpg" for frame in range(length)]
        video = {"id": number, "file_names": names, "height": height, "width": width}
        content["videos"].append({**video, "tags": {"appearance": scene.appearance}})
        for scene_object, masks in zip(scene.objects, scene.masks):
            if any(masks):
                track = {"id": len(content["annotations"]) + 1, "video_id": number, "segmentations": list(masks)}
                content["annotations"].append({**track, "category_id": scene_object.label + 1})
        (folder / "JPEGImages" / names[0]).parent.mkdir(parents=True)
        for image, name in zip(frames_of(scene), names, strict=True):
            _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            (folder / "JPEGImages" / name).write_bytes(data.tobytes())
        if progress is not None:
            progress(number, parameters.videos[split])
    return official(content, checked_annotations(content, folder), {})
