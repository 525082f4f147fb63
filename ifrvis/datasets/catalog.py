"""A dataset's YAML: where its files lie, what its splits are, and the fingerprint of each split.

A dataset is either files of the YouTube-VIS format under the data root, or a synthetic set that is made there
on demand. Its fingerprint is what a run's identity knows of the data: for files, the content of the annotation
file, the videos of the split, the names and sizes of their frames; for a synthetic set, generator version,
parameters and seed, known before the set is made.
"""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from ifrvis.datasets.fingerprints import frames_fingerprint
from ifrvis.datasets.splits import HeldOut, heldout_rule, heldout_videos, is_called
from ifrvis.datasets.synthetic.parameters import SyntheticParameters, split_fingerprint
from ifrvis.errors import DataMissingError, UserError, nearest
from ifrvis.files import canonical_json, sha256_bytes
from ifrvis.packed import SET_YAML, packed, packed_names, packed_yaml
from ifrvis.schema import Model, Name, read_model

if TYPE_CHECKING:
    from ifrvis.datasets.ytvis import Annotations

Role = Literal["train", "heldout", "pretrain", "dev", "full", "server"]  # full, server: of protocol `server`
SYNTHETIC_SPLITS: dict[Role, str] = {"train": "train", "heldout": "test", "pretrain": "pretrain", "dev": "dev"}
SYNTHETIC_SPLITS |= {"full": "train", "server": "test"}  # nothing is held out of a synthetic training split


class ServerSplit(Model):
    """The split whose ground truth only a server has; paths are relative to the data root."""

    annotation: str
    frames: str
    elsewhere: tuple[tuple[str, str], ...] = ()  # other places of both that are usual; the first that is there is taken
    videos: int | None = None  # as published


class Config(Model):
    """The content of a dataset's YAML; paths are relative to the data root."""

    name: Name
    title: str
    categories: int = Field(ge=1, le=10_000)
    synthetic: SyntheticParameters | None = None
    root_variable: str | None = None
    annotation: str | None = None
    frames: str | None = None
    elsewhere: tuple[tuple[str, str], ...] = ()  # as of `ServerSplit`
    heldout: str | HeldOut | None = None  # a rule, or the name of one of experiments/splits/
    server: ServerSplit | None = None
    source: str = ""  # where others get it; without one, none of it is published unless it is named
    videos: int | None = None  # of the training split, as published
    names: tuple[str, ...] = ()  # of the categories, in the order of their ids
    schedule: str | None = None  # of the recipes that are trained on it; without one it stands in no row

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.root_variable is not None and not self.root_variable.startswith("IFRVIS_"):
            raise ValueError("Begin 'root_variable' with IFRVIS_: jobs inherit no other, and it may be a secret.")
        if (self.synthetic is None) != (self.annotation is not None and self.frames is not None):
            raise ValueError("Give either 'synthetic', or 'annotation' and 'frames'.")
        if self.synthetic and self.synthetic.num_classes != self.categories:
            raise ValueError(f"Set 'categories' to its num_classes, {self.synthetic.num_classes}.")
        heldout_rule(self.heldout)  # a name that does not exist is found now
        return self


class Part(Model):
    """What of a split is evaluated."""

    frames: int | None = Field(default=None, ge=1)  # the middle ones of every video; None for all
    videos: tuple[str, ...] = ()  # names of videos; none for all

    def of(self, annotations: "Annotations") -> "Annotations":
        """This part of a split's annotations; UserError if a video is not there."""
        names = sorted({video.name for video in annotations.videos})
        if unknown := [name for name in self.videos if name not in names]:
            some = ", ".join(names[:10]) + f" and {len(names) - 10} more" * (len(names) > 10)
            came = f"the split has no {unknown[0]!r}{nearest(unknown[0], names)}"
            raise UserError(f"Choose videos among {some}: {came}.")
        if self.videos:
            annotations = annotations.subset({each.id for each in annotations.videos if each.name in self.videos})
        return annotations if self.frames is None else annotations.middle(self.frames)

    def fingerprint(self, split: str) -> str:
        """The fingerprint of this part of a split, of its own wherever it is not all."""
        return split if self == WHOLE else sha256_bytes(canonical_json({"split": split, "part": self.model_dump()}))


