"""The scenes that the page plays (Figures 1 and 5): held-out videos with ground truth and two methods side by side.

Of each data set the pair of rows of the claims is shown that Table 3 names last (its largest backbone) and whose
predictions are kept; of its videos those with the most identity errors of both methods together. The tracks are those
of Table 3's cells: of protocol `matched`, with the thresholds that the record says. Frames and masks are made small.
"""

import base64
import string
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from ifrvis.datasets.rle import Rle, decode, encode
from ifrvis.datasets.ytvis import Annotations, Id, Track, Video
from ifrvis.errors import UserError
from ifrvis.evaluation.identity import IdentityError, VideoErrors, identity_errors
from ifrvis.evaluation.predictions import Prediction, queries_of, read_tracks, read_videos_of
from ifrvis.evaluation.protocols import TrackingProtocol, halves, load_protocol
from ifrvis.evaluation.scores import SHOWN, Scores
from ifrvis.evaluation.tubes import overlaps
from ifrvis.files import publish_once, sha256_file
from ifrvis.harness.plan.plan import Evaluation, Plan
from ifrvis.harness.spec.tables import Row
from ifrvis.harness.store.playback import Pane, PlayedError, PlayedTrack, PlayedVideo, Scene, rows_to_play, scene_name
from ifrvis.harness.store.records import Record

VIDEOS = 3  # of each dataset
HEIGHT, WIDTH = 256, 4096  # pixels of a frame, at most
QUALITY = 70  # of JPEG
Masks = Sequence[Rle | None]


class _Kept(NamedTuple):
    """A row, one evaluation of it, its record, and the predictions that it was made from."""

    row: Row
    evaluation: Evaluation
    record: Record
    predictions: Path


class Side(NamedTuple):
    """One method: what its row is called and titled, its tracks and their errors by video."""

    row: str
    title: str
    tracks: dict[Id, list[Prediction]]
    errors: dict[Id, VideoErrors]


def write_scenes(plan: Plan) -> list[Path]:
    """Write a scene for each data set of which predictions of two methods and frames are here, if there is none; the
    paths.
    """
    done: set[str] = set()
    written = []
    for one, other in _pairs(plan):
        if one.row.dataset in done:
            continue
        records = one.record.digest, other.record.digest
        path = plan.request.store.scenes(one.record.profile) / scene_name(one.record.dataset, records)
        scene = None if path.is_file() else _scene((one, other), records)
        if scene is not None:
            written += [path] * publish_once(path, scene.text())
        if path.is_file():
            done.add(one.row.dataset)
    return written


def _pairs(plan: Plan) -> Iterator[tuple[_Kept, _Kept]]:
    evaluations = {each.row.id: each.evaluations for each in plan.rows if each.table.protocol == "heldout"}
    for rows in rows_to_play(plan.request):
        for seed in sorted(set.intersection(*(set(evaluations.get(row.id, ())) for row in rows))):
            one, other = (_kept(plan, row, evaluations[row.id][seed]) for row in rows)
            if one and other:
                yield one, other


def _kept(plan: Plan, row: Row, evaluation: Evaluation) -> _Kept | None:
    """An evaluation whose predictions are here as its record knows them."""
    record, split = evaluation.record, evaluation.split.fingerprint
    if record is None or split is None:
        return None
    path = evaluation.training.run(plan.request.store).predictions(evaluation.inference, split)
    sound = path.is_file() and sha256_file(path) == record.files.get("predictions")
    return _Kept(row, evaluation, record, path) if sound else None


def _scene(pair: tuple[_Kept, _Kept], records: tuple[str, str]) -> Scene | None:
    """The scene of one pair; None where a frame is lost or a file broken, which `verify` says."""
    split, (one, other) = pair[0].evaluation.split, pair
    try:
        annotations = split.read()
        sides = [
            side_of(each.row.id, f"{each.row.group} {each.row.label}", each.predictions, each.record, annotations)
            for each in pair
        ]
        worst = sorted(annotations.videos, key=lambda video: -sum(len(side.errors[video.id].errors) for side in sides))
        videos = tuple(play(annotations, split.frames, video, sides) for video in worst[:VIDEOS])
    except UserError:
        return None
    rows = one.row.id, other.row.id
    return Scene(dataset=split.dataset, seed=one.record.seed, rows=rows, records=records, videos=videos)


