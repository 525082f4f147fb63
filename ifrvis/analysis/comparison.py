"""Two methods side by side: their numbers, in words what differs beyond chance, and what differs in their making.

A side is one evaluation a seed, of records or of files that were scored. Differences are A minus B. Seeds pair where
both sides were trained here, with the same seeds on the same data; videos pair wherever they are the same.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.ytvis import Annotations
from ifrvis.errors import UserError
from ifrvis.evaluation import bootstrap
from ifrvis.evaluation.ap import ap_of
from ifrvis.evaluation.predictions import read_tracks
from ifrvis.evaluation.protocols import TrackingProtocol
from ifrvis.evaluation.scores import RANGES, SHOWN, Scores, units_of
from ifrvis.evaluation.scoring import score_file
from ifrvis.evaluation.tracking import weighed_metrics
from ifrvis.evaluation.videos import Videos
from ifrvis.files import sha256_file
from ifrvis.harness.spec.allowed import differing
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import Record
from ifrvis.options import leaves
from ifrvis.reporting.formats import Lines
from ifrvis.reporting.over_videos import read_beside
from ifrvis.reporting.statistics import mean_difference
from ifrvis.reporting.style import UNDEFINED, difference_text, headline, interval_text, measured_text, p_text

MOST = 10  # videos that are listed
OF_VIDEO = ("AP", "IDF1", "num_errors")  # what is said of each
PAPERS = ("AP", "AP50", "AP75", "AR1", "AR10", "IDF1", "MOTA", "IDP", "IDR", "IDs")  # columns of its tables
UNSHOWN = {"ids_per_recalled_box", "tracks_per_video", "false_positives_per_frame"}  # habits say it, or nothing judges
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
UNITS = "percent; IDs a count, identity errors per hundred object-frames tracked, those of a video their number"
HARMLESS = {"measured": {"waiting_for_data", "peak_gpu_memory_bytes"}}
Content = dict[str, Any]


class Evaluated(NamedTuple):
    """One evaluation."""

    scores: Scores  # every number
    videos: Videos | None  # what each video adds; None where that is not known
    made: dict[str, Content]  # how it was made: a group, a dotted key, a value
    split: str  # what it was measured on
    seed: int | None = None  # of what was trained here


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


def of_file(path: Path, annotations: Annotations, protocol: TrackingProtocol | None) -> Evaluated:
    """A results file, or the predictions of a run, scored as records are, or its tracks by a protocol; UserError if the
    file is missing, broken, about other videos, or a score is no probability.
    """
    scores, videos = score_file(annotations, path, protocol=protocol)
    found = [each.scores for each in videos.detections]
    said: Content = {"entries": len(read_tracks(path, annotations, "entries")), "sha256": sha256_file(path)}
    said |= {"videos without an entry": found.count(())}
    if left := said["entries"] - sum(map(len, found)):
        said["entries that AP leaves out, beyond the 100 best of a video and category"] = left
    said["best score"] = max((score for of_video in found for score in of_video), default=None)
    return Evaluated(scores, videos, {"file": said}, str(annotations.path))


def compare(a: Side, b: Side, *, dataset: str = "", annotations: Annotations | None = None) -> Content:
    """All that is said of two sides, as JSON; `dataset` decides draws, `annotations` name categories and videos."""
    sides, seeds = (a, b), [[each.seed for each in side.of] for side in (a, b)]
    same = len({each.split for side in sides for each in side.of}) == 1
    paired = same and seeds[0] == seeds[1] and None not in seeds[0]
    behind = [[each.videos for each in side.of if each.videos is not None] for side in sides]
    detailed = same and list(map(len, behind)) == list(map(len, seeds))
    drawn = len(behind[0][0].video_ids) if detailed else 0
    ends = bootstrap.difference_intervals(behind[0], behind[1], dataset) if drawn >= bootstrap.LEAST_VIDEOS else {}
    first = a.of[0].scores.shown
    names = [name for name in {**RANGES, **first} if name in first and name not in UNSHOWN]  # a record's are sorted
    shown = {name: [[each.scores.shown.get(name) for each in side.of] for side in sides] for name in names}
    if (recall := _common_recall(sides)) is not None:
        shown["errors_at_equal_recall"] = [[each.scores.errors_at(recall) for each in side.of] for side in sides]
    content: Content = {key: {"name": side.name, "seeds": of} for key, side, of in zip("ab", sides, seeds)}
    content |= {"same_videos": same, "seeds_pair": paired, "videos_drawn": drawn if ends else 0, "equal_recall": recall}
    content["units"] = units_of(shown) | {"errors_at_equal_recall": "per object-frame tracked", "num_errors": "count"}
    content["metrics"] = [_metric(name, values, seeds[0] if paired else None, ends) for name, values in shown.items()]
    content["habits"] = _habits(behind, seeds[0] if paired else None, ends) if detailed else []
    content["categories"] = _categories(sides, annotations)
    content["videos"] = _videos(behind, annotations) if detailed else []
    return content | {"differs": _differing(sides), "said": [*_words(content)]}


def _common_recall(sides: Sequence[Side]) -> float | None:
    """The largest share of object-frames, in whole per mille, that everything tracks at its lowest threshold."""
    found = []
    for each in (each.scores for side in sides for each in side.of):
        if each.identity is None or not each.identity.object_frames or not each.identity_curve:
            return None
        found.append(max(each.identity_curve["tracked"]) / each.identity.object_frames)
    return math.floor(1000 * min(found)) / 1000 or None


def _metric(name: str, values: list[list[Any]], seeds: list[Any] | None, over_videos: Mapping[str, Any]) -> Content:
    """A metric of both sides; `seeds` where they pair."""
    found: Content = {"metric": name, "a": values[0], "b": values[1], "difference": None}
    if None in values[0] + values[1]:
        return found
    found |= {"difference": fmean(values[0]) - fmean(values[1]), "over_videos": over_videos.get(name)}
    return found | _over_seeds(values, seeds)


def _over_seeds(values: list[list[Any]], seeds: list[Any] | None) -> Content:
    if len(values[0]) != len(values[1]):
        return {}
    one, other = (dict(zip(seeds or range(len(of)), of)) for of in values)
    found = mean_difference(one, other, paired=seeds is not None)
    return {"over_seeds": found.interval, "p": found.p, "test": found.test}


def _habits(behind: list[list[Videos]], seeds: list[Any] | None, over_videos: Mapping[str, Any]) -> list[Content]:
    once, found = np.ones((1, len(behind[0][0].video_ids)), np.int64), []
    sides = [[bootstrap.habits_of(run, once) for run in side] for side in behind]
    for name in HABITS:
        values = [[float(run[name][0]) for run in side] for side in sides]
        if not np.isnan(values[0] + values[1]).any():
            a, b = map(fmean, values)
            each = {"habit": name, "a": a, "b": b, "over_videos": over_videos.get(name)}
            found.append(each | _over_seeds(values, seeds))
    return found


def _categories(sides: Sequence[Side], annotations: Annotations | None) -> list[Content]:
    """AP of each category that is defined on both sides, that which differs most first."""
    names = {str(each.id): each.name for each in annotations.categories} if annotations else {}
    found = []
    for key in sides[0].of[0].scores.per_category:
        values = [[each.scores.per_category.get(key, {}).get("AP") for each in side.of] for side in sides]
        if None not in values[0] + values[1]:
            a, b = (fmean(value or 0 for value in of) for of in values)
            found.append({"category": names.get(key, key), "a": a, "b": b, "difference": a - b})
    return sorted(found, key=lambda each: -abs(each["difference"]))


def _videos(behind: list[list[Videos]], annotations: Annotations | None) -> list[Content]:
    """AP, IDF1 and identity errors of each video, that first whose AP or IDF1 differs most."""
    ids, names = behind[0][0].video_ids, annotations.video_by_id if annotations else {}
    sides = np.array([np.mean([_of_each_video(run) for run in side], axis=0) for side in behind])  # (2, 3, V)
    differences = np.nan_to_num(np.abs(sides[0] - sides[1])[:2]).max(axis=0)
    found = []
    for v in np.argsort(-differences, kind="stable"):
        both = zip(OF_VIDEO, sides[:, :, v].T.tolist())
        values = {key: [None if math.isnan(value) else value for value in of] for key, of in both}
        found.append({"id": ids[v], "video": names[ids[v]].name if ids[v] in names else str(ids[v]), **values})
    return found


def _of_each_video(run: Videos) -> NDArray[np.float64]:
    """(3, V) AP and IDF1, NaN where undefined, and the number of identity errors."""
    alone = np.eye(len(run.video_ids), dtype=np.int64)
    idf1 = weighed_metrics([each[SHOWN] for each in run.tracking], alone)["IDF1"]
    return np.array([ap_of(run.detections, alone), idf1, [each.errors for each in run.identity]])


def _differing(sides: Sequence[Side]) -> dict[str, dict[str, list[list[Any]]]]:
    """By group and key, the values on each side where they are not the same."""
    a, b = made = [defaultdict[tuple[str, str], dict[str, Any]](dict) for _ in sides]
    for values, side in zip(made, sides):
        for group, of_group in (said for each in side.of for said in each.made.items()):
            for key, value in of_group.items():
                values[group, key][json.dumps(value)] = value
    found: dict[str, dict[str, list[list[Any]]]] = {}
    for group, key in differing(a, b):
        found.setdefault(group, {})[key] = [[*values[group, key].values()] for values in made]
    return found


def _words(content: Content) -> Iterator[str]:
    """What differs, in plain words."""
    if not content["same_videos"]:
        yield "A and B were measured on different videos: what differs is not the methods' alone, and nothing pairs."
    metrics = {each["metric"]: each for each in content["metrics"] if each["difference"] is not None}
    for name in ("AP", "IDF1"):
        if name not in metrics:
            continue
        each, (a, b) = metrics[name], _means(metrics[name])
        over = "; ".join(f"95 % over {of}: {interval_text(name, ends)}" for of, ends in _ends(each).items())
        within = " and ".join(of for of, ends in _ends(each).items() if _holds_zero(ends))
        higher = f", {'A' if each['difference'] > 0 else 'B'} is higher" * bool(over)
        said = f", no difference beyond the draw of {within}" if within else higher
        yield f"{name}: A {a}, B {b}{said}{f' ({over})' * bool(over)}"
    for each in content["habits"]:
        (less, other), (more, who) = sorted([(each["a"], "A"), (each["b"], "B")])
        # Without an interval over videos a difference is said that is a tenth of the larger.
        if not any(map(_holds_zero, _ends(each).values())) and (each["over_videos"] or more - less > 0.1 * more):
            does, unit = HABITS[each["habit"]]
            signed = {of: sorted((1 if who == "A" else -1) * 100 * x for x in ends) for of, ends in _ends(each).items()}
            drawn = ", ".join(f"{low:.2f} to {high:.2f} (95 % over {of})" for of, (low, high) in signed.items())
            yield f"{who} {does}: {100 * more:.2f} {unit}, {other} {100 * less:.2f}{f'; more by {drawn}' * bool(drawn)}"
    if "errors_at_equal_recall" in metrics:
        a, b = _means(metrics["errors_at_equal_recall"])
        share = f"{100 * content['equal_recall']:.1f} %"
        yield f"Where both track {share} of the object-frames, A makes {a} identity errors per 100 of these, B {b}"
    if content["same_videos"] and not content["videos_drawn"]:
        why = f"there are fewer than {bootstrap.LEAST_VIDEOS}" if content["videos"] else "what each adds is not kept"
        yield f"No interval over videos: {why}; what is said above is of these videos alone."
    if content["seeds_pair"] and len(content["a"]["seeds"]) == 1:
        yield "One seed of each: how other seeds would move this is not known."


def _means(each: Content) -> list[str]:
    return [measured_text(each["metric"], fmean(each[side]), None) for side in "ab"]


def _ends(each: Content) -> dict[str, Sequence[float]]:
    """The intervals of a difference, over videos and over seeds, as far as there are any."""
    return {of: ends for of in ("videos", "seeds") if (ends := each.get(f"over_{of}"))}


def _holds_zero(ends: Sequence[float]) -> bool:
    return ends[0] <= 0 <= ends[1]


def tables_of(content: Content, *, every: bool = True) -> list[Lines]:
    """What `compare` gives, as tables; without `every`, of metrics the paper's and those that differ by an interval."""
    seeds = f"95 % over {'paired ' * content['seeds_pair']}seeds"
    categories = [
        (each["category"], *(_value("AP", each[side]) for side in "ab"), difference_text("AP", each["difference"]))
        for each in content["categories"]
    ]
    of_video = [f"{name.replace('num_', 'number of ')} {side}" for name in OF_VIDEO for side in "AB"]
    videos = [
        (each["video"], *(_value(name, value) for name in OF_VIDEO for value in each[name]))
        for each in content["videos"][:MOST]
    ]
    differs = [
        (group, key, *(" | ".join(map(plain_value, of)) or UNDEFINED for of in values))
        for group, of_group in content["differs"].items()
        for key, values in of_group.items()
    ]
    metrics = [
        _metric_line(each)
        for each in content["metrics"]
        if every or each["metric"] in PAPERS or not all(map(_holds_zero, _ends(each).values()))
    ]
    left = len(content["metrics"]) - len(metrics)
    title = "Metrics" + f": the paper's, and others that differ (--all: {left} more)" * bool(left)
    return [
        Lines(title, ("Metric", "A", "B", "A minus B", seeds, "p", "95 % over videos"), metrics),
        Lines("AP by category", ("Category", "A", "B", "A minus B"), categories),
        Lines("The videos that differ most", ("Video", *of_video), videos),
        Lines("What differs in the making", ("Of", "What", "A", "B"), differs, num_left=4),
    ]


def _metric_line(each: Content) -> tuple[str, ...]:
    metric, head = each["metric"], headline(each["metric"])
    values = [
        UNDEFINED if None in of else measured_text(metric, fmean(of), stdev(of) if len(of) > 1 else None)
        for of in (each["a"], each["b"])
    ]
    if each["difference"] is None:
        return head, *values, *[UNDEFINED] * 4
    p = p_text(each.get("p"), each.get("test", ""))
    over_seeds, over_videos = (interval_text(metric, each.get(name)) for name in ("over_seeds", "over_videos"))
    return head, *values, difference_text(metric, each["difference"]), over_seeds, p, over_videos


def _value(metric: str, value: float | None) -> str:
    return f"{value:g}" if metric == "num_errors" and value is not None else measured_text(metric, value, None)


def plain_value(value: Any) -> str:
    """A value in a line: of a digest its first digits."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if re.fullmatch("[0-9a-f]{40,64}", text) else text
