"""Why a number is not the row's or the paper's: what of a run differs, with the size of its effect where one is known.

What decides a number is described by dotted keys; those of one topic are one cause. What changes no number, or none
more than another seed does, is told apart.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ifrvis.analysis.comparison import plain_value
from ifrvis.evaluation.symptoms import Symptom
from ifrvis.harness.spec.allowed import differing
from ifrvis.harness.spec.signatures import TrainSpec
from ifrvis.harness.store.records import Record
from ifrvis.options import leaves
from ifrvis.reporting.formats import Lines
from ifrvis.reporting.style import UNDEFINED

Description = Mapping[str, Any]
UNKNOWN = "size not known"
SHOWN = 4  # values of one cause
# What has a key: the first that matches. Causes of unknown size stand in this order.
TOPICS = (
    ("protocol", r"protocol|role|part\.|scoring"),
    ("data set", r"data|evaluation|model\.track_head\.num_classes"),
    ("method", r"method|backbone|model\.(backbone\.|track_head\.)?type"),
    ("starting weights", r"init|weights"),
    ("iterations", r"train\.(iterations|schedule)"),
    ("batch", r"train\.global_batch"),
    ("resolution in training", r"train\.pipeline"),
    ("optimizer", r"train\.optimizer"),
    ("clips in training", r"train\.sampler"),
    ("decoder at the start", r"model\.track_head\.(copy_image_decoder|decoder_init)"),
    ("keys of temporal attention", r"model\.track_head\.temporal_keys"),
    ("sum in Eq. (2)", r"model\.track_head\.cross_residual"),
    ("recurrence", r".*\.recurrence"),
    ("queries", r"model\.track_head\.num_queries"),
    ("association", r"inference\.(mode|clip_frames|stride|min_overlap)"),
    ("resolution at test", r"inference\.(side|max_side|resize|truncate)"),
    ("test-time augmentation", r"inference\.(tta|flip)"),
    ("outputs of a video", r"inference\.(topk|min_class_score)"),
    ("precision", r"train\.precision"),
    ("losses", r"model\.track_head\.(.*loss|.*_weight|focal|lambda|num_points|.*_ratio|cross_frame|class_target)"),
    ("other training", r"train"),
    ("other inference", r"inference"),
    ("size of the model", r"model"),
)
APART = [name for name, _ in TOPICS[:3]]  # without which numbers are of something else
# Of a topic, if this is found in its keys and the run's values: points of AP to go by, and what is known and whence.
EFFECTS = (
    ("protocol", "frames", 12.1, "12.1 AP from all frames to the middle 2 (Mask2Former, mini; docs/mini-study.md)"),
    ("starting weights", "imagenet_|backbone_", 6.0, "about 6 AP less from ImageNet (Swin-B; docs/decisions.md)"),
    ("decoder at the start", "copy_image", 7.0, "7 AP more if copied (Ours, mini; docs/mini-study.md)"),
    ("sum in Eq. (2)", "", 4.5, "4.5 to 7.1 AP more without (mini; docs/mini-study.md)"),
    ("keys of temporal attention", "", 4.8, "4.8 to 6.3 AP more with own (mini; docs/mini-study.md)"),
    ("iterations", "iterations", 1.8, "1.8 to 3.9 AP for a length of 1.5 (mini; docs/mini-study.md)"),
    ("recurrence", "inference", 0.9, "-0.9 to +6.0 AP if off at test (earlier made sets; docs/mini-study.md)"),
    ("queries", "", 0.7, "0.7 to 0.9 AP more of 100 than of 200 (Ours Swin-L; the paper's Tables 1, 2)"),
    ("test-time augmentation", "tta", 0.5, "0.5 to 0.9 AP more with (Ours Swin-L; the paper's Tables 1, 2)"),
    ("association", "mode", 0.3, "-0.5 to +1.9 AP clip by clip, by data set (Ours Swin-L; the paper's Table 4)"),
)
# Parts that start at random as the recipes say; see `training.convert`.
MEANT = ("class head:", "decoder layers: random", "IFR modules:")


class Cause(NamedTuple):
    """A difference that changes numbers."""

    what: str
    yours: str
    row: str
    paper: str
    effect: str
    order: tuple[float, ...]  # the smallest comes first


FIELDS = ("what", "yours", "row", "paper", "effect")  # which are said


def described(train: TrainSpec, init: str | None, **said: Any) -> Description:
    """What decides a number: a training, the name of its initial weights, and how it is evaluated."""
    own = train.model_dump(exclude={"model", "data", "init", "seed"})
    said |= {"init": init, "weights": train.init, "train": own, "model": train.model, "data": train.data}
    return leaves(said)


def of_record(record: Record, row: Description) -> Description:
    """The same of a record; what is not known of another program's training is as the row's."""
    said = {key: getattr(record, key) for key in ("dataset", "role", "protocol", "scoring")}
    said |= {"part": record.data.part.model_dump(), "evaluation": record.data.evaluation}
    if record.spec is None:
        return {**row, **leaves(said)}
    said |= {key: getattr(record, key) for key in ("method", "backbone", "inference")}
    converted = record.initial_weights.get("name") if isinstance(record.initial_weights, dict) else None
    return described(record.spec.train, converted or record.init, **said)


def causes(
    record: Record | None, row: Description, paper: Description, pinned: Mapping[str, str], symptoms: Sequence[Symptom]
) -> list[Cause]:
    """Why the numbers of a run may not be the row's, the likeliest and largest first.

    `row` is under the run's profile; `paper` under that of the paper, or empty where it is not for it; `pinned` are
    versions of packages; of a run without a `record`, symptoms, of its checkpoint and results, are all there is.
    """
    found = [
        Cause(each.what, each.yours, each.wanted, UNDEFINED, each.effect, (0, at) if each.sure else (4, at))
        for at, each in enumerate(symptoms)
    ]
    if record is None:
        return sorted(found, key=lambda cause: cause.order)
    found += differences(of_record(record, row), row, paper)
    by_chance = [f"{n} x {part}" for part, n in record.not_loaded.reasons.items() if not part.startswith(MEANT)]
    if by_chance:
        found.append(Cause("starting weights", f"random: {'; '.join(by_chance)}", "all", "all", UNKNOWN, (2, -1)))
    has = {name: (record.provenance.versions.get(name) or each).partition("+")[0] for name, each in pinned.items()}
    if other := [name for name in has if has[name] != pinned[name]]:
        own, wanted = (", ".join(f"{name} {each[name]}" for name in other[:SHOWN]) for each in (has, pinned))
        found.append(Cause("versions", own, wanted, UNDEFINED, UNKNOWN, (5,)))
    if record.provenance.code.uncommitted:
        found.append(Cause("code", "changed, not committed", "as committed", UNDEFINED, UNKNOWN, (6,)))
    return sorted(found, key=lambda cause: cause.order)


def differences(yours: Description, row: Description, paper: Description) -> list[Cause]:
    """The topics in which two descriptions differ, with the paper's values beside."""
    names, topics = [name for name, _ in TOPICS], dict[str, list[str]]()
    for key in _differing(yours, row):
        of_another = key.startswith("model.") and yours["method"] != row["method"]
        topic = "method" if of_another else next(name for name, pattern in TOPICS if re.match(pattern, key))
        topics.setdefault(topic, []).append(key)
    found = []
    for topic, keys in topics.items():
        own, of_row, of_paper = (_text(keys, each) if each else UNDEFINED for each in (yours, row, paper))
        points, effect = _effect(topic, keys, yours, row)
        order: tuple[float, ...] = (2, -points) if points else (3, names.index(topic))
        if topic in APART:
            order = (1, names.index(topic))
        if keys == ["dataset"]:
            order, effect = (5,), "its content is not known here: it may be the same set under another name"
        found.append(Cause(topic, own, of_row, of_paper, effect, order))
    return sorted(found, key=lambda cause: cause.order)


