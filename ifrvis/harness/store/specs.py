"""`spec.json`: the whole resolved configuration of a run, under the name and the signature that follow from it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ifrvis.files import canonical_json
from ifrvis.harness.spec.signatures import Sha256, TrainSpec, train_signature
from ifrvis.schema import Model

# Of runs: a part of paths, made of the names of method, backbone and data set, and of what a row changes.
RunName = Annotated[str, Field(pattern=r"^[^/.\x00-\x1f][^/\x00-\x1f]*$", max_length=200)]


class Spec(Model):
    """What one run trains."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    name: RunName
    train_sig: Sha256
    train: TrainSpec

    @model_validator(mode="after")
    def _is_its_own(self) -> Self:
        if self.train_sig != train_signature(self.train):
            raise ValueError("Restore the configuration of this run: it does not match its signature")
        return self

    def text(self) -> bytes:
        """The file as it is written."""
        return canonical_json(self.model_dump(by_alias=True)) + b"\n"