def side_of(
    row: str,
    title: str,
    predictions: Path,
    scores: Scores,
    annotations: Annotations,
    protocol: TrackingProtocol | None = None,
) -> Side:
    """The tracks of one method that its scores count, of a record or by a `protocol` (`score_file`), and their errors;
    UserError if the predictions are missing, broken or about other videos.
    """
    if protocol:
        found = read_tracks(predictions, annotations, protocol.tracks)
    else:
        found = queries_of(read_videos_of(predictions, annotations))
        protocol = load_protocol(SHOWN).model_copy(update={"most": None})
    tracked, half_of = scores.tracking.get(SHOWN), halves(annotations.video_by_id, protocol.seed)
    threshold = tracked.threshold if tracked else None
    tracks: dict[Id, list[Prediction]] = {video.id: [] for video in annotations.videos}
    for track in found:
        tracks[track.video_id].append(track)
    for video_id, of_video in tracks.items():
        level = threshold[half_of[video_id]] if isinstance(threshold, tuple) else threshold
        shown = [track for track in protocol.select(of_video) if track.reaches(level)]
        tracks[video_id] = [replace(track, number=n) for n, track in enumerate(shown)]  # entries can share a query
    errors = identity_errors(annotations, [track for of_video in tracks.values() for track in of_video])
    return Side(row, title, tracks, {each.video_id: each for each in errors})


def play(annotations: Annotations, folder: Path | None, video: Video, sides: list[Side]) -> PlayedVideo:
    """A video with its ground truth and the sides, on grey without a folder of frames; UserError if a frame is lost."""
    step = max(-(-video.height // HEIGHT), -(-video.width // WIDTH))
    width, height = -(-video.width // step), -(-video.height // step)
    gts = [track for track in annotations.tracks_of(video.id) if not track.is_crowd]
    categories = {category.id: category.name for category in annotations.categories}

    def played(identity: int, found: Track | Prediction) -> PlayedTrack:
        masks = tuple(mask and _small(mask, step)["counts"] for mask in found.masks)
        score = found.score if isinstance(found, Prediction) else None
        name = str(identity + 1) if identity < len(gts) else string.ascii_lowercase[(identity - len(gts)) % 26]
        category = categories[found.category_id]
        return PlayedTrack(identity=identity, name=name, category=category, masks=masks, score=score)

    panes = [Pane(title="Ground truth", tracks=tuple(played(index, gt) for index, gt in enumerate(gts)))]
    numbers = {gt.id: index + 1 for index, gt in enumerate(gts)}
    for side in sides:
        tracks, wrong = side.tracks[video.id], side.errors[video.id]
        shown = tuple(map(played, _identities(video, tracks, [gt.masks for gt in gts]), tracks))
        names = {found.number: each.name for found, each in zip(tracks, shown)}
        errors = tuple(_error(each, numbers, names) for each in wrong.errors)
        numbered = {"tracked": wrong.counts.tracked, "lost": wrong.counts.never_found}
        panes.append(Pane(title=side.title, tracks=shown, row=side.row, errors=errors, **numbered))
    frames = tuple(_jpeg(folder, video, t, (width, height)) for t in range(video.length))
    return PlayedVideo(name=video.name, width=width, height=height, frames=frames, panes=tuple(panes))


def _small(mask: Rle, step: int) -> Rle:
    return mask if step == 1 else encode(decode(mask)[::step, ::step])


def _identities(video: Video, tracks: list[Prediction], gts: list[Masks]) -> list[int]:
    """The number of the object that each track stands for, so that all share most; further numbers for the others."""
    shared = overlaps(video, [track.masks for track in tracks], gts).shared.sum(axis=0)
    rows, columns = linear_sum_assignment(shared, maximize=True)
    found = {int(row): int(column) for row, column in zip(rows, columns) if shared[row, column]}
    rest = iter(range(len(gts), len(gts) + len(tracks)))
    return [found[index] if index in found else next(rest) for index in range(len(tracks))]


def _error(error: IdentityError, numbers: dict[Id, int], names: dict[int, str]) -> PlayedError:
    text = error.in_words([str(numbers[gt]) for gt in error.gt_ids], [names[each] for each in error.predictions])
    return PlayedError(kind=error.kind, frames=tuple(map(int, error.frames)), text=text)


def _jpeg(folder: Path | None, video: Video, frame: int, size: tuple[int, int]) -> str:
    import cv2  # here and in the reader of frames, where `run` has them

    from ifrvis.datasets.frames import read_frame

    if folder is None:
        small = np.full((size[1], size[0], 3), 128, np.uint8)
    else:
        small = cv2.resize(read_frame(folder, video, frame), size, interpolation=cv2.INTER_AREA)
    return base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()).decode()