def _differing(one: Description, other: Description) -> list[str]:
    gone = {key for key in ("data", "evaluation", "weights") if None in (one.get(key), other.get(key))}  # not known
    gone |= {"dataset"} if same_content(one, other) else set()
    gone |= {"evaluation"} if _is_evaluated_otherwise(one, other) else set()
    gone |= {"weights"} if one["init"] != other["init"] else set()
    return [key for key in differing(one, other) if key not in gone]


def same_content(one: Description, other: Description) -> bool:
    """Whether two data sets are known to be the same, whatever their names and what of them is evaluated."""
    keys = ["data", *["evaluation"] * (not _is_evaluated_otherwise(one, other))]
    return all(None is not one[key] == other[key] for key in keys)


def _is_evaluated_otherwise(one: Description, other: Description) -> bool:
    return any(one[key] != other.get(key) for key in one if re.match(TOPICS[0][1], key))


def _text(keys: Sequence[str], of: Description) -> str:
    named = [f"{key.rpartition('.')[2]} {UNDEFINED if of.get(key) is None else plain_value(of[key])}" for key in keys]
    return ", ".join(named[:SHOWN]) + f", and {len(named) - SHOWN} more" * (len(named) > SHOWN)


def _effect(topic: str, keys: Sequence[str], yours: Description, row: Description) -> tuple[float, str]:
    """How many points of AP are known of a difference, 0 for none, and what is said of it."""
    text = f"{' '.join(keys)} {_text(keys, yours)}"
    known = (each[2:] for each in EFFECTS if each[0] == topic and re.search(each[1], text))
    points, said = next(known, (0.0, "the numbers are of something else" if topic in APART else UNKNOWN))
    has, wants = (each.get("train.global_batch") for each in (yours, row))
    if topic == "batch" and has and wants and max(has, wants) % min(has, wants) == 0:
        gpus = max(has, wants) // min(has, wants)
        each = f"the share of one of {gpus} GPUs" if has < wants else f"{wants} on each of {gpus} GPUs"
        said += f"; is it {each}? The batch counts all GPUs together"
    iterations, milestones = (yours.get(f"train.{key}") for key in ("iterations", "schedule.milestones"))
    if topic == "iterations" and milestones and min(milestones) >= iterations:
        said = f"the learning rate never falls: it would at {min(milestones)}; {said}"
    return points, said


