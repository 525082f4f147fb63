"""The synthetic sets: their parameters and fingerprints, which a plan knows before a set is made.

A video depends on nothing but the parameters, its split and its index. `pretrain` holds stills: videos of one frame.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ifrvis.errors import UserError
from ifrvis.files import canonical_json, sha256_bytes
from ifrvis.schema import construct

GENERATOR_VERSION = 2  # raise it with any change that moves a pixel or a mask
SPLITS = ("pretrain", "train", "dev", "test")


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