WHOLE = Part()


@dataclass(frozen=True)
class Split:
    """One role of a dataset, or a part of it: which videos of which files."""

    dataset: str
    role: Role
    annotation: Path
    frames: Path
    fingerprint: str | None  # None: the files are missing
    missing: str = ""  # what to do about it
    makeable: bool = False  # a synthetic set that is not there yet
    heldout: HeldOut | None = None
    categories: int | None = None  # how many the file must have
    part: Part = WHOLE

    def read(self) -> "Annotations":
        """The annotations of this split's videos; DataMissingError without files, UserError if they are broken."""
        if self.fingerprint is None or self.makeable:
            raise DataMissingError(self.missing)
        from ifrvis.datasets.ytvis import read_annotations  # numpy, which a plan of made sets does without

        annotations = read_annotations(self.annotation, tracks_required=self.role != "server")
        found = len(annotations.categories)
        if self.categories not in (None, found):
            raise UserError(f"Set 'categories' of dataset {self.dataset!r} to {found}: {self.annotation} has so many.")
        return self.part.of(self.of(annotations))

    def of(self, annotations: "Annotations") -> "Annotations":
        """The videos of this role among all of a file; UserError if its rule names others, or leaves none."""
        if self.heldout is None:
            return annotations
        names = [video.name for video in annotations.videos]
        for glob in self.heldout.videos:
            if not any(is_called(name, glob) for name in names):
                text = f"no video is called {glob!r}{nearest(glob, names)}"
                raise UserError(f"Correct 'heldout' of dataset {self.dataset!r}: {text}.")
        kept = heldout_videos(annotations.videos, self.heldout)
        wanted = kept if self.role == "heldout" else {video.id for video in annotations.videos} - kept
        if not wanted:
            why = f"of {len(annotations.videos)}, and rows are trained on some and scored on others"
            text = f"it leaves no video to {self.role!r} {why}"
            raise UserError(f"Change 'heldout' of dataset {self.dataset!r}, or add videos: {text}.")
        return annotations.subset(wanted)