def harmless(record: Record, row: Description, seeds: Sequence[int], processor: str) -> list[str]:
    """In words, what differs from a row's first run on this `processor`, and matters no more than another seed."""
    yours, ran_on = of_record(record, row), record.provenance.hardware.processor
    found = [f"seed {record.seed}"] * (record.seed != seeds[0])
    if yours["dataset"] != row["dataset"] and same_content(yours, row):
        found.append(f"the set's name {yours['dataset']}, whose content is the same")
    found += [f"processor {ran_on}"] * (ran_on != processor)
    return [*found, *(f"{len(record.measured.gpus)} x {gpu}" for gpu in record.measured.gpus[:1])]


def tables_of(content: Mapping[str, Any]) -> list[Lines]:
    """What `ifrvis explain` says, as titles, heads and lines of texts."""
    lines = [(str(each["rank"]), *(each[key] for key in FIELDS)) for each in content["causes"]]
    if content["does_not_matter"]:
        lines.append((UNDEFINED, "does not matter", "; ".join(content["does_not_matter"]), *[""] * 3))
    title = f"Where the row itself is not the paper's: profile {content['profile']}"
    scale = [(each["what"], each["row"], each["paper"]) for each in content["row_is_not_the_papers"]]
    heads = ("", "What", "Yours", "Row's", "Paper's", "Expected effect")
    return [Lines("What differs", heads, lines, num_left=6), Lines(title, ("What", *heads[3:5]), scale, num_left=3)]
