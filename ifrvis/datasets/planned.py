"""Data as they were planned: a run that was planned on others is refused before it reads any."""

from ifrvis.datasets.catalog import WHOLE, Dataset, Part, Role, Split
from ifrvis.datasets.coco import Stills, load_stills
from ifrvis.errors import DataMissingError, UserError


def planned_split(dataset: Dataset, role: Role, planned: str | None, part: Part = WHOLE) -> Split:
    """A split of a data set, or a part of it, as it was planned; UserError if its fingerprint is another one."""
    split = dataset.split(role, part)
    _check(split, planned, split.fingerprint)
    return split


def planned_training(
    dataset: Dataset, role: Role, planned: str | None, mixed: tuple[str, float | None] | None
) -> tuple[Split, tuple[Stills, float | None] | None]:
    """The training split, and the stills that are mixed in with their share (None: that of the sets' sizes), as they
    were planned together; DataMissingError if the stills are not here; UserError if either is another one.
    """
    if mixed is None:
        return planned_split(dataset, role, planned), None
    split, stills = dataset.split(role), load_stills(mixed[0], dataset)
    if stills.missing:
        raise DataMissingError(stills.missing)
    _check(split, planned, stills.joint_fingerprint(split.fingerprint or "", mixed[1]), " with its stills")
    return split, (stills.read(split.read().categories), mixed[1])


def _check(split: Split, planned: str | None, found: str | None, more: str = "") -> None:
    if found != planned:
        raise UserError(
            f"Start the row again: the {split.role} split of {split.dataset}{more} has changed since this run was "
            f"planned (its fingerprint was {planned} and is {found or 'missing'})."
        )
