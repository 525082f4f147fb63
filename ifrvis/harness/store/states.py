"""The words for how rows, attempts and items of a queue are, and why attempts end: one vocabulary, in one place."""

from typing import Literal, get_args

# Of a training, an evaluation or a row, as `plan` and `status` show it; a row is what the worst of its seeds is.
PlanState = Literal["data missing", "failed", "running", "pending", "not run", "complete"]
WORST_FIRST: tuple[PlanState, ...] = get_args(PlanState)

# Of an attempt, as its files tell it.
EndState = Literal["complete", "stopped", "failed", "killed"]
AttemptState = Literal["pending", "running"] | EndState
LIVE: tuple[Literal["pending", "running"], ...] = ("pending", "running")

# Why an attempt ended: what a launch goes on from by itself, what waits for `retry`, what somebody asked for.
GOES_ON = ("killed", "preempted", "startup", "timeout")
FAULTS = ("error", "input", "memory", "nan")
STOPS = ("interrupted", "cancelled", "preempted", "timeout")
OVERTAKEN = "overtaken"  # by a later attempt

# Of a training in the queue of one launch.
ItemState = Literal["waiting", "running", "complete", "failed", "stopped"]
DONE: tuple[ItemState, ...] = ("complete", "failed", "stopped")
