"""The synthetic sets: their parameters and fingerprints, which a plan knows before a set is made.

A video depends on nothing but the parameters, its split and its index. `pretrain` holds stills: videos of one frame.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from ifrvis.files import canonical_json, sha256_bytes
from ifrvis.schema import Model, Share

GENERATOR_VERSION = 3  # raise it with any change that moves a pixel or a mask
SPLITS = ("pretrain", "train", "dev", "test")


class SyntheticParameters(Model):
    """What a synthetic set is made from."""

    seed: int = Field(ge=0)  # of everything that is drawn
    videos: dict[str, Annotated[int, Field(ge=0)]]  # number of videos in each split of SPLITS
    height: int = Field(default=96, ge=32, le=2048)  # of a frame, in pixels
    width: int = Field(default=128, ge=32, le=2048)  # of a frame, in pixels
    frames: tuple[int, int] = (36, 36)  # shortest and longest length of a video; stills have one frame
    num_classes: int = Field(default=4, ge=4, le=6)  # the first so many shapes are the categories
    # Shares of videos with 1, 2, ... objects; at most 10.
    objects: tuple[Share, ...] = Field(default=(0, 0, 0.35, 0.35, 0.3), max_length=10)
    diameter: tuple[float, float] = (20.0, 34.0)  # smallest and largest diameter of an object, in pixels
    speed: tuple[float, float] = (0.1, 0.17)  # lowest and highest speed, in object diameters a frame
    crossing: Share = 0.6  # share of videos with two objects or more in which two of one class cross
    occlusion: Share = 0.5  # share of the same videos in which an object is hidden by another for a while
    reentry: Share = 0.0  # share of videos with one object in which it leaves the frame and comes back
    away: Share = 0.0  # share of objects, but for those that have one of these parts, that enter late or leave early

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.videos.keys() != set(SPLITS):
            raise ValueError(f"Give 'videos' the keys {', '.join(SPLITS)}: it has {', '.join(self.videos)}.")
        side = min(self.height, self.width) / 2
        if abs(sum(self.objects) - 1) > 1e-6:
            raise ValueError(f"Let the shares of 'objects' add up to 1: they add up to {sum(self.objects):g}.")
        for key, least, most in (("frames", 2, 1000), ("diameter", 8, side), ("speed", 0.001, 1)):
            low, high = getattr(self, key)
            if not least <= low <= high <= most:
                raise ValueError(f"Make {key!r} an interval within {least} and {most:g}: it is {low:g} to {high:g}.")
        return self


def split_fingerprint(parameters: SyntheticParameters, split: str) -> str:
    """Identity of a split, 64 hex digits, known before it is made; `all` is the identity of the whole set.

    The size of one split does not enter the fingerprint of another.
    """
    known = parameters.model_dump()
    if split != "all":
        known["videos"] = parameters.videos[split]
    return sha256_bytes(canonical_json({"generator": GENERATOR_VERSION, "parameters": known, "split": split}))
