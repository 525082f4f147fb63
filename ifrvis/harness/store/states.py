"""The words for how rows, attempts and items of a queue are, and why attempts end: one vocabulary, in one place."""

from typing import Literal

# Of a training, an evaluation or a row, as `plan` and `status` show it.
PlanState = Literal[
    "not implemented", "data missing", "failed", "running", "pending", "not run", "other protocol", "complete"
]
WORST_FIRST: tuple[PlanState, ...] = ("not implemented", "data missing", "failed", "running", "pending", "not run")

# Of an attempt, as its files tell it.
EndState = Literal["complete", "stopped", "failed", "killed"]
AttemptState = Literal["pending", "running", "complete", "stopped", "failed", "killed"]
ENDINGS: tuple[EndState, ...] = ("complete", "stopped", "failed", "killed")
LIVE: tuple[Literal["pending", "running"], ...] = ("pending", "running")

# Why an attempt ended: what a launch goes on from by itself, what waits for `retry`, what somebody asked for.
GOES_ON = ("killed", "preempted", "timeout")
FAULTS = ("error", "input", "memory", "nan")
STOPS = ("interrupted", "cancelled", "preempted", "timeout")
OVERTAKEN = "overtaken"  # by a later attempt

# Of a training in the queue of one launch.
ItemState = Literal["waiting", "running", "complete", "failed", "stopped"]
DONE: tuple[ItemState, ...] = ("complete", "failed", "stopped")
