"""What the page's viewer plays (Figures 1 and 5): held-out videos with ground truth and two methods side by side.

Of each dataset the pair of rows of the claims is shown that Table 3 names last (its largest backbone) and whose
predictions are kept; of its videos those with the most identity errors of both methods together. The tracks are those
of Table 3's cells: of protocol `matched`, with the thresholds that the record says. Frames and masks are made small.
"""

import base64
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from ifrvis.datasets.rle import Rle, decode, encode
from ifrvis.datasets.ytvis import Annotations, Id, Video
from ifrvis.errors import UserError
from ifrvis.evaluation.identity import IdentityError, VideoErrors, identity_errors
from ifrvis.evaluation.predictions import Prediction, queries_of, read_predictions
from ifrvis.evaluation.protocols import halves, load_protocol
from ifrvis.evaluation.tubes import overlaps
from ifrvis.files import sha256_file
from ifrvis.harness.plan import Evaluation, Plan, PlannedRow
from ifrvis.schema import is_number

__all__ = ["scenes"]

VIDEOS = 3  # of each dataset
HEIGHT = 180  # pixels of a frame, at most
QUALITY = 70  # of JPEG
Masks = Sequence[Rle | None]


class _Side(NamedTuple):
    """One method: its row, and the tracks of each video."""

    planned: PlannedRow
    tracks: dict[Id, list[Prediction]]
    errors: dict[Id, VideoErrors]


def scenes(plan: Plan) -> list[dict[str, Any]]:
    """What is played, a scene for each dataset of which the predictions of two methods are kept."""
    found: dict[str, dict[str, Any]] = {}
    for one, other in _pairs(plan):
        if one.row.dataset not in found:
            for seed in sorted(one.evaluations.keys() & other.evaluations.keys()):
                scene = _scene(plan, (one, other), seed)
                if scene is not None:
                    found[one.row.dataset] = scene
                    break
    return [found[name] for name in sorted(found)]


def _pairs(plan: Plan) -> Iterator[tuple[PlannedRow, PlannedRow]]:
    """Pairs of rows of two methods that a claim compares, the baseline first; the best to look at first."""
    for table in sorted(plan.request.tables, key=lambda table: table.kind != "tracking"):
        rows = {planned.row.id: planned for planned in plan.rows if planned.table is table}
        pairs = [pair for claim in table.claims for pair in claim.pairs if set(pair) <= rows.keys()]
        for ours, other in reversed(dict.fromkeys(pairs)):
            if rows[ours].row.method != rows[other].row.method:
                yield rows[other], rows[ours]


def _scene(plan: Plan, pair: tuple[PlannedRow, PlannedRow], seed: int) -> dict[str, Any] | None:
    """The scene of one pair and seed; None unless its predictions and frames are here, as the records know them."""
    evaluations = [planned.evaluations[seed] for planned in pair]
    if not all(_is_kept(plan, each) for each in evaluations):
        return None
    try:
        annotations = evaluations[0].split.read()
        sides = [_side(plan, planned, planned.evaluations[seed], annotations) for planned in pair]
        worst = sorted(annotations.videos, key=lambda video: -sum(len(side.errors[video.id].errors) for side in sides))
        videos = [_video(annotations, evaluations[0].split.frames, video, sides) for video in worst[:VIDEOS]]
    except UserError:  # frames are lost, or a file is broken: `verify` says so
        return None
    return {"dataset": evaluations[0].split.dataset, "seed": seed, "rows": [each.row.id for each in pair], "videos": videos}


def _is_kept(plan: Plan, evaluation: Evaluation) -> bool:
    record, split = evaluation.record, evaluation.split.fingerprint
    if record is None or split is None or record["protocol"] != "heldout":
        return False
    path = evaluation.training.run(plan.request.results).predictions(evaluation.inference, split)
    return path.is_file() and sha256_file(path) == record["files"].get("predictions")


def _side(plan: Plan, planned: PlannedRow, evaluation: Evaluation, annotations: Annotations) -> _Side:
    assert evaluation.record is not None
    assert evaluation.split.fingerprint is not None
    run = evaluation.training.run(plan.request.results)
    path = run.predictions(evaluation.inference, evaluation.split.fingerprint)
    protocol = load_protocol("matched")
    half_of = halves([video.id for video in annotations.videos], protocol.seed)
    thresholds = _thresholds(evaluation.record)
    tracks: dict[Id, list[Prediction]] = {video.id: [] for video in annotations.videos}
    for track in queries_of(read_predictions(path, annotations)):
        tracks[track.video_id].append(track)
    for video_id, found in tracks.items():
        least = thresholds[half_of[video_id]]
        tracks[video_id] = [track for track in protocol.select(found) if track.score >= least]
    errors = identity_errors(annotations, [track for found in tracks.values() for track in found])
    return _Side(planned, tracks, {each.video_id: each for each in errors})