@dataclass(frozen=True)
class Dataset:
    """A dataset of the catalog, bound to a data root."""

    config: Config
    data_root: Path
    source: str  # how `load_dataset` finds it again: its name, or the path of its YAML

    @property
    def name(self) -> str:
        """The name that tables and profiles use."""
        return self.config.name

    def split(self, role: Role, part: Part = WHOLE) -> Split:
        """The split of one role, or a part of it, with its fingerprint where that can be known."""
        annotation, frames = self.files(role)
        split = Split(self.name, role, annotation, frames, fingerprint=None, part=part)
        if self.config.synthetic is not None:
            fingerprint = split_fingerprint(self.config.synthetic, SYNTHETIC_SPLITS[role])
            command = f"ifrvis data make-mini {shlex.quote(self.source)}" + " --contact-sheet dev.png" * (role == "dev")
            missing = f"Run `{command}`: {annotation} has not been made yet."
            makeable = not annotation.is_file()
            return replace(split, fingerprint=part.fingerprint(fingerprint), missing=missing, makeable=makeable)
        rule = None if role in ("full", "server") else heldout_rule(self.config.heldout)
        missing = self._what_is_missing(annotation, frames)
        split = replace(split, missing=missing, heldout=rule, categories=self.config.categories)
        if missing:
            return split
        key = [role, repr(rule), split.categories, part.model_dump()]
        try:
            read = replace(split, fingerprint="").read
            return replace(split, fingerprint=part.fingerprint(frames_fingerprint(annotation, frames, read, key)))
        except DataMissingError as error:  # a frame
            return replace(split, missing=str(error))

    @property
    def made(self) -> tuple[Role, ...]:
        """The roles that a synthetic set has videos of its own for."""
        assert self.config.synthetic is not None
        roles: tuple[Role, ...] = ("pretrain", "train", "dev", "heldout")
        return tuple(role for role in roles if self.config.synthetic.videos[SYNTHETIC_SPLITS[role]])

    def make(self, role: Role, progress: Callable[[int, int], None] | None = None) -> None:
        """Make one split of a synthetic set unless it is there; other datasets cannot be made."""
        if self.config.synthetic is not None:
            from ifrvis.datasets.synthetic.making import make_split  # it draws, which a plan does without

            make_split(self.config.synthetic, SYNTHETIC_SPLITS[role], self._folder(), progress=progress)

    def _folder(self) -> Path:
        assert self.config.synthetic is not None
        fingerprint = split_fingerprint(self.config.synthetic, "all")
        return self.data_root / f"{self.name}-{fingerprint[:12]}"

    def files(self, role: Role) -> tuple[Path, Path]:
        """Annotation file and folder of frames of a role, which need not exist; UserError if the dataset names none."""
        if self.config.synthetic is not None:
            name = SYNTHETIC_SPLITS[role]
            return self._folder() / f"{name}.json", self._folder() / name / "JPEGImages"
        place = self.config.server if role == "server" else self.config
        if place is None:
            raise UserError(f"Add 'server', its annotation and frames, to dataset {self.name!r}: there is none yet.")
        assert place.annotation is not None
        assert place.frames is not None
        root = Path(os.environ.get(self.config.root_variable or "") or self.data_root)
        places = [(root / each, root / frames) for each, frames in ((place.annotation, place.frames), *place.elsewhere)]
        return next((each for each in places if os.path.exists(each[0])), places[0])  # noqa: PTH110  never raises

    def _what_is_missing(self, annotation: Path, frames: Path) -> str:
        absent = [path for path in (annotation, frames) if not os.path.exists(path)]  # noqa: PTH110  never raises
        if not absent:
            return ""
        variable = f" or {self.config.root_variable}" if self.config.root_variable else ""
        others = [each for each, _ in self.config.elsewhere] if absent[0] == annotation else []
        nor = f", nor {', '.join(others)}" if others else ""
        return (
            f"Put {self.config.title} where it is expected, or point --data-root{variable} at it: "
            f"{absent[0]} does not exist{nor}. {self.config.source}".strip()
        )


def load_dataset(name: str, data_root: Path) -> Dataset:
    """The dataset `name` of `experiments/datasets/`, of a YAML file, or of one's own; see `load_config`."""
    config, path = load_config(known_as(name, data_root))
    is_packed = path == packed("experiments", "datasets", f"{name}.yaml")
    return Dataset(config, data_root, name if is_packed else str(path.resolve()))


def own_folder(name: str, data_root: Path) -> Path:
    """Where the set lies that is made of a file of the user's own."""
    return data_root / "own" / name


def known_as(name: str, data_root: Path) -> str:
    """What the set called so is found by wherever there is no data root: one of the user's own by its YAML; UserError
    if there is none.
    """
    path, is_file = own_folder(name, data_root) / SET_YAML, os.path.isfile  # which never raises
    if name in packed_names("experiments", "datasets") or is_file(Path(name, SET_YAML)):
        return name
    if is_file(path):
        return str(path)
    own = (each.parent.name for each in own_folder("", data_root).glob(f"*/{SET_YAML}"))
    packed_yaml("datasets", name, beside=own)
    return name


def load_config(name: str) -> tuple[Config, Path]:
    """What a dataset's YAML says, and where it lies; UserError if there is no such dataset, its YAML is wrong, or it
    has the name of a packed one and is another: records know a data set by its name.
    """
    path = packed_yaml("datasets", name)
    config = read_model(Config, path, "the dataset")
    own = packed("experiments", "datasets", f"{config.name}.yaml")
    if own not in (path, path.resolve()) and own.is_file() and read_model(Config, own, "the dataset") != config:
        raise UserError(f"Rename the data set in {path}: {config.name!r} is another one, that of {own}.")
    return config, path
