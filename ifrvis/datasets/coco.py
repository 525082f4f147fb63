"""Stills with instances in COCO's format, as videos of one frame with the categories of another dataset.

`experiments/stills/*.yaml` say where they lie and which of their categories each dataset has, by name: the same word
can mean another thing (COCO's mouse lies on a desk).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ifrvis.datasets.catalog import Dataset, Split, load_dataset
from ifrvis.datasets.fingerprints import frames_fingerprint
from ifrvis.datasets.rle import checked_rle, expect
from ifrvis.datasets.ytvis import (
    Annotations,
    Category,
    Track,
    Video,
    checked_crowd,
    checked_id,
    checked_path,
    checked_size,
    made_of,
)
from ifrvis.errors import UserError
from ifrvis.files import canonical_json, read_json, sha256_bytes
from ifrvis.packed import packed_names, packed_yaml
from ifrvis.schema import Model, read_model

MOTION_VERSION = 3  # raised when `stills` draws another pseudo-video for the same key


@dataclass(frozen=True)
class Stills:
    """Images to make pseudo-videos of: videos of one frame, whose file names are relative to `root`."""

    annotations: Annotations
    root: Path


class Config(Model):
    """The content of a YAML in `experiments/stills/`; paths are relative to the data root."""

    name: str
    title: str
    annotation: str
    images: str
    categories: dict[str, dict[str, str]]  # dataset -> category of the stills -> its name in that dataset
    source: str = ""


@dataclass(frozen=True)
class StillSet:
    """Stills bound to a data root, for the categories of one dataset."""

    annotation: Path
    images: Path
    names: dict[str, str]  # category of the stills -> category of the dataset
    missing: str  # what to do about files that are not there

    def joint_fingerprint(self, videos: str, ratio: float | None) -> str:
        """Fingerprint of a training split, `videos`, with these stills mixed in.

        It holds the content of the annotation file, names and sizes of the images in use, categories, the rule of
        motion and the ratio.
        """
        categories = tuple(Category(name, name) for name in sorted(set(self.names.values())))
        read = lambda: self.read(categories).annotations  # noqa: E731
        stills = frames_fingerprint(self.annotation, self.images, read, self.names)
        content = {"videos": videos, "stills": stills, "names": self.names, "motion": MOTION_VERSION, "ratio": ratio}
        return sha256_bytes(canonical_json(content))

    def read(self, categories: tuple[Category, ...]) -> Stills:
        """The images with one of the categories, without crowds and all else; UserError if none can be used."""
        content, path = read_json(self.annotation, "the annotations of stills"), self.annotation
        expect(isinstance(content, dict), str(path), "an object with images, annotations and categories", content)
        ids = {category.name: category.id for category in categories}
        if absent := sorted(set(self.names.values()) - ids.keys()):
            raise UserError(f"Correct 'categories' of the stills: the videos have no {absent[0]!r}.")
        given = made_of(content, "categories", path, lambda _, one: (one["id"], self.names.get(str(one.get("name")))))
        mapped = {str(key): ids[name] for key, name in given if name is not None}
        annotations = Annotations(path, categories, tuple(made_of(content, "images", path, still_of)), ())

        def is_wanted(entry: dict[str, Any]) -> bool:
            return str(entry.get("category_id")) in mapped and not checked_crowd(entry, f"{path}: annotations")

        make = lambda where, entry: _object(where, entry, annotations, mapped)  # noqa: E731
        tracks = tuple(made_of(content, "annotations", path, make, None, is_wanted))
        shown = {track.video_id for track in tracks if track.masks[0] is not None}
        if not shown:
            raise UserError(f"Choose other stills than {path}: no image shows a category of the videos.")
        return Stills(replace(annotations, tracks=tracks).subset(shown), self.images)


def still_of(where: str, entry: dict[str, Any]) -> Video:
    """An image of COCO's format as a video of one frame; UserError for anything else."""
    name: Any = entry.get("file_name")
    expect(name, f"{where}.file_name", "the image's path (LVIS has coco_url: write the end of it here)", name)
    return Video(entry["id"], *checked_size(entry, where), (checked_path(name, f"{where}.file_name"),), name)


def _object(where: str, entry: dict[str, Any], stills: Annotations, mapped: dict[str, Any]) -> Track:
    still = stills.video_by_id[checked_id(entry, "image_id", stills.video_by_id, where)]
    shape = entry.get("segmentation")
    if isinstance(shape, list) and all(isinstance(each, list) and len(each) < 6 for each in shape):
        shape = None  # COCO has polygons of two points, and tools write none
    where = f"{where}.segmentation"
    mask = None if shape is None else checked_rle(shape, still.height, still.width, where, skip_lines=True)
    return Track(entry["id"], still.id, mapped[str(entry["category_id"])], (mask,), (None,))


@dataclass(frozen=True)
class MadeStills:
    """The split of one-frame videos of a made set; `missing` as of `StillSet`."""

    dataset: Dataset
    missing: str = ""

    @property
    def split(self) -> Split:
        """The images, which need not be made yet."""
        return self.dataset.split("pretrain")

    def joint_fingerprint(self, videos: str, ratio: float | None) -> str:
        """See `StillSet`; the images need not be there."""
        content = {"videos": videos, "stills": self.split.fingerprint, "motion": MOTION_VERSION, "ratio": ratio}
        return sha256_bytes(canonical_json(content))

    def read(self, categories: tuple[Category, ...]) -> Stills:
        """The images; their categories are the set's own."""
        return Stills(self.split.read(), self.split.frames)


def load_stills(name: str, dataset: Dataset) -> StillSet | MadeStills:
    """The stills `name` of `experiments/stills/`, of a YAML file, or of the split `pretrain` of a made set, for the
    categories of a dataset; UserError if there are none, or their YAML has no categories of this dataset.
    """
    if name in packed_names("experiments", "datasets"):
        made = load_dataset(name, dataset.data_root)
        categories = [each.config.synthetic and each.config.categories for each in (made, dataset)]
        if None in categories or categories[0] != categories[1]:
            what = "Set train.stills to null, or name others"
            raise UserError(f"{what}: those of {name!r} have not the categories of {dataset.name}.")
        return MadeStills(made)
    path = packed_yaml("stills", name)
    config = read_model(Config, path, "the stills")
    if dataset.name not in config.categories:
        what = f"Add the categories of {dataset.name!r} to 'categories' in {path}, or set train.stills to null"
        raise UserError(f"{what}: it has none yet.")
    annotation, images = dataset.data_root / config.annotation, dataset.data_root / config.images
    absent = next((each for each in (annotation, images) if not each.exists()), None)
    missing = f"Put {config.title} where it is expected: {absent} does not exist. {config.source}".strip()
    return StillSet(annotation, images, config.categories[dataset.name], missing if absent else "")