def _thresholds(record: dict[str, Any]) -> tuple[float, float]:
    matched = record.get("tracking", {}).get("matched", {})
    found = matched.get("threshold") if isinstance(matched, dict) else None
    if isinstance(found, list) and len(found) == 2 and all(map(is_number, found)):
        return float(found[0]), float(found[1])
    return 0.5, 0.5


def _video(annotations: Annotations, folder: Path, video: Video, sides: list[_Side]) -> dict[str, Any]:
    step = -(-video.height // HEIGHT)
    gts = [track for track in annotations.tracks_of(video.id) if not track.is_crowd]
    names = {category.id: category.name for category in annotations.categories}
    number = {track.id: index for index, track in enumerate(gts)}
    shown = [_track(index, names[track.category_id], track.masks, step) for index, track in enumerate(gts)]
    panes: list[dict[str, Any]] = [{"title": "Ground truth", "tracks": shown, "errors": []}]
    for side in sides:
        tracks = side.tracks[video.id]
        identity = _identities(video, tracks, [track.masks for track in gts])
        shown = [_track(identity[i], names[t.category_id], t.masks, step, t.score) for i, t in enumerate(tracks)]
        of_query = {track.number: _name(identity[i], len(gts)) for i, track in enumerate(tracks)}
        errors = [_error(each, number, of_query) for each in side.errors[video.id].errors]
        row = side.planned.row
        title = "Ours" if row.method == "ours" else row.group or row.method
        panes.append({"title": f"{title} {row.label}".strip(), "row": row.id, "tracks": shown, "errors": errors})
    for pane in panes:
        for track in pane["tracks"]:
            track["name"] = _name(track["identity"], len(gts))
    frames = [_jpeg(folder / name, -(-video.width // step), -(-video.height // step)) for name in video.file_names]
    size = {"width": -(-video.width // step), "height": -(-video.height // step)}
    return {"id": video.id, "name": video.name, **size, "frames": frames, "panes": panes}


def _identities(video: Video, tracks: list[Prediction], gts: list[Masks]) -> list[int]:
    """The number of the object that each track stands for, so that all share most; further numbers for the others."""
    shared = overlaps(video, [track.masks for track in tracks], gts).shared.sum(axis=0)
    rows, columns = linear_sum_assignment(shared, maximize=True)
    found = {int(row): int(column) for row, column in zip(rows, columns) if shared[row, column]}
    rest = iter(range(len(gts), len(gts) + len(tracks)))
    return [found[index] if index in found else next(rest) for index in range(len(tracks))]


def _name(identity: int, num_gts: int) -> str:
    """Objects are 1, 2, ...; tracks that stand for none a, b, ..."""
    return str(identity + 1) if identity < num_gts else string.ascii_lowercase[(identity - num_gts) % 26]


def _track(identity: int, category: str, masks: Masks, step: int, score: float | None = None) -> dict[str, Any]:
    small = [None if mask is None else (mask if step == 1 else encode(decode(mask)[::step, ::step]))["counts"] for mask in masks]
    return {"identity": identity, "category": category, "masks": small, **({} if score is None else {"score": score})}


def _error(error: IdentityError, number: dict[Id, int], of_query: dict[int, str]) -> dict[str, Any]:
    objects = " and ".join(str(number[gt] + 1) for gt in error.gt_ids)
    tracks = [of_query.get(query, "?") for query in error.predictions]
    text = {
        "change": f"object {objects}: track {' becomes '.join(tracks)}",
        "switch": f"objects {objects}: tracks {' and '.join(tracks)} swap",
        "merged": f"objects {objects}: one track, {' '.join(tracks)}",
        "lost": f"object {objects}: no track",
        "duplicate": f"object {objects}: one more track, {' '.join(tracks)}",
    }[error.kind]
    return {"kind": error.kind, "frames": [int(frame) for frame in error.frames], "text": text}


def _jpeg(path: Path, width: int, height: int) -> str:
    image = cv2.imread(str(path))
    if image is None:
        raise UserError(f"Restore {path}: the frame cannot be read.")
    small = cv2.resize(np.asarray(image), (width, height), interpolation=cv2.INTER_AREA)
    packed = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return base64.b64encode(packed.tobytes()).decode()
