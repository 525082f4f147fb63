"""What the files of an attempt say: what is asked for, where it waits, how far it is, and how it ended."""

from typing import Annotated, Any

from pydantic import Field

from ifrvis.datasets.catalog import WHOLE, Part, Role
from ifrvis.evaluation.scores import Count, Fraction
from ifrvis.harness.spec.compose import MixedIn
from ifrvis.harness.spec.signatures import Sha256
from ifrvis.harness.spec.tables import Protocol
from ifrvis.harness.store.alive import Process
from ifrvis.harness.store.states import FAULTS, GOES_ON, AttemptState, EndState
from ifrvis.schema import Model, Name


class Asked(Model):
    """An evaluation that an attempt is asked for."""

    eval_sig: Sha256
    inference: dict[str, Any]
    split: Sha256  # fingerprint of the part of a role's split
    role: Role
    part: Part = WHOLE
    protocol: Protocol
    off_spec: bool  # as in a record


class Handling(Model):
    """How a worker goes about a run: no part of its identity."""

    workers: Count | None = None  # processes that load data; None for some where a GPU trains, else none
    # Clips of one forward pass, for want of memory; None for all. It changes numbers by rounding alone.
    micro_batch: Count | None = None
    tensorboard: bool = False  # write scalars for TensorBoard beside the attempt's log
    # Compute the backbone's activations again in the backward pass, for want of memory.
    checkpoint_backbone: bool = False


PLAIN = Handling()


class Submission(Handling):
    """`submit.json`: what a worker is asked for, and where things lie."""

    profile: Name
    method: Name
    backbone: Name
    dataset: str  # how `load_dataset` finds the data set: its name, or the path of its YAML
    data_root: str
    role: Role  # the training split's
    init: str | None = None  # path of the initial weights; None for a random start
    init_name: str | None = None  # what the recipe calls them
    stills: MixedIn | None = None
    on_gpu: bool = False  # meant for one: without it is refused, where it would take weeks
    publish_weights: bool = False  # other runs start from this one's weights
    watch_videos: Count = 0  # held-out videos that are watched while it trains
    evaluations: tuple[Asked, ...]
    launcher: Process | None = None  # the process that claimed the attempt


class Place(Model):
    """`slurm.json`: the job behind an attempt, by its array and its place there."""

    name: Annotated[str, Field(pattern="^ifrvis-[0-9a-f]{1,12}$")]
    index: Count
    cluster: str
    user: Count


class Progress(Model):
    """`heartbeat`: how far the worker is; `ap` is the last of the watched videos."""

    phase: Annotated[str, Field(pattern="^[a-z ]+$")]
    iteration: Count | None = None
    iterations: Count | None = None
    loss: float | None = None
    eta_s: float | None = None
    ap: Fraction | None = None


class Ending(Model):
    """`exit.json`: how an attempt ended; `kind` is why (`states`), `message` for people."""

    reason: EndState
    kind: str = ""
    message: str = ""
    seconds: float | None = None

    @property
    def cause(self) -> str:
        """Why: of `FAULTS`, `GOES_ON` or `STOPS`, or `OVERTAKEN`; empty where it is complete."""
        if self.reason == "failed" and self.kind not in (*FAULTS, *GOES_ON):
            return "error"
        return "" if self.reason == "complete" else self.kind


class Life(Model):
    """An attempt as a record has it; the one that made the record, so far."""

    reason: AttemptState
    kind: str
    seconds: float | None
