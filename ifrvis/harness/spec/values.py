"""Values of a specification that can be known to be wrong before anything is queued.

What is hashed stays the plain values: the models here only look at them.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ifrvis.harness.spec.recipes import Config
from ifrvis.options import Count, Weight, check_model
from ifrvis.schema import Model, Share, validated


class MixedIn(Model):
    """Pseudo-videos among the clips: of which stills, and their share."""

    dataset: str
    ratio: float = Field(gt=0, lt=1)

    @classmethod
    def of(cls, given: Config | None) -> "MixedIn | None":
        """What a recipe's `train.stills` says, for whoever works in another folder."""
        if given is None:
            return None
        mixed = cls(**given)
        is_path = mixed.dataset.endswith((".yaml", ".yml"))
        return mixed.model_copy(update={"dataset": str(Path(mixed.dataset).resolve())}) if is_path else mixed


class _Pipeline(Model):
    sides: tuple[Count, ...] = Field(min_length=1)
    max_side: Count
    flip: Share


class _Sampler(Model):
    num_frames: Count
    frame_range: int = Field(ge=0)


class _Optimizer(Model):
    lr: Weight
    weight_decay: Weight
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]
    eps: float = Field(gt=0)
    backbone_lr_mult: Weight
    clip_grad: Annotated[float, Field(gt=0)] | None


class _Schedule(Model):
    milestones: tuple[Count, ...]
    gamma: float = Field(gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"Let 'milestones' rise: they are {list(self.milestones)}.")
        return self


class _Train(Model):
    pipeline: _Pipeline
    sampler: _Sampler
    optimizer: _Optimizer
    stills: MixedIn | None
    global_batch: Count
    precision: Literal["fp32", "amp"]
    threads: Count
    init: str | None
    iterations: Count
    schedule: _Schedule


class _Inference(Model):
    mode: Literal["whole", "clips"]
    side: Count
    max_side: Count
    topk: Count
    clip_frames: Count | None
    stride: Count
    min_score: Share | None
    min_overlap: Share
    tta: Annotated[tuple[Count, ...], Field(min_length=1)] | None
    flip: bool

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode == "clips" and not (self.clip_frames and self.stride <= self.clip_frames):
            asked = "Set inference.clip_frames to the length of a clip and inference.stride from 1 to that"
            raise ValueError(f"{asked}: got {self.clip_frames} and {self.stride}.")
        return self


class _Recipe(Model):
    train: _Train
    inference: _Inference


def check_values(config: Config, where: str) -> None:
    """Refuse a composed recipe with a value that no training or inference can have.

    Raises:
        UserError: If there is one.
    """
    validated(_Recipe, {"train": config["train"], "inference": config["inference"]}, where)
    check_model(config["model"], where)


def check_inference(inference: Config, where: str) -> None:
    """The same of inference alone."""
    validated(_Inference, inference, f"'inference' in {where}")
