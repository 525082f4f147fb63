"""The identity of a run: a hash of exactly what changes the numbers, and nothing else.

A signature is the SHA-256 of canonical JSON. Paths, workers, jobs, cluster and code are not part of it.
"""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ifrvis.files import canonical_json, sha256_bytes
from ifrvis.harness.spec.compose import Composed
from ifrvis.schema import Model

SCORING_VERSION = 4  # raised when the same predictions would be scored differently
NAME_LENGTH = 199  # at most of a run's: with it, the temporary names of a record's files have the 255 that systems take
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class TrainSpec(Model):
    """Everything that decides the weights, and nothing else."""

    model: dict[str, Any]
    data: Sha256 | None  # fingerprint of the training split; None where the data are missing
    pipeline: dict[str, Any]
    sampler: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    iterations: Annotated[int, Field(ge=1)]
    global_batch: Annotated[int, Field(ge=1)]
    precision: str
    threads: int
    init: Sha256 | None  # SHA-256 of the initial weights or the `train_sig` of a pretraining; None for a random start
    seed: int  # the run's seed

    @model_validator(mode="after")
    def _sees_frames(self) -> Self:
        sides, frames = self.pipeline.get("sides") or [], self.sampler.get("num_frames", 1)
        if not (isinstance(sides, list) and all(type(each) is int and each > 0 for each in (frames, *sides))):
            raise ValueError("Give 'sides' and 'num_frames' of a training as whole numbers above 0.")
        return self


def train_spec(composed: Composed, *, data: str | None, init: str | None, seed: int) -> TrainSpec:
    """What a row trains with one seed."""
    values = {**composed.train, "model": composed.model, "data": data, "init": init, "seed": seed}
    return TrainSpec(**{key: values[key] for key in TrainSpec.model_fields})


def work_of(spec: TrainSpec) -> float:
    """The pixels that a training sees, about, if frames were squares of their short side; hours go with them."""
    sides = spec.pipeline.get("sides") or [1]
    pixels = sum(side**2 for side in sides) / len(sides)
    return float(spec.iterations * spec.global_batch * spec.sampler.get("num_frames", 1) * pixels)


def train_signature(spec: TrainSpec) -> str:
    """Identity of a training: 64 hex digits."""
    return _signature(vars(spec))


def predictions_signature(train_sig: str, inference: dict[str, Any], split: str) -> str:
    """Identity of the predictions of one training on one split."""
    return _signature({"train_sig": train_sig, "inference": inference, "split": split})


def eval_signature(train_sig: str, inference: dict[str, Any], split: str, *, scoring: int | None = None) -> str:
    """Identity of a record: predictions and how they are scored (by default, today's way)."""
    predictions = predictions_signature(train_sig, inference, split)
    return _signature({"predictions": predictions, "scoring": SCORING_VERSION if scoring is None else scoring})


def run_name(method: str, backbone: str, dataset: str, changes: dict[str, Any], seed: int) -> str:
    """A readable name that depends on content alone, so that rows that share a training agree on it.

    Of stills, which a signature knows by their fingerprint alone, it tells the share and the file, too. Of many changes
    it tells what has room.
    """
    begins, ends = f"{method}-{backbone}", f"-{dataset}-s{seed}"
    for key, value in sorted(changes.items()):
        text = key.rsplit(".", 1)[-1] + _name_text(value)
        begins += "-" + "".join(c if c.isascii() and (c.isalnum() or c == ".") else "_" for c in text)
    return begins[: NAME_LENGTH - len(ends)] + ends


def external_name(backbone: str, row_id: str, seed: int) -> str:
    """The name of what another program predicted for a row of its own, with one seed."""
    return f"external-{backbone}-{row_id}-s{seed}"


def _name_text(value: Any) -> str:
    if isinstance(value, dict):  # a text that is no file's name says nothing: there is one packed set of stills
        return "".join(_name_text(each) for each in value.values() if not isinstance(each, str) or "." in each)
    return Path(str(value)).name.lower() if isinstance(value, (str, int, float)) else ""


def _signature(value: Any) -> str:
    return sha256_bytes(canonical_json(value))
