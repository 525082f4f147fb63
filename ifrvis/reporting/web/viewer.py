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
from scipy.optimize import linear_sum_assignment

from ifrvis.datasets.rle import Rle, decode, encode
from ifrvis.datasets.ytvis import Annotations, Id, Track, Video
from ifrvis.errors import UserError
from ifrvis.evaluation.identity import IdentityError, VideoErrors, identity_errors
from ifrvis.evaluation.predictions import Prediction, queries_of, read_predictions
from ifrvis.evaluation.protocols import halves, load_protocol
from ifrvis.evaluation.tubes import overlaps
from ifrvis.files import sha256_file
from ifrvis.harness.plan.plan import Evaluation, Plan, PlannedRow
from ifrvis.harness.spec.tables import Row
from ifrvis.harness.store.records import Record

VIDEOS = 3  # of each dataset
HEIGHT = 256  # pixels of a frame, at most
QUALITY = 70  # of JPEG
Masks = Sequence[Rle | None]


class _Side(NamedTuple):
    """One method: its row, its tracks and their errors by video."""

    row: Row
    tracks: dict[Id, list[Prediction]]
    errors: dict[Id, VideoErrors]


def scenes(plan: Plan) -> list[dict[str, Any]]:
    """What is played, a scene for each dataset of which the predictions of two methods are kept."""
    found: dict[str, dict[str, Any]] = {}
    for one, other in _pairs(plan):
        for seed in sorted(one.evaluations.keys() & other.evaluations.keys()):
            scene = None if one.row.dataset in found else _scene(plan, (one, other), seed)
            if scene is not None:
                found[one.row.dataset] = scene
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
    paths, split = [_kept(plan, evaluation) for evaluation in evaluations], evaluations[0].split
    try:
        annotations = split.read() if all(paths) else None
        if annotations is None:
            return None
        sides = [_side(*each, annotations) for each in zip(pair, evaluations, paths)]
        worst = sorted(annotations.videos, key=lambda video: -sum(len(side.errors[video.id].errors) for side in sides))
        videos = [_video(annotations, split.frames, video, sides) for video in worst[:VIDEOS]]
    except UserError:  # a frame is lost, or a file is broken: `verify` says so
        return None
    return {"dataset": split.dataset, "seed": seed, "rows": [planned.row.id for planned in pair], "videos": videos}


def _kept(plan: Plan, evaluation: Evaluation) -> Path | None:
    """The predictions that a record was made from, if they are here."""
    record, split = evaluation.record, evaluation.split.fingerprint
    if record is None or split is None or record.protocol != "heldout":
        return None
    path = evaluation.training.run(plan.request.store).predictions(evaluation.inference, split)
    return path if path.is_file() and sha256_file(path) == record.files.get("predictions") else None


def _side(planned: PlannedRow, evaluation: Evaluation, path: Path | None, annotations: Annotations) -> _Side:
    """The tracks of one method that count, and their errors."""
    assert path is not None
    assert evaluation.record is not None
    protocol, thresholds = load_protocol("matched"), _thresholds(evaluation.record)
    half_of = halves(annotations.video_by_id, protocol.seed)
    tracks: dict[Id, list[Prediction]] = {video.id: [] for video in annotations.videos}
    for track in queries_of(read_predictions(path, annotations)):
        tracks[track.video_id].append(track)
    for video_id, found in tracks.items():
        tracks[video_id] = [track for track in protocol.select(found) if track.score >= thresholds[half_of[video_id]]]
    errors = identity_errors(annotations, [track for found in tracks.values() for track in found])
    return _Side(planned.row, tracks, {each.video_id: each for each in errors})


def _thresholds(record: Record) -> tuple[float, float]:
    """What the record says of protocol `matched`, of each half of the videos."""
    found = record.tracking["matched"].threshold if "matched" in record.tracking else None
    return found if isinstance(found, tuple) else (0.5, 0.5)


def _video(annotations: Annotations, folder: Path, video: Video, sides: list[_Side]) -> dict[str, Any]:
    step = -(-video.height // HEIGHT)
    width, height = -(-video.width // step), -(-video.height // step)
    gts = [track for track in annotations.tracks_of(video.id) if not track.is_crowd]
    categories = {category.id: category.name for category in annotations.categories}

    def track(identity: int, found: Track | Prediction) -> dict[str, Any]:
        masks = [
            mask and (mask if step == 1 else encode(decode(mask)[::step, ::step]))["counts"] for mask in found.masks
        ]
        score = {"score": found.score} if isinstance(found, Prediction) else {}
        name = str(identity + 1) if identity < len(gts) else string.ascii_lowercase[(identity - len(gts)) % 26]
        return {"identity": identity, "name": name, "category": categories[found.category_id], "masks": masks, **score}

    truth = [track(index, gt) for index, gt in enumerate(gts)]
    panes: list[dict[str, Any]] = [{"title": "Ground truth", "tracks": truth, "errors": []}]
    for side in sides:
        tracks = side.tracks[video.id]
        identities = _identities(video, tracks, [gt.masks for gt in gts])
        shown = [track(identity, found) for identity, found in zip(identities, tracks)]
        names = {found.number: each["name"] for found, each in zip(tracks, shown)}
        numbers = {gt.id: index + 1 for index, gt in enumerate(gts)}
        wrong = side.errors[video.id]
        found_out = {"errors": [_error(each, numbers, names) for each in wrong.errors], "lost": len(wrong.never_found)}
        title = "Ours" if side.row.method == "ours" else side.row.group
        panes.append({"title": f"{title} {side.row.label}", "row": side.row.id, "tracks": shown, **found_out})
    frames = [_jpeg(folder / name, width, height) for name in video.file_names]
    return {"name": video.name, "width": width, "height": height, "frames": frames, "panes": panes}


def _identities(video: Video, tracks: list[Prediction], gts: list[Masks]) -> list[int]:
    """The number of the object that each track stands for, so that all share most; further numbers for the others."""
    shared = overlaps(video, [track.masks for track in tracks], gts).shared.sum(axis=0)
    rows, columns = linear_sum_assignment(shared, maximize=True)
    found = {int(row): int(column) for row, column in zip(rows, columns) if shared[row, column]}
    rest = iter(range(len(gts), len(gts) + len(tracks)))
    return [found[index] if index in found else next(rest) for index in range(len(tracks))]


def _error(error: IdentityError, numbers: dict[Id, int], names: dict[int, str]) -> dict[str, Any]:
    objects, tracks = " and ".join(str(numbers[gt]) for gt in error.gt_ids), [names[each] for each in error.predictions]
    text = {
        "change": f"object {objects}: track {' becomes '.join(tracks)}",
        "switch": f"objects {objects}: tracks {' and '.join(sorted(tracks))} swap",
        "merged": f"objects {objects}: one track, {''.join(tracks)}",
        "lost": f"object {objects}: no track",
        "duplicate": f"object {objects}: one more track, {''.join(tracks)}",
    }[error.kind]
    return {"kind": error.kind, "frames": [int(frame) for frame in error.frames], "text": text}


def _jpeg(path: Path, width: int, height: int) -> str:
    image = cv2.imread(str(path))
    if image is None:
        raise UserError(f"Restore {path}: the frame cannot be read.")
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()).decode()
