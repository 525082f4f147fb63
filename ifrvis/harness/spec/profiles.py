"""A profile as data: a scale at which every table can be run, and what its numbers can be taken for."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ifrvis.harness.spec.recipes import Config, names_of
from ifrvis.packed import packed_names, packed_yaml
from ifrvis.schema import Model, Name, read_model

PRETRAINING = "pretraining"  # the value of `train.init` that names the profile's own pretraining


class Pretraining(Model):
    """An image-level Mask2Former on stills, whose weights the rows of a profile start from.

    It stands where COCO pretraining stands: a recipe whose `train.init` is "pretraining" starts from that of its
    backbone.
    """

    dataset: str
    set: Config
    est_hours: dict[str, float] = Field(default_factory=dict)


class Learning(Model):
    """A run is watched on a few held-out videos, from before its first iteration; and what counts as learned.

    Attributes:
        videos: How many held-out videos are watched, evenly spaced.
        gain: By how much the final AP (a fraction) must exceed that of the initial weights; None judges nothing.
        reach: What the final AP must reach; None judges nothing.
    """

    videos: int = Field(ge=1)
    gain: float | None = Field(default=None, ge=0, le=1)
    reach: float | None = Field(default=None, ge=0, le=1)


class Profile(Model):
    """A scale at which every table can be run: real data on GPUs, or small synthetic sets on a laptop.

    Attributes:
        compares: Its numbers are on the paper's data: they may be set against published values.
        numbers: What they mean: what was measured, or nothing; nothing never stands beside published values.
        needs_gpu: Its models are too large for a CPU; estimates are hours of a GPU, not of a core.
        turn: Of the profiles that have one, the first whose data and GPU are here is used where none is asked for.
        sides: Shortest side in a row's inference -> the side used here.
        est_hours: Backbone -> hours of one training, measured or guessed.
    """

    name: Name
    title: str
    datasets: dict[str, str]
    compares: bool = False
    numbers: Literal["measured", "nothing"] = "measured"
    needs_gpu: bool = False
    turn: int | None = None
    set: Config = Field(default_factory=dict)
    methods: dict[str, Config] = Field(default_factory=dict)
    backbones: dict[str, Config] = Field(default_factory=dict)
    pretraining: Pretraining | None = None
    learning: Learning | None = None
    sides: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    est_hours: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for kind, given in (("methods", self.methods), ("backbones", self.backbones)):
            if unknown := sorted(given.keys() - set(names_of(kind))):
                raise ValueError(f"Rename {unknown[0]!r} in {kind!r} to one of {', '.join(names_of(kind))}.")
        return self

    @property
    def est_unit(self) -> str:
        """What its estimates are hours of."""
        return "GPU hours" if self.needs_gpu else "core hours"


def load_profile(name: str) -> Profile:
    """The profile `name` of `experiments/profiles/`, or of a YAML file."""
    return read_model(Profile, packed_yaml("profiles", name), "the profile")


def default_profiles() -> list[Profile]:
    """The packed profiles that are tried in turn where none is asked for."""
    profiles = map(load_profile, packed_names("experiments", "profiles"))
    return sorted((each for each in profiles if each.turn is not None), key=lambda each: each.turn or 0)
