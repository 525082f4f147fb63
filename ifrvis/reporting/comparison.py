"""Two methods side by side: their numbers, in words what differs beyond chance, and what differs in their making.

A side is one evaluation a seed, of records or of files that were scored. Differences are A minus B. Seeds pair where
both sides were trained here, with the same seeds on the same data; videos pair wherever they are the same.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.ytvis import Annotations
from ifrvis.errors import UserError
from ifrvis.evaluation.ap import ap_of
from ifrvis.evaluation.bootstrap import LEAST_VIDEOS, difference_intervals, habits_of
from ifrvis.evaluation.scores import SHOWN, Scores
from ifrvis.evaluation.scoring import score_file
from ifrvis.evaluation.tracking import weighed_metrics
from ifrvis.evaluation.videos import Videos
from ifrvis.files import sha256_file
from ifrvis.harness.spec.allowed import leaves
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import Record
from ifrvis.reporting.formats import Lines
from ifrvis.reporting.over_videos import read_beside
from ifrvis.reporting.statistics import mean_difference
from ifrvis.reporting.style import UNDEFINED, difference_text, headline, interval_text, measured_text, p_text

MOST = 10  # videos that are listed
LEFT_OUT = (
    "ids_per_recalled_box",
    "tracks_per_video",
    "false_positives_per_frame",
)  # what habits say, or nothing judges
# What a side does more than the other, in words, and in what unit a share, times hundred, is said.
HABITS = {
    "changes": ("changes identities more often", "changes and switches per 100 object-frames tracked"),
    "merges": ("merges objects more often", "merges per 100 object-frames tracked"),
    "doubles": ("follows objects twice more often", "duplicates per 100 object-frames tracked"),
    "misses": ("misses more", "of 100 object-frames not tracked"),
    "invents": ("finds more where nothing is", "boxes on no object per 100 frames"),
}
# Of a record: what says how it was made.
MADE = {
    "recipe": {"method", "backbone", "inference", "scoring"},
    "data": {"dataset", "role", "protocol", "data"},
    "weights": {"init", "started_from", "not_loaded", "initial_weights"},
    "environment": {"provenance", "determinism", "measured"},
}
HARMLESS = {"measured": {"waiting_for_data", "peak_gpu_memory_bytes"}}
Content = dict[str, Any]


class Evaluated(NamedTuple):
    """One evaluation.

    Attributes:
        scores: Every number.
        videos: What each video adds; None where that is not known.
        made: How it was made: a group, a dotted key, a value.
        split: What it was measured on.
        seed: Of what was trained here.
    """

    scores: Scores
    videos: Videos | None
    made: dict[str, Content]
    split: str
    seed: int | None = None


class Side(NamedTuple):
    """A or B: what it is called, and its evaluations in the order of the seeds."""

    name: str
    of: Sequence[Evaluated]


def of_record(store: Store, record: Record) -> Evaluated:
    """A record with what lies beside it."""
    try:
        videos = read_beside(store, record)
    except UserError:  # a server's, or an older one
        videos = None
    made = {name: record.model_dump(include=keys, exclude=HARMLESS) for name, keys in MADE.items()}
    if record.spec:
        made["recipe"]["train"] = record.spec.train.model_dump(exclude={"model", "data", "init", "seed"})
        made["recipe"]["model"] = record.spec.train.model
    seed = record.seed if record.origin == "trained" else None
    return Evaluated(record, videos, {name: leaves(said) for name, said in made.items()}, record.data.evaluation, seed)


def of_file(path: Path, annotations: Annotations, *, jobs: int = 1) -> Evaluated:
    """A results file, or the predictions of a run, scored as records are.

    Raises:
        UserError: If the file is missing, broken, about other videos, or a score is no probability.
    """
    scores, videos = score_file(annotations, path, jobs=jobs)
    found = [len(each.scores) for each in videos.detections]
    said = {"entries": sum(found), "videos without an entry": found.count(0), "sha256": sha256_file(path)}
    said["best score"] = max((score for each in videos.detections for score in each.scores), default=None)
    return Evaluated(scores, videos, {"file": said}, str(annotations.path))


def compare(a: Side, b: Side, *, dataset: str = "", names: Mapping[str, str] | None = None) -> Content:
    """Everything that is said of two sides, as JSON has it.

    Args:
        a: One.
        b: The other.
        dataset: The set's name, part of what resamples of its videos depend on.
        names: Of categories and videos, by id as text behind `category ` or `video `, as far as they are known.
    """
    sides, seeds = (a, b), [[each.seed for each in side.of] for side in (a, b)]
    same = len({each.split for side in sides for each in side.of}) == 1
    paired = same and seeds[0] == seeds[1] and None not in seeds[0]
    behind = [[each.videos for each in side.of if each.videos is not None] for side in sides]
    detailed = same and [len(each) for each in behind] == [len(side.of) for side in sides]
    number = len(behind[0][0].video_ids) if detailed else 0
    ends = difference_intervals(behind[0], behind[1], dataset) if number >= LEAST_VIDEOS else {}
    content: Content = {
        key: {"name": side.name, "seeds": of, "evaluations": len(side.of)} for key, side, of in zip("ab", sides, seeds)
    }
    content |= {"same_videos": same, "seeds_pair": paired, "videos_drawn": number if ends else 0}
    content["equal_recall"] = recall = _common_recall(sides)
    first = [name for name in a.of[0].scores.shown if name in b.of[0].scores.shown and name not in LEFT_OUT]
    shown = {name: [[each.scores.shown.get(name) for each in side.of] for side in sides] for name in first}
    if recall is not None:
        shown["errors_at_equal_recall"] = [[each.scores.errors_at(recall) for each in side.of] for side in sides]
    content["metrics"] = [_metric(name, values, seeds[0] if paired else None, ends) for name, values in shown.items()]
    content["habits"] = _habits(behind, ends) if detailed else []
    content["categories"] = _categories(sides, names or {})
    content["videos"] = _videos(behind, names or {}) if detailed else []
    content["differs"] = _differing(sides)
    return content | {"said": list(_words(content))}


def _common_recall(sides: Sequence[Side]) -> float | None:
    """The largest share of object-frames, in whole per mille, that everything tracks at its lowest threshold."""
    scores = [each.scores for side in sides for each in side.of]
    found = [
        max(each.identity_curve["tracked"]) / each.identity.object_frames
        for each in scores
        if each.identity and each.identity.object_frames and each.identity_curve
    ]
    return math.floor(1000 * min(found)) / 1000 or None if found and len(found) == len(scores) else None


def _metric(name: str, values: list[list[Any]], seeds: list[Any] | None, over_videos: Mapping[str, Any]) -> Content:
    """A metric of both sides; `seeds` where they pair."""
    found: Content = {"metric": name, "a": values[0], "b": values[1], "difference": None}
    if None in values[0] + values[1]:
        return found
    found |= {"difference": fmean(values[0]) - fmean(values[1]), "over_videos": over_videos.get(name)}
    if len(values[0]) == len(values[1]):
        one, other = (dict(zip(seeds or range(len(of)), of)) for of in values)
        over_seeds = mean_difference(one, other, paired=seeds is not None)
        found |= {"over_seeds": over_seeds.interval, "p": over_seeds.p, "test": over_seeds.test}
    return found


def _habits(behind: list[list[Videos]], over_videos: Mapping[str, Any]) -> list[Content]:
    once = np.ones((1, len(behind[0][0].video_ids)), np.int64)
    a, b = ([habits_of(run, once) for run in side] for side in behind)
    means = {name: [float(np.mean([run[name][0] for run in side])) for side in (a, b)] for name in HABITS}
    return [
        {"habit": name, "a": _known(one), "b": _known(other), "over_videos": over_videos.get(name)}
        for name, (one, other) in means.items()
    ]


def _categories(sides: Sequence[Side], names: Mapping[str, str]) -> list[Content]:
    """AP of each category that is defined on both sides, that which differs most first."""
    found = []
    for key in sides[0].of[0].scores.per_category:
        values = [[each.scores.per_category.get(key, {}).get("AP") for each in side.of] for side in sides]
        if None not in values[0] + values[1]:
            a, b = (fmean(value or 0 for value in of) for of in values)
            found.append({"category": names.get(f"category {key}", key), "a": a, "b": b, "difference": a - b})
    return sorted(found, key=lambda each: -abs(each["difference"]))


def _videos(behind: list[list[Videos]], names: Mapping[str, str]) -> list[Content]:
    """AP, IDF1 and identity errors of each video, that first whose AP or IDF1 differs most."""
    ids = behind[0][0].video_ids
    sides = [np.mean([_of_each_video(run) for run in side], axis=0) for side in behind]
    differences = np.nan_to_num(np.abs(sides[0] - sides[1])[:2]).max(axis=0)
    return [
        {"video": names.get(f"video {ids[v]}", str(ids[v])), "id": ids[v]}
        | {
            name: {key: _known(side[at, v]) for key, side in zip("ab", sides)}
            for at, name in enumerate(("AP", "IDF1", "errors"))
        }
        for v in np.argsort(-differences, kind="stable")
    ]


def _of_each_video(run: Videos) -> NDArray[np.float64]:
    """(3, V) AP and IDF1, NaN where undefined, and the number of identity errors."""
    alone = np.eye(len(run.video_ids), dtype=np.int64)
    idf1 = weighed_metrics([each[SHOWN] for each in run.tracking], alone)["IDF1"]
    return np.array([ap_of(run.detections, alone), idf1, [each.errors for each in run.identity]])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _differing(sides: Sequence[Side]) -> dict[str, dict[str, list[list[Any]]]]:
    """By group and key, the values on each side where they are not the same."""
    found: dict[str, dict[str, list[list[Any]]]] = {}
    for group, key in dict.fromkeys(
        (group, key) for side in sides for each in side.of for group, of in each.made.items() for key in of
    ):
        of_sides = [
            {
                json.dumps(each.made[group][key]): each.made[group][key]
                for each in side.of
                if key in each.made.get(group, {})
            }
            for side in sides
        ]
        if of_sides[0].keys() != of_sides[1].keys():
            found.setdefault(group, {})[key] = [[*of.values()] for of in of_sides]
    return found


def _words(content: Content) -> Iterable[str]:
    """What differs, in plain words."""
    if not content["same_videos"]:
        yield "A and B were measured on different videos: what differs is not the methods' alone, and nothing pairs."
    metrics = {each["metric"]: each for each in content["metrics"]}
    for name in ("AP", "IDF1"):
        each = metrics.get(name, {})
        if each.get("difference") is not None:
            a, b = (measured_text(name, fmean(each[side]), None) for side in "ab")
            higher = "A is higher" if each["difference"] > 0 else "B is higher"
            same, beyond = f"{name}: A {a}, B {b}", _beyond(each)
            said = {True: f", {higher}", False: ", no difference beyond the draw of videos", None: ""}[beyond]
            yield (
                same + said + f" (95 % over videos: {interval_text(name, each['over_videos'])})" * (beyond is not None)
            )
    for each in content["habits"]:
        a, b = each["a"], each["b"]
        beyond = None if a is None or b is None else _beyond(each)
        # Without an interval a difference is said that is a tenth of the larger.
        if a is not None and b is not None and (beyond or (beyond is None and abs(a - b) > 0.1 * max(a, b))):
            who, other, more, less = ("A", "B", a, b) if a > b else ("B", "A", b, a)
            does, unit = HABITS[each["habit"]]
            ends = sorted((1 if a > b else -1) * 100 * end for end in each["over_videos"] or ())
            drawn = f"; more by {ends[0]:.2f} to {ends[1]:.2f} (95 % over videos)" if ends else ""
            yield f"{who} {does}: {100 * more:.2f} {unit}, {other} {100 * less:.2f}{drawn}"
    if (each := metrics.get("errors_at_equal_recall")) and each["difference"] is not None:
        a, b = (measured_text(each["metric"], fmean(each[side]), None) for side in "ab")
        share = f"{100 * content['equal_recall']:.1f} %"
        yield f"Where both track {share} of the object-frames, A makes {a} identity errors per 100 of these, B {b}"
    if content["same_videos"] and not content["videos_drawn"]:
        why = (
            "beside a record its videos are not kept" if not content["videos"] else f"fewer than {LEAST_VIDEOS} videos"
        )
        yield f"No interval over videos: {why}; what is said above is of these videos alone."


def _beyond(each: Content) -> bool | None:
    """Whether an interval over videos leaves out zero; None without one."""
    ends = each.get("over_videos")
    return None if ends is None else not ends[0] <= 0 <= ends[1]


def tables_of(content: Content) -> list[Lines]:
    """What `compare` gives, as titles, heads and lines of texts; empty tables are left out."""
    sides = "A", "B"
    paired = "paired over seeds" if content["seeds_pair"] else "over seeds"
    metrics = [_metric_line(each) for each in content["metrics"]]
    categories = [
        (
            each["category"],
            *(measured_text("AP", each[side], None) for side in "ab"),
            difference_text("AP", each["difference"]),
        )
        for each in content["categories"]
    ]
    videos = [
        (each["video"], *(_value(name, each[name][side]) for name in ("AP", "IDF1", "errors") for side in "ab"))
        for each in content["videos"][:MOST]
    ]
    differs = [
        (group, key, *(" | ".join(map(_said, of)) or UNDEFINED for of in values))
        for group, of_group in content["differs"].items()
        for key, values in of_group.items()
    ]
    of_videos = tuple(f"{name} {side}" for name in ("AP", "IDF1", "errors") for side in sides)
    found = [
        Lines("Metrics", ("Metric", *sides, "A minus B", f"95 % {paired}", "p", "95 % over videos"), metrics),
        Lines("AP by category", ("Category", *sides, "A minus B"), categories),
        Lines("The videos that differ most", ("Video", *of_videos), videos),
        Lines("What differs in the making", ("Of", "What", *sides), differs, num_left=4),
    ]
    return [each for each in found if each.lines]


def _metric_line(each: Content) -> tuple[str, ...]:
    metric, head = each["metric"], headline(each["metric"])
    if each["difference"] is None:
        return head, *(_value(metric, next(iter(each[side]))) for side in "ab"), *[UNDEFINED] * 4
    values = (measured_text(metric, fmean(of), stdev(of) if len(of) > 1 else None) for of in (each["a"], each["b"]))
    p = UNDEFINED if each.get("p") is None else f"{p_text(each['p'])}, {each['test']}"
    ends = (interval_text(metric, each.get(name)) for name in ("over_seeds", "over_videos"))
    over_seeds, over_videos = ends
    return head, *values, difference_text(metric, each["difference"]), over_seeds, p, over_videos


def _value(metric: str, value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:g}" if metric == "errors" else measured_text(metric, value, None)


def _said(value: Any) -> str:
    """A value in a line: of a digest its first digits."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if re.fullmatch("[0-9a-f]{40,64}", text) else text
