"""One attempt of a run: spec path in, records out. It joins the harness to training, and does nothing else.

    python -m ifrvis.worker results/runs/<run>/attempts/0001

It goes on from the newest valid checkpoint of any earlier attempt, predicts and scores what the attempt is asked
for, and publishes the records. What exists already is not made again. Where the environment sets RANK and WORLD_SIZE
(see `training.processes`), several processes train and predict together, and the first alone does all the rest.

IFRVIS_CHECKPOINT_INTERVAL_S, in seconds, is what a run that is killed loses at most (default: 120), beside the time
that a checkpoint takes to write; it is longer where training would stand still for more than 3 % of the time.
"""

import contextlib
import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.datasets.catalog import Split, load_dataset
from ifrvis.datasets.planned import planned_split, planned_training
from ifrvis.datasets.ytvis import Video
from ifrvis.evaluation.predictions import VideoPredictions, write_predictions
from ifrvis.files import canonical_json, publish_once, write_atomically
from ifrvis.harness.jobs.worker_life import Heart, StoppedError, live
from ifrvis.harness.spec.allowed import check_training, register_types
from ifrvis.harness.store.attempts import Attempt, attempt_at, checkpoint_folders
from ifrvis.harness.store.lives import Asked
from ifrvis.harness.store.making import trained_record
from ifrvis.harness.store.provenance import hardware
from ifrvis.harness.store.records import Curve, Measured, publish_record, read_curve

if TYPE_CHECKING:
    from mmdet.models.mot import BaseMOTModel

    from ifrvis.training.progress import Progress
    from ifrvis.training.watch import Watch

log = logging.getLogger("ifrvis")


def run_attempt(folder: str) -> None:
    """Live one attempt, or help its first process; how it ended is in its `exit.json`."""
    if _rank():
        with contextlib.suppress(StoppedError):
            _Worker(attempt_at(Path(folder)), Heart()).work()
    else:
        live(folder, lambda attempt, heart: _Worker(attempt, heart).work())


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def dealt(videos: Sequence[Video], rank: int, processes: int) -> Iterator[tuple[Video, ...]]:
    """The videos of one of several processes, in rounds of about equal work: a video or none in each, longest first."""
    ordered = sorted(videos, key=lambda video: -video.length)
    for start in range(0, len(ordered), processes):
        yield tuple(ordered[start : start + processes][rank : rank + 1])


