"""Which videos are held out of a training split: a rule as data, and the draw that follows it."""

import fnmatch
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ifrvis.packed import packed_yaml
from ifrvis.schema import Model, read_model

if TYPE_CHECKING:
    from ifrvis.datasets.ytvis import Id, Video


class HeldOut(Model):
    """Which training videos are kept for scoring: named ones (globs of names), or a seeded draw.

    Videos whose names match one of `groups` (globs) are drawn together or not at all.
    """

    videos: tuple[str, ...] = ()
    draw: int = Field(default=0, ge=0)
    seed: int = 0
    groups: tuple[str, ...] = ()


def heldout_rule(given: str | HeldOut | None) -> HeldOut | None:
    """The rule itself, or the one that has this name in `experiments/splits/`; UserError if none has."""
    if not isinstance(given, str):
        return given
    return read_model(HeldOut, packed_yaml("splits", given), "the rule of the split")


def heldout_videos(videos: Iterable["Video"], rule: HeldOut) -> set["Id"]:
    """Ids of the videos that a rule keeps for scoring; the order of the file does not matter."""
    if rule.videos:
        return {video.id for video in videos if any(fnmatch.fnmatch(video.name, glob) for glob in rule.videos)}
    groups: dict[str, list[Id]] = {}
    for video in videos:
        group = next((glob for glob in rule.groups if fnmatch.fnmatch(video.name, glob)), video.name)
        groups.setdefault(group, []).append(video.id)
    drawn: set[Id] = set()
    for group in in_seeded_order(groups, rule.seed):
        if len(drawn) + len(groups[group]) <= rule.draw:
            drawn.update(groups[group])
    return drawn


def in_seeded_order(names: Iterable[Any], seed: int) -> list[Any]:
    """Names or ids in an order that is drawn once and for all: neither their own order nor the others move it."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
