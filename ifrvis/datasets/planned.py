"""Data as they were planned: a run that was planned on others is refused before it reads any."""

from ifrvis.datasets.catalog import Dataset, Role, Split
from ifrvis.datasets.coco import Stills, load_stills
from ifrvis.errors import DataMissingError, UserError


def planned_split(dataset: Dataset, role: Role, planned: str | None) -> Split:
    """A split of a data set whose fingerprint is the one that was planned.

    Raises:
        UserError: If it is another one.
    """
    split = dataset.split(role)
    _check(split, planned, split.fingerprint)
    return split


def planned_training(
    dataset: Dataset, role: Role, planned: str | None, stills: str | None, ratio: float | None
) -> tuple[Split, Stills | None]:
    """The training split, and the stills that are mixed in, whose joint fingerprint is the one that was planned.

    Args:
        dataset: The videos.
        role: Their split.
        planned: Fingerprint of all that is trained on.
        stills: Which stills are mixed in; None for none.
        ratio: Their share; None is that of the sets' sizes.

    Raises:
        DataMissingError: If the stills are not here.
        UserError: If either is another one.
    """
    if stills is None:
        return planned_split(dataset, role, planned), None
    split, mixed = dataset.split(role), load_stills(stills, dataset)
    if mixed.missing:
        raise DataMissingError(mixed.missing)
    _check(split, planned, mixed.joint_fingerprint(split.fingerprint or "", ratio), " with its stills")
    return split, mixed.read(split.read().categories)


def _check(split: Split, planned: str | None, found: str | None, more: str = "") -> None:
    if found != planned:
        raise UserError(
            f"Start the row again: the {split.role} split of {split.dataset}{more} has changed since this run was "
            f"planned (its fingerprint was {planned} and is {found or 'missing'})."
        )
