"""The synthetic sets: their parameters, their fingerprints, and how they come onto the disk.

Files have the YouTube-VIS format, so whatever reads them does not know that they are synthetic. A video depends on
nothing but the parameters, its split and its index. `pretrain` holds stills: videos of one frame.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets import rle
from ifrvis.errors import UserError
from ifrvis.files import canonical_json, sha256_bytes, write_atomically
from ifrvis.schema import construct

if TYPE_CHECKING:
    from ifrvis.datasets.scenes import Scene

__all__ = ["GENERATOR_VERSION", "SPLITS", "SyntheticParameters", "make_split", "split_fingerprint"]

GENERATOR_VERSION = 2  # raise it with any change that moves a pixel or a mask
SPLITS = ("pretrain", "train", "dev", "test")
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class SyntheticParameters:
    """What a synthetic set is made from.

    Args:
        seed: Of everything that is drawn.
        videos: Number of videos in each split of SPLITS.
        height: Of a frame, in pixels.
        width: Of a frame, in pixels.
        frames: Length of a video; stills have one frame.
        num_classes: The first so many shapes are the categories.
        objects: Fewest and most objects in a video.
        diameter: Smallest and largest diameter of an object, in pixels.
        speed: Lowest and highest speed, in object diameters a frame.
        crossing: Share of videos in which two objects of one class cross.
        occlusion: Share of videos in which an object is mostly hidden for 2 to 4 frames.
        reentry: Share of videos in which an object leaves the frame and comes back.
    """

    seed: int
    videos: dict[str, int]
    height: int = 96
    width: int = 128
    frames: int = 36
    num_classes: int = 4
    objects: tuple[int, int] = (3, 5)
    diameter: tuple[float, float] = (20.0, 34.0)
    speed: tuple[float, float] = (0.1, 0.17)
    crossing: float = 0.6
    occlusion: float = 0.5
    reentry: float = 0.1

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "SyntheticParameters":
        """The parameters in a dataset's YAML.

        Raises:
            UserError: If a key is unknown or missing, or a value has a wrong type or lies outside its bounds.
        """
        parameters = construct(cls, mapping, "'synthetic' of the dataset")
        for holds, advice in parameters._bounds():
            if not holds:
                raise UserError(f"Correct 'synthetic' of the dataset: {advice}.")
        return parameters

    def _bounds(self) -> list[tuple[bool, str]]:
        side = min(self.height, self.width)
        shares = (self.crossing, self.occlusion, self.reentry)
        return [
            (self.seed >= 0, f"seed must be 0 or more, got {self.seed}"),
            (set(self.videos) == set(SPLITS), f"videos needs {', '.join(SPLITS)}, got {', '.join(self.videos)}"),
            (min(self.videos.values(), default=0) >= 0, "no split can have fewer than 0 videos"),
            (32 <= side <= max(self.height, self.width) <= 1024, "height and width must lie between 32 and 1024"),
            (2 <= self.frames <= 1000, f"frames must lie between 2 and 1000, got {self.frames}"),
            (4 <= self.num_classes <= 6, f"num_classes must lie between 4 and 6, got {self.num_classes}"),
            (3 <= self.objects[0] <= self.objects[1] <= 10, "objects must be an interval within 3 to 10"),
            (8 <= self.diameter[0] <= self.diameter[1] <= side / 2, "diameter must lie within 8 and half a side"),
            (0 < self.speed[0] <= self.speed[1] <= 1, "speed must be an interval above 0, up to 1"),
            (all(0 <= share <= 1 for share in shares), "crossing, occlusion and reentry must lie within 0 and 1"),
        ]


def split_fingerprint(parameters: SyntheticParameters, split: str) -> str:
    """Identity of a split, 64 hex digits, known before it is made; `all` is the identity of the whole set.

    The size of one split does not enter the fingerprint of another.
    """
    known = asdict(parameters)
    if split != "all":
        known["videos"] = parameters.videos[split]
    return sha256_bytes(canonical_json({"generator": GENERATOR_VERSION, "parameters": known, "split": split}))


def make_split(
    parameters: SyntheticParameters, split: str, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write `<folder>/<split>.json` and `<folder>/<split>/JPEGImages/`, unless they are there.

    The frames appear by one rename and the annotations after them, so what is there is whole, whether this was
    killed before or runs twice at once.

    Args:
        parameters: What the set is made from.
        split: One of SPLITS.
        folder: Where the splits of this set lie.
        progress: Called with the number of videos made so far and their total.

    Returns:
        The path of the annotation file.

    Raises:
        UserError: If the folder holds a split made from other parameters or cannot be written.
    """
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
    if frames_folder.exists() and (not marker.is_file() or marker.read_bytes() != fingerprint.encode()):
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
    from ifrvis.datasets import layouts, scenes  # they draw; a plan, which only needs fingerprints, does without

    total = parameters.videos[split]
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(total):
        scene = scenes.scene_of(parameters, split, index)
        tracks = _tracks(scene, index + 1, len(annotations) + 1)
        video = _video(scene, index, [track["id"] for track in tracks])
        _write_frames(scenes.frames_of(scene), [folder / "JPEGImages" / name for name in video["file_names"]])
        videos.append(video)
        annotations.extend(tracks)
        if progress is not None:
            progress(index + 1, total)
    names = list(layouts.SHAPES)[: parameters.num_classes]
    categories = [{"id": label + 1, "name": name, "supercategory": "shape"} for label, name in enumerate(names)]
    info = {"description": f"synthetic set, generator {GENERATOR_VERSION}, seed {parameters.seed}, split {split}"}
    return {"info": info, "videos": videos, "annotations": annotations, "categories": categories}


def _video(scene: "Scene", index: int, track_ids: list[int]) -> dict[str, Any]:
    _, length, height, width = scene.visible.shape
    pairs = [[track_ids[first], track_ids[second]] for first, second in scene.crossing_pairs]
    return {
        "id": index + 1,
        "file_names": [f"{index:05d}/{frame:05d}.jpg" for frame in range(length)],
        "height": height,
        "width": width,
        "length": length,
        "tags": asdict(scene.strata) | {"crossing_pairs": pairs},
    }


def _tracks(scene: "Scene", video_id: int, first_id: int) -> list[dict[str, Any]]:
    return [
        {
            "id": first_id + position,
            "video_id": video_id,
            "category_id": scene_object.label + 1,
            "iscrowd": 0,
            "height": masks.shape[1],
            "width": masks.shape[2],
            "length": len(masks),
            **_regions(masks),
        }
        for position, (scene_object, masks) in enumerate(zip(scene.objects, scene.visible, strict=True))
    ]


def _regions(masks: NDArray[np.bool_]) -> dict[str, list[Any]]:
    codes = [rle.encode(mask) if mask.any() else None for mask in masks]
    return {
        "segmentations": codes,
        "bboxes": [code and rle.box(code) for code in codes],
        "areas": [code and rle.area(code) for code in codes],
    }


def _write_frames(frames: Iterable[NDArray[np.uint8]], paths: list[Path]) -> None:
    import cv2

    paths[0].parent.mkdir(parents=True)
    for image, path in zip(frames, paths, strict=True):
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        path.write_bytes(data.tobytes())
