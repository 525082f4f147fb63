"""A profile as data: a scale at which every table can be run, and what its numbers can be taken for."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ifrvis.errors import UserError, nearest
from ifrvis.harness.spec.methods import packages
from ifrvis.harness.spec.recipes import Config, names_of
from ifrvis.packed import packed_names, packed_yaml
from ifrvis.schema import Model, Name, read_model, validated

Hours = Annotated[float, Field(ge=0, lt=1e6)]
PRETRAINING = "pretraining"  # the value of `train.init` that names the profile's own pretraining


class Pretraining(Model):
    """A method trained on stills, whose weights the rows of a profile start from.

    It stands where COCO pretraining stands: a recipe whose `train.init` is "pretraining" starts from that of its
    method and backbone.
    """

    dataset: str
    set: Config
    # Method -> the method that is trained on stills for it; for those that are not named, Mask2Former is.
    of: dict[str, Name] = Field(default_factory=dict)
    est_hours: dict[str, Hours] = Field(default_factory=dict)

    def behind(self, method: str) -> tuple[str, str]:
        """The method that is trained on stills for another, or itself, and how that training is called."""
        trained = self.of.get(method, "mask2former")
        return trained, PRETRAINING + f"-{trained}" * (trained != "mask2former")


class Learning(Model):
    """A run is watched on a few held-out videos, before its first iteration and after its last; what is learned."""

    videos: int = Field(ge=1)  # how many held-out videos are watched, evenly spaced
    # Of what the initial weights' AP there leaves to 1, the share that must be gained; None judges nothing; without
    # training nothing is gained.
    gain: float | None = Field(default=None, gt=0, le=1)
    # What the final AP on all held-out videos must reach; None judges nothing.
    reach: float | None = Field(default=None, ge=0, le=1)


class Profile(Model):
    """A scale at which every table can be run: real data on GPUs, or small synthetic sets on a laptop."""

    name: Name
    title: str
    datasets: dict[str, str]
    compares: bool = False  # its numbers are on the paper's data: they may be set against published values
    # What they mean: what was measured, or nothing; nothing never stands beside published values.
    numbers: Literal["measured", "nothing"] = "measured"
    head: tuple[str, ...] = ()  # what whoever reads its numbers has to know, for the head of every table
    needs_gpu: bool = False  # its models are too large for a CPU; estimates are hours of a GPU, not of a core
    # Of the profiles that have one, the first whose data and GPU are here is used where none is asked for.
    turn: int | None = None
    set: Config = Field(default_factory=dict)  # what is set for every method but those of `alone`
    # Method -> what is set for it after `set`, or what stands in its place.
    methods: dict[str, Config] = Field(default_factory=dict)
    # Method -> what is set for it in the place of `set`, whose keys its recipe need not have.
    alone: dict[str, Config] = Field(default_factory=dict)
    backbones: dict[str, Config] = Field(default_factory=dict)  # backbone -> what is set for it after that
    pretraining: Pretraining | None = None
    learning: Learning | None = None
    # Stills that rows mix in -> the made set whose split `pretrain` stands for them here.
    stills: dict[str, Name] = Field(default_factory=dict)
    # Shortest side in a row's inference -> the side used here.
    sides: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    # Number of queries that a row sets -> the number used here.
    queries: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    # Backbone -> hours of one training of Mask2Former, measured or guessed; others follow from it.
    est_hours: dict[str, Hours] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        of = self.pretraining.of if self.pretraining else {}
        named = {"methods": {*self.methods, *self.alone, *of, *of.values()}, "backbones": {*self.backbones}}
        for kind, given in named.items():
            if unknown := sorted(given - set(names_of(kind))):
                known, near = names_of(kind), nearest(unknown[0], names_of(kind))
                raise ValueError(f"Rename {unknown[0]!r} in {kind!r} to one of {', '.join(known)}{near}.")
        return self


class Additions(Model):
    """`profiles/<profile>.yaml` of a package from outside: what the profile sets for methods that the package brings.

    `pretrained_by` is `of` of the profile's pretraining.
    """

    methods: dict[str, Config] = Field(default_factory=dict)
    alone: dict[str, Config] = Field(default_factory=dict)
    pretrained_by: dict[str, Name] = Field(default_factory=dict)


def load_profile(name: str) -> Profile:
    """The profile `name` of `experiments/profiles/`, or of a YAML file, with what packages from outside add to it;
    UserError if one of them cannot be read, or speaks of methods that are not its own.
    """
    profile = read_model(Profile, packed_yaml("profiles", name), "the profile")
    for package in packages()[1:]:
        path = package.folder / "profiles" / f"{profile.name}.yaml"
        if path.is_file():
            added, own = read_model(Additions, path, "what is added to a profile"), package.names_of("methods")
            if others := sorted({*added.methods, *added.alone, *added.pretrained_by} - own):
                raise UserError(f"Remove {others[0]!r} from {path}: a package speaks of the methods that it brings.")
            content = profile.model_dump()
            content |= {"methods": profile.methods | added.methods, "alone": profile.alone | added.alone}
            if profile.pretraining:
                content["pretraining"]["of"] |= added.pretrained_by
            profile = validated(Profile, content, str(path))
    return profile


def default_profiles() -> list[Profile]:
    """The packed profiles that are tried in turn where none is asked for."""
    profiles = map(load_profile, packed_names("experiments", "profiles"))
    return sorted((each for each in profiles if each.turn is not None), key=lambda each: each.turn or 0)
