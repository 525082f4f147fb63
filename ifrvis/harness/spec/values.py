"""Values of a specification that can be known to be wrong before anything is built from them."""

from pathlib import Path

from pydantic import Field

from ifrvis.harness.spec.recipes import Config
from ifrvis.schema import Model, validated


class MixedIn(Model):
    """Pseudo-videos among the clips: of which stills, and their share."""

    dataset: str
    ratio: float | None = Field(gt=0, lt=1)  # None: that of their number

    @classmethod
    def of(cls, given: Config | None) -> "MixedIn | None":
        """What a recipe's `train.stills` says, for whoever works in another folder.

        Raises:
            UserError: If it is neither null nor a dataset with a ratio between 0 and 1.
        """
        if given is None:
            return None
        mixed = validated(cls, given, "train.stills")
        is_path = mixed.dataset.endswith((".yaml", ".yml"))
        return mixed.model_copy(update={"dataset": str(Path(mixed.dataset).resolve())}) if is_path else mixed
