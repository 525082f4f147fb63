"""What a plan looks like to a person: what is to do, what it costs, how far it is, and whether rows have learned."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ifrvis.datasets.catalog import WHOLE
from ifrvis.harness.plan.cost import cost_of, duration_text, size_text
from ifrvis.harness.plan.plan import Plan, PlannedRow, Training
from ifrvis.harness.spec.tables import command_name
from ifrvis.harness.spec.weights import left_to_chance
from ifrvis.harness.store.learning import COMPARES_NOTHING, learned
from ifrvis.harness.store.records import Record
from ifrvis.harness.store.states import WORST_FIRST, PlanState

MEANING: dict[PlanState, str] = {
    "not run": "nothing of it has begun; `ifrvis run` begins it",
    "pending": "`ifrvis run` makes what it is trained on first, or goes on with it",
}


def headline(plan: Plan, why: str, *, jobs: int, cluster: str = "") -> str:
    """The scale, why it, and how much there is to do: on this machine, `jobs` at once, or on a cluster, all at once."""
    profile, to_run, hours = plan.request.profile, plan.to_run, cost_of(plan).hours
    before = sum(each.is_pretraining for each in plan.trainings)
    line = f"Profile {profile.name} ({why}): {_number(len(plan.trainings) - before, 'training')}"
    line += f" after {_number(before, 'pretraining')}" * bool(before) + f", {len(to_run)} to run"
    line += f" on cluster {cluster}" * bool(cluster)
    if to_run and hours is not None:
        rounds = 1 if cluster else -(-len(to_run) // jobs)
        at_once = "each" if cluster else f"with {jobs} at once"
        line += f", about {duration_text(hours * rounds / len(to_run) * 3600)} {at_once} (an estimate)"
    off_spec = sum(planned.off_spec for planned in plan.rows)
    of = f" in {off_spec} of {len(plan.rows)} rows" * (off_spec < len(plan.rows))
    return line + (f". Off-spec{of}: not the tables' own runs." if off_spec else ".")


def kept_lines(plan: Plan) -> list[str]:
    """What is complete without having been trained here, where that was, and how to make it again."""
    store, kept = plan.request.store, dict[str, tuple[PlannedRow, int, Record]]()
    for row in plan.rows:
        for seed, each in row.evaluations.items():
            trained_here = each.training.sig is not None and each.training.run(store).attempts.is_dir()
            if each.record is not None and each.record.origin == "trained" and not trained_here:
                kept.setdefault(each.training.name, (row, seed, each.record))
    if not kept:
        return []
    row, seed, _ = next(iter(kept.values()))
    where = ", ".join(sorted({record.provenance.hardware.processor or "unknown" for *_, record in kept.values()}))
    again = f"; `ifrvis reproduce {command_name(row.table)}/{row.row.id} --seed {seed}` trains one again, beside it"
    again *= not plan.request.changes  # which that command would have to have, too
    return [f"kept records of {_number(len(kept), 'training')} (processor: {where}) are not trained again{again}"]


def _number(count: int, of: str) -> str:
    return f"{count} {of}" + "s" * (count != 1)


def plan_lines(plan: Plan) -> list[str]:
    """A line a row: how many seeds are there, its state, and what it waits for; then what starts leave to chance."""
    lines = []
    for table in plan.request.tables:
        if rows := [_plan_line(planned, plan.request.on) for planned in plan.rows if planned.table is table]:
            lines += [f"{table.name}: {' '.join(table.title.split())}".removesuffix(": "), *rows]
    files = {each.init_path: each.init_name for each in plan.trainings if each.init_path is not None}
    said = {f"{name} ({path})": left_to_chance(path) for path, name in files.items()}
    lines += [f"starts from {name}; at random: {left}" for name, left in said.items() if left]
    return lines + [training.problem for training in plan.trainings if training.problem]


def _plan_line(planned: PlannedRow, on: str) -> str:
    done = sum(each.state == "complete" for each in planned.evaluations.values())
    counts, state = f"{done}/{len(planned.evaluations)}", _of_rest(planned.state, done, len(planned.evaluations))
    problems = {each.problem for each in planned.evaluations.values() if each.problem}
    waiting = [each.training for each in planned.evaluations.values() if each.training.waits_for]
    problems |= {f"{each.name} waits for `ifrvis retry`, {' '.join(each.waits_for.split())}" for each in waiting}
    line = f"  {planned.row.id:34} {counts:>5}  {state}" + f", off-spec{on}" * planned.off_spec
    return "\n".join([line, *(f"    {each}" for each in sorted(problems))])


def _of_rest(state: PlanState, done: int, number: int) -> str:
    """The state of a row, with of how many seeds it is where others are complete and nothing goes on."""
    return f"{number - done} {state}" if done and state in MEANING else state


def meanings(plan: Plan) -> list[str]:
    """What the states mean that two words might seem to say, where they occur."""
    there = {each.state for each in plan.evaluations}
    return [f"{state}: {text}" for state, text in MEANING.items() if state in there]


def cost_lines(plan: Plan) -> list[str]:
    """What there is to train and to evaluate, and what that takes: hours, and bytes on disk."""
    cost = cost_of(plan)
    states = {
        "pretrainings": [each.state for each in plan.trainings if each.is_pretraining],
        "trainings": [each.state for each in plan.trainings if not each.is_pretraining],
        "evaluations": [each.state for each in plan.evaluations],
    }
    lines = [f"{name} {len(of_kind)}: {_counted(of_kind)}" for name, of_kind in states.items()]
    if plan.to_run:
        room = f"disk: about {size_text(cost.bytes)} needed, {size_text(cost.free_bytes)} free"
        lines.append(room + (": NOT ENOUGH" if cost.bytes > cost.free_bytes else ""))
        hours = "unknown" if cost.hours is None else f"about {cost.hours:.3g}"
        source = f"{_number(cost.measured, 'training')} as measured on siblings" if cost.measured else ""
        guess = f"{cost.estimated} by the profile's estimate" if cost.estimated else ""
        known = ", ".join(each for each in (source, guess) if each)
        unit = "GPU hours" if plan.request.profile.needs_gpu else "core hours"
        lines.append(f"{unit}: {hours} ({known})")
    return lines


def _counted(states: Iterable[PlanState]) -> str:
    counts = Counter(states)
    return ", ".join(f"{counts[state]} {state}" for state in reversed(WORST_FIRST) if counts[state]) or "none"


def status_rows(plan: Plan) -> list[dict[str, Any]]:
    """Table, row, seed, state, and how far a running one is."""
    shown, rows = ("phase", "iteration", "iterations", "loss", "eta_s", "message"), []
    for planned in plan.rows:
        row: dict[str, Any] = {"table": planned.table.name, "row": planned.row.id}
        for seed, evaluation in planned.evaluations.items():
            training = evaluation.training
            words = _last_words(training, evaluation.state)
            progress = {key: words.get(key) for key in shown}
            of_run = {"run": training.name, "dataset": training.dataset.name}
            rows.append({**row, "seed": seed, "state": evaluation.state, **of_run, **progress})
    return rows


def _last_words(training: Training, state: PlanState) -> dict[str, Any]:
    """How far a training is or came; of what the next launch goes on from, how the last attempt ended.

    A training that has none yet may wait for a pretraining whose last attempt has died.
    """
    attempt, after = training.attempt, training.after
    if state == "complete":
        return {}
    if attempt is None:
        words = _last_words(after, after.state).get("message") if after else ""
        return {"message": f"{after.name}: {words}"} if after and words else {}
    ending, progress = attempt.ended(), attempt.progress()
    if state in ("running", "failed"):
        said = progress.model_dump() if progress else {}
        return said | ({"message": ending.message} if ending else {})
    if ending is None or ending.reason == "complete":
        return {}
    how = "was killed" if ending.reason == "killed" else ending.reason
    return {"message": f"attempt {attempt.number} {how}: {ending.message or 'it left no word'}"}


def status_lines(plan: Plan, *, seeds_too: bool = False) -> list[str]:
    """A line a row, or a row and seed, and a last line that counts the states of all seeds.

    A row is in the state that says most about what is missing; step, time and message are of a seed in that state, if
    there is one that has a message.
    """
    lines, rows, of_row = [], status_rows(plan), dict[tuple[str, str], list[dict[str, Any]]]()
    for row in rows:
        of_row.setdefault((row["table"], row["row"]), []).append(row)
    for each in [[row] for row in rows] if seeds_too else of_row.values():
        row = min(each, key=lambda one: (WORST_FIRST.index(one["state"]), not one.get("message")))
        done = sum(one["state"] == "complete" for one in each)
        state = _of_rest(row["state"], done, len(each))
        which = (f"seed {row['seed']}" if seeds_too else f"{done}/{len(each)}") + plan.request.on
        step = f"{row['iteration']}/{row['iterations']}" if row.get("iteration") is not None else ""
        left = f"{duration_text(row['eta_s'])} left" if row.get("eta_s") and row["state"] == "running" else ""
        words = [f"{row['table']:8} {row['row']:34} {which:7} {state:15}", step, left, row.get("message") or ""]
        lines.append(" ".join(" ".join(word for word in words if word).splitlines()).rstrip())
    return [*lines, _counted(row["state"] for row in rows)]


def waiting_lines(plan: Plan) -> list[str]:
    """A line for each run that failed before this launch and is not started again."""
    lines = []
    for training in (each for each in plan.trainings if each.state == "failed"):
        after = training.after
        name = after.name if after is not None and after.state == "failed" else training.name
        lines.append(f"{training.name} failed before, {training.waits_for}; `ifrvis retry {name}` lets it start again")
    return lines


def verdicts(plan: Plan) -> tuple[list[str], bool]:
    """A line a complete row, with what it has learned; and whether every row has learned that the profile judges.

    A profile without bounds judges nothing (`store.learning`); no row on a part of its split is judged. Where none has
    learned, a last line says so, and how to begin with real weights where the table can.
    """
    bounds, lines, passed = plan.request.profile.learning, list[str](), list[bool]()
    for planned in plan.rows:
        records = [each.record for each in planned.evaluations.values() if each.record is not None]
        whole = planned.state == "complete" and planned.row.part == WHOLE
        if bounds is None or not whole or (found := learned(records, bounds)) is None:
            continue
        watched = f"{100 * found.before:.1f} with the initial weights, {100 * found.after:.1f} after training"
        line = f"{planned.row.id}: AP {100 * found.final:.1f}; on {bounds.videos} watched videos {watched}"
        if found.wanted is not None:
            asked = f"{100 * (bounds.reach or 0):.0f}, and {100 * found.wanted:.1f} on the watched after such a start"
            line += f": {'learned' if found.passes else 'not learned'} (asked for are {asked})"
        lines.append(line)
        passed.append(found.passes)
    if passed and not any(passed):
        for table in plan.request.tables:
            names = [planned.row.id for planned in plan.rows if planned.table is table]
            command = plan.request.with_real_weights(table, names, plan.request.dataset)
            lines.append(COMPARES_NOTHING + f"; with real weights, on a GPU: {command}" * bool(command))
    return list(dict.fromkeys(lines)), all(passed)
