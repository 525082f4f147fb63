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
    """An evaluation that an attempt is asked for.

    Attributes:
        split: Fingerprint of the part of a role's split.
        off_spec: As in a record.
    """

    eval_sig: Sha256
    inference: dict[str, Any]
    split: Sha256
    role: Role
    part: Part = WHOLE
    protocol: Protocol
    off_spec: bool


class Handling(Model):
    """How a worker goes about a run: no part of its identity.

    Attributes:
        workers: Processes that load data; None for some where a GPU trains, else none.
        micro_batch: Clips of one forward pass, for want of memory; None for all. It changes numbers by rounding alone.
        tensorboard: Write scalars for TensorBoard beside the attempt's log.
        checkpoint_backbone: Compute the backbone's activations again in the backward pass, for want of memory.
    """

    workers: Count | None = None
    micro_batch: Count | None = None
    tensorboard: bool = False
    checkpoint_backbone: bool = False


PLAIN = Handling()


class Submission(Handling):
    """`submit.json`: what a worker is asked for, and where things lie.

    Attributes:
        dataset: How `load_dataset` finds the data set: its name, or the path of its YAML.
        role: The training split's.
        init: Path of the initial weights; None for a random start.
        init_name: What the recipe calls them.
        publish_weights: Other runs start from this one's weights.
        watch_videos: Held-out videos that are watched while it trains.
        launcher: The process that claimed the attempt.
    """

    profile: Name
    method: Name
    backbone: Name
    dataset: str
    data_root: str
    role: Role
    init: str | None = None
    init_name: str | None = None
    stills: MixedIn | None = None
    publish_weights: bool = False
    watch_videos: Count = 0
    evaluations: tuple[Asked, ...]
    launcher: Process | None = None


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
