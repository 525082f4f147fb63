"""What the study rests on, made anew: `python tests/frozen/make.py` writes `frozen.json`, which the tests compare with.

Signatures of all rows of profile `mini`, decoded and resized frames, draws of batches, the first losses of both
methods, their predictions after these steps, and the scores of predictions that take no model. Given a path, it writes
there what is so now.
"""

import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # before torch is imported
sys.path.insert(0, str(Path(__file__).parents[2]))

from ifrvis.datasets.catalog import load_config
from ifrvis.datasets.frames import read_frame
from ifrvis.datasets.placement import resize_frame, resized_size
from ifrvis.datasets.sampling.samplers import sampler_of
from ifrvis.datasets.synthetic.making import make_split
from ifrvis.datasets.ytvis import Annotations, read_annotations
from ifrvis.evaluation.predictions import Scored, VideoPredictions, write_predictions
from ifrvis.evaluation.scoring import score_file
from ifrvis.files import canonical_json, sha256_bytes, write_atomically
from ifrvis.harness.plan.plan import Plan, Request, Training
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_tables
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.provenance import provenance
from ifrvis.inference.modes import predict_split
from ifrvis.training.loop import train

FROZEN = Path(__file__).with_name("frozen.json")
STORE = Store(Path("nowhere"))
MINI = load_profile("mini")
VIDEOS = {"pretrain": 0, "train": 6, "dev": 0, "test": 2}  # of mini19; a video is the same in a set of any size
FRAMES, BATCHES, STEPS = 20, 10, 10
Set = tuple[Annotations, Path]


def main(path: Path) -> None:
    """Write all of it to a file."""
    tables = tuple(load_tables(["all"], MINI))
    plan = make_plan(Request(tables, MINI, data_root=Path("nowhere"), store=STORE))
    with tempfile.TemporaryDirectory() as folder:
        train_set, test_set = (_small_set(split, Path(folder)) for split in ("train", "test"))
        first = {method: _first(plan, method) for method in ("mask2former", "ours", "seqformer")}
        learned = {
            method: _learn(first[method], train_set, test_set, Path(folder)) for method in ("mask2former", "ours")
        }
        found = {
            "processor": provenance().hardware.processor,
            "signatures": {f"{row.table.name}/{row.row.id}": _signatures(row) for row in plan.rows},
            "frames": list(itertools.islice(_frames(*train_set), FRAMES)),
            "draws": {method: _draws(training, train_set[0]) for method, training in first.items()},
            "losses": {method: losses for method, (losses, _) in learned.items()},
            "predictions": {method: _digest([vars(each) for each in of]) for method, (_, of) in learned.items()},
            "scores": _scores(test_set[0], Path(folder) / "predictions.json.gz"),
        }
    write_atomically(path, json.dumps(found, indent=1) + "\n")


def _digest(value: Any) -> str:
    return sha256_bytes(canonical_json(value))


def _signatures(row: Any) -> str:
    """A digest of the signatures of all seeds, of training and evaluation."""
    return _digest([[each.training.sig, each.sig] for each in row.evaluations.values()])


def _first(plan: Plan, method: str) -> Training:
    """Seed 0 of the first ResNet-50 of a method."""
    return next(each for each in plan.trainings if (each.method, each.backbone, each.seed) == (method, "r50", 0))


def _small_set(split: str, folder: Path) -> Set:
    synthetic = load_config("mini19")[0].synthetic
    assert synthetic is not None
    path = make_split(synthetic.model_copy(update={"videos": VIDEOS}), split, folder)
    return read_annotations(path), folder / split / "JPEGImages"


def _frames(annotations: Annotations, folder: Path) -> Iterator[str]:
    """SHA-256 of frames, at one after the other of the sides that rows have."""
    for video in annotations.videos:
        for t, side in zip(range(video.length), itertools.cycle(MINI.sides.values())):
            size = resized_size(video.height, video.width, side=side)
            yield sha256_bytes(resize_frame(read_frame(folder, video, t), size, "pillow").tobytes())


def _draws(training: Training, annotations: Annotations) -> list[str]:
    """A digest of all that is drawn for each batch."""
    sampler = sampler_of(training.spec.model_dump(), annotations, None)
    return [sha256_bytes(repr(sampler.batch(iteration)).encode()) for iteration in range(BATCHES)]


def _learn(training: Training, train_set: Set, test_set: Set, folder: Path) -> tuple[list[float], list[Any]]:
    """The losses of the first steps, and what the model then predicts."""
    losses: list[float] = []
    init = training.initial_weights(STORE)
    trained = train(
        training.spec.model_dump() | {"iterations": STEPS},
        train_sig="0" * 64,
        annotations=train_set[0],
        frames_root=train_set[1],
        folder=folder / training.method,
        init_weights=init if init and init.is_file() else None,  # a change of the pretraining is told, too
        on_progress=lambda progress: losses.append(progress.loss),
    )
    return losses, list(predict_split(trained.model, *test_set, training.evaluations[0].inference))


def _scores(annotations: Annotations, path: Path) -> dict[str, Any]:
    """The scores of tracks that lag behind their objects, each by a frame more, and end on the object before."""
    videos = []
    for video in annotations.videos:
        tracks, late = annotations.tracks_of(video.id), video.length * 7 // 8
        masks = {
            k: track.masks[:1] * k + track.masks[: late - k] + tracks[k - 1].masks[late:]
            for k, track in enumerate(tracks)
        }
        scored = tuple(Scored(k, track.category_id, 1 - k / 16) for k, track in enumerate(tracks))
        videos.append(VideoPredictions(video.id, video.height, video.width, video.length, masks, scored, scored))
    write_predictions(path, videos)
    return score_file(annotations, path)[0].model_dump(mode="json")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FROZEN)