class _Worker:
    """The steps of one attempt, in order: train, predict, score, publish."""

    def __init__(self, attempt: Attempt, heart: Heart) -> None:
        self._attempt, self._run, self._heart = attempt, attempt.run, heart
        self._job, self._spec = attempt.submission(), attempt.run.read_spec().train
        check_training(self._spec.model_dump(), str(attempt.run.spec))
        self._dataset = load_dataset(self._job.dataset, Path(self._job.data_root))
        self._started, self._measured = time.monotonic(), Measured()

    def work(self) -> None:
        """Train and predict, beside other processes if there are any; the first alone publishes what comes of it."""
        from ifrvis.training.processes import Processes, check_gpu, join_processes

        if self._job.on_gpu:
            check_gpu()
        missing, wants_weights = self._missing(), self._job.publish_weights and not self._run.weights.exists()
        predicted = [self._run.predictions(each.inference, each.split).exists() for each in missing]
        alone = all(predicted) and not wants_weights
        if alone and _rank():
            return
        with contextlib.nullcontext(Processes()) if alone else join_processes() as self._processes:
            if wants_weights:
                self._first(self._publish_weights, self._model)
            for asked in missing:
                predictions = self._predictions(asked)
                if asked.protocol == "heldout":  # a server's scores come by `ifrvis ingest`
                    self._first(self._publish, asked, predictions)

    def _first(self, write: Callable[..., None], *what: Any) -> None:
        """What the first process writes; if it cannot, the others, which wait for it next, learn so."""
        if not _rank():
            with self._processes.telling():
                write(*what)

    def _missing(self) -> list[Asked]:
        run, profile, asked = self._run, self._job.profile, self._job.evaluations
        records = [run.store.record(profile, run.name, run.train_sig, each.eval_sig) for each in asked]
        return [each for each, record in zip(asked, records) if not record.exists()]

    def _publish_weights(self, model: "BaseMOTModel") -> None:
        from ifrvis.training.weights import packed_weights

        weights = packed_weights(model)
        self._attempt.check_fence()
        publish_once(self._run.weights, weights)

    def _split(self, asked: Asked) -> Split:
        return planned_split(self._dataset, asked.role, asked.split, asked.part)

    def _publish(self, asked: Asked, predictions: Path) -> None:
        import torch

        from ifrvis.evaluation.scoring import score_file

        self._heart.say(phase="scoring", eta_s=None)
        log.info("scoring %s", predictions)
        scores, videos = score_file(self._split(asked).read(), predictions)
        record = trained_record(
            *(self._attempt, asked, scores, self._facts, self._measured),
            dataset=self._dataset.name,
            determinism="seeded" if torch.cuda.is_available() else "bitwise",
            seconds=round(time.monotonic() - self._started, 3),
        )
        self._attempt.check_fence()
        publish_record(self._run.store, record, videos)

    @functools.cached_property
    def _facts(self) -> dict[str, Any]:
        from ifrvis.training.facts import facts_of

        folders, iterations = checkpoint_folders(self._run), self._spec.iterations
        return facts_of(folders, train_sig=self._run.train_sig, iterations=iterations)

    def _predictions(self, asked: Asked) -> Path:
        import torch

        from ifrvis.inference.modes import predict_split

        path, processes = self._run.predictions(asked.inference, asked.split), self._processes
        if processes.from_first(path.exists()):
            return path
        model, split = self._model, self._split(asked)
        annotations = split.read()
        videos, seconds = list[VideoPredictions](), 0.0
        self._heart.say(phase="predicting", iteration=0, iterations=len(annotations.videos), eta_s=None)
        start = time.monotonic()
        for share in dealt(annotations.videos, processes.rank, processes.world_size):
            with processes.agreeing():
                began, part = time.monotonic(), replace(annotations, videos=share)
                found = list(predict_split(model, part, split.frames, asked.inference, seed=self._spec.seed))
                seconds += time.monotonic() - began
            videos += [video for each in processes.of_all(found) for video in each]
            pace_s = (time.monotonic() - start) / max(1, len(videos))
            self._heart.say(iteration=len(videos), eta_s=pace_s * (len(annotations.videos) - len(videos)))
            if processes.from_first(self._attempt.is_asked_to_stop()):
                raise StoppedError("stopped while predicting; the next attempt predicts again from the trained weights")
        cost = {
            "prediction_seconds": round(processes.total([seconds])[0], 3),
            "frames": sum(video.length for video in videos),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else hardware().processor,
        }
        self._first(self._publish_predictions, asked, videos, cost)
        return path

    def _publish_predictions(self, asked: Asked, videos: list[VideoPredictions], cost: dict[str, Any]) -> None:
        self._attempt.check_fence()
        write_atomically(self._run.prediction_cost(asked.inference, asked.split), canonical_json(cost))
        write_predictions(self._run.predictions(asked.inference, asked.split), videos)

    @functools.cached_property
    def _model(self) -> "BaseMOTModel":
        """The trained model; UserError if what it is trained on is not what was planned."""
        from ifrvis.training.checkpoints import interval_s
        from ifrvis.training.loop import train
        from ifrvis.training.progress import tensorboard_sink

        job = self._job
        register_types(self._spec.model)
        mixed = (job.stills.dataset, job.stills.ratio) if job.stills else None
        split, stills = planned_training(self._dataset, job.role, self._spec.data, mixed)
        self._heart.say(phase="training", iterations=self._spec.iterations)
        scalars = self._attempt.folder / "tensorboard" if job.tensorboard and not _rank() else None
        trained = train(
            self._spec.model_dump(),
            train_sig=self._run.train_sig,
            annotations=split.read(),
            frames_root=split.frames,
            stills=stills,
            folder=self._attempt.checkpoints,
            resume_from=checkpoint_folders(self._run),
            init_weights=Path(job.init) if job.init else None,
            workers=job.workers,
            micro_batch=job.micro_batch,
            checkpoint_backbone=job.checkpoint_backbone,
            sink=tensorboard_sink(scalars) if scalars else None,
            processes=self._processes,
            checkpoint_interval_s=interval_s(),
            should_stop=self._attempt.is_asked_to_stop,
            before_checkpoint=self._attempt.check_fence,
            on_progress=self._on_progress,
            watch=self._watch(),
        )
        self._measured = Measured(**trained.measured)
        if not trained.finished:
            raise StoppedError(f"stopped at iteration {trained.iteration}; the next attempt goes on from there")
        return trained.model

    def _watch(self) -> "Watch | None":
        from ifrvis.training.watch import Watch

        wanted = next(iter(self._job.evaluations), None)
        if wanted is None or wanted.protocol == "server" or not self._job.watch_videos:  # a server alone could score
            return None
        split, known = self._dataset.split(wanted.role), read_curve(self._run.curve)
        sizes = {"videos": self._job.watch_videos, "iterations": self._spec.iterations}
        return Watch(split.read(), split.frames, wanted.inference, **sizes, curve=known, publish=self._on_curve)

    def _on_curve(self, curve: Curve) -> None:
        self._heart.say(ap=list(curve.values())[-1])
        write_atomically(self._run.curve, canonical_json(curve))

    def _on_progress(self, progress: "Progress") -> None:
        self._heart.say(iteration=progress.iteration, loss=progress.loss, eta_s=progress.eta_s)
        if progress.iteration % 50 == 0:
            log.info("%s", progress.line())


if __name__ == "__main__":
    run_attempt(sys.argv[1])
    sys.exit(0 if _rank() or attempt_at(Path(sys.argv[1])).state() == "complete" else 1)
