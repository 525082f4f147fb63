"""One attempt of a run: spec path in, records out. All that joins the harness to training.

    python -m ifrvis.worker results/runs/<run>/attempts/0001

It goes on from the newest valid checkpoint of any earlier attempt, predicts and scores what the attempt is asked
for, and publishes the records. What exists already is not made again. Where the environment sets RANK and WORLD_SIZE
(see `training.processes`), several processes train together, and the first alone does all the rest.

IFRVIS_CHECKPOINT_INTERVAL_S, in seconds, is what a run that is killed loses at most (default: 120).
"""

import contextlib
import dataclasses
import logging
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from ifrvis.datasets.catalog import Split, load_dataset
from ifrvis.datasets.coco import StillSet, load_stills
from ifrvis.errors import UserError
from ifrvis.evaluation.scores import Scores
from ifrvis.files import canonical_json, publish_once, read_json, sha256_file, write_atomically
from ifrvis.harness.jobs.worker_life import StoppedError, attempt_at, live
from ifrvis.harness.spec.allowed import check_training
from ifrvis.harness.spec.signatures import SCORING_VERSION
from ifrvis.harness.store.attempts import Attempt, attempts_of
from ifrvis.harness.store.provenance import Gpus, provenance
from ifrvis.harness.store.records import Data, FileKind, Life, NotLoaded, Record, publish_record
from ifrvis.schema import is_number

log = logging.getLogger("ifrvis")


def run_attempt(folder: str) -> None:
    """Live one attempt, or help its first process to train; how it ended is in its `exit.json`."""
    if _rank():
        _Worker(attempt_at(Path(folder)), {}).help_train()
    else:
        live(folder, lambda attempt, progress: _Worker(attempt, progress).work())


def main(arguments: list[str] | None = None) -> int:
    """Run one attempt from the command line."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        print("Give the folder of one attempt: python -m ifrvis.worker results/runs/<run>/attempts/0001")
        return 2
    run_attempt(given[0])
    return 0 if _rank() or (attempt_at(Path(given[0])).ending() or {}).get("reason") == "complete" else 1


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


class _Worker:
    """The steps of one attempt, in order: train, predict, score, publish."""

    def __init__(self, attempt: Attempt, progress: dict[str, Any]) -> None:
        self._attempt = attempt
        self._progress = progress
        self._job = attempt.submission()
        self._spec = attempt.run.read_spec()
        check_training(self._spec.train.model_dump(), f"{attempt.run.folder}/spec.json")
        self._dataset = load_dataset(self._job["dataset"], Path(self._job["data_root"]))
        self._not_loaded: dict[str, Any] | None = None
        self._cost: dict[str, Any] = {}
        self._gpus: Gpus | None = None
        self._model: Any = None
        self._started = time.monotonic()

    def work(self) -> None:
        self._check_clips()
        if self._wants_weights():
            self._publish_weights()
        for evaluation in self._job["evaluations"]:
            path = self._record_path(evaluation)
            if evaluation["protocol"] == "server" and not path.exists():
                self._predictions(evaluation)  # its record comes from a server, by `ifrvis ingest`
            elif not path.exists():
                record = self._record(evaluation)
                self._attempt.check_fence()
                publish_record(self._attempt.run.store, record)

    def _check_clips(self) -> None:
        """Find videos that are too short for a clip before hours of training."""
        for evaluation in self._job["evaluations"]:
            if evaluation["inference"]["mode"] == "clips" and not self._record_path(evaluation).exists():
                from ifrvis.inference.modes import check_lengths

                split = self._split(evaluation["role"], evaluation["split"])
                check_lengths(evaluation["inference"], split.read().videos)

    def help_train(self) -> None:
        """Train beside the first process if it trains; all the rest is its own affair."""
        missing = [each for each in self._job["evaluations"] if not self._record_path(each).exists()]
        if self._wants_weights() or not all(self._predictions_path(each).exists() for each in missing):
            with contextlib.suppress(StoppedError):
                self._train()

    def _wants_weights(self) -> bool:
        return self._job["publish_weights"] and not self._attempt.run.weights.exists()

    def _record_path(self, evaluation: dict[str, Any]) -> Path:
        run = self._attempt.run
        return run.store.record(self._job["profile"], run.name, run.train_sig, evaluation["eval_sig"])

    def _record(self, evaluation: dict[str, Any]) -> Record:
        import torch

        predictions = self._predictions(evaluation)
        scores = self._scores(predictions, evaluation)
        run, spec = self._attempt.run, self._spec
        files: dict[FileKind, str] = {"predictions": sha256_file(predictions)}
        if run.weights.exists():
            files["weights"] = sha256_file(run.weights)
        return Record(
            **{name: getattr(scores, name) for name in Scores.model_fields},
            **{key: self._job[key] for key in ("profile", "off_spec", "method", "backbone")},
            **{key: evaluation[key] for key in ("eval_sig", "protocol", "role", "inference")},
            origin="trained",
            name=run.name,
            train_sig=run.train_sig,
            seed=spec.train.seed,
            dataset=self._dataset.name,
            init=self._job["init_name"],
            scoring=SCORING_VERSION,
            spec=spec,
            data=Data(train=spec.train.data, evaluation=evaluation["split"]),
            files=files,
            provenance=provenance(self._gpus),
            determinism="seeded" if torch.cuda.is_available() else "bitwise",
            not_loaded=self._what_was_not_loaded(),
            initial_weights=self._initial_weights(),
            curve=self._curve(),
            attempts=tuple(self._life(each) for each in attempts_of(run)),
            **self._cost,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )

    def _life(self, attempt: Attempt) -> Life:
        """How an attempt ended; this one, so far."""
        so_far = round(time.monotonic() - self._started, 3) if attempt.number == self._attempt.number else None
        ending = attempt.ending() or {"reason": attempt.state(), "kind": "", "seconds": so_far}
        return Life(**{key: ending[key] for key in ("reason", "kind", "seconds")})

    def _what_was_not_loaded(self) -> NotLoaded:
        """What the initial weights left out; where an earlier attempt trained and predicted, its checkpoint knows."""
        from ifrvis.training.checkpoints import newest_valid
        from ifrvis.training.convert import why_random

        if self._not_loaded is None:
            checkpoint = newest_valid(self._checkpoint_folders(), train_sig=self._attempt.run.train_sig)
            self._not_loaded = dict(checkpoint.state["not_loaded"]) if checkpoint else {}
        at_random = [*self._not_loaded.get("missing", []), *self._not_loaded.get("mismatched", [])]
        reasons = {reason: tuple(names) for reason, names in why_random(at_random).items()}
        return NotLoaded(**{key: tuple(names) for key, names in self._not_loaded.items()}, reasons=reasons)

    def _initial_weights(self) -> Any:
        """What `ifrvis weights convert` says of the file that training starts from; None if it says nothing."""
        try:
            return read_json(Path(self._job["init"]).with_suffix(".json")) if self._job["init"] else None
        except UserError:
            return None

    def _checkpoint_folders(self) -> list[Path]:
        return [each.checkpoints for each in attempts_of(self._attempt.run)]

    def _scores(self, predictions: Path, evaluation: dict[str, Any]) -> Scores:
        from ifrvis.evaluation.scoring import scores_of_file

        self._progress["phase"] = "scoring"
        annotations = self._split(evaluation["role"], evaluation["split"]).read()
        log.info("scoring %s", predictions)
        return scores_of_file(annotations, predictions)

    def _predictions(self, evaluation: dict[str, Any]) -> Path:
        from ifrvis.evaluation.predictions import write_predictions
        from ifrvis.inference.modes import predict_split

        path = self._predictions_path(evaluation)
        if path.exists():
            return path
        model = self._trained_model()
        split = self._split(evaluation["role"], evaluation["split"])
        annotations = split.read()
        self._progress.update(phase="predicting", iteration=0, iterations=len(annotations.videos))
        videos = []
        seed = self._spec.train.seed
        for video in predict_split(model, annotations, split.frames, evaluation["inference"], seed=seed):
            videos.append(video)
            self._progress["iteration"] = len(videos)
            self._stop_if_asked()
        self._attempt.check_fence()
        write_predictions(path, videos)
        return path

    def _predictions_path(self, evaluation: dict[str, Any]) -> Path:
        return self._attempt.run.predictions(evaluation["inference"], evaluation["split"])

    def _trained_model(self) -> Any:
        if self._model is None:
            self._model = self._train()
        return self._model

    def _train(self) -> Any:
        from ifrvis.training.loop import train
        from ifrvis.training.processes import join_processes
        from ifrvis.training.progress import tensorboard_sink

        data, mixed = self._spec.train.data, self._job.get("stills")
        split = self._split(self._job["role"], None if mixed else data)
        annotations = split.read()
        stills = (self._stills(mixed, split).read(annotations.categories), mixed["ratio"]) if mixed else None
        self._progress.update(phase="training", iterations=self._spec.train.iterations)
        writes_scalars = self._job["tensorboard"] and not _rank()
        with join_processes() as processes:
            trained = train(
                self._spec.train.model_dump(),
                train_sig=self._attempt.run.train_sig,
                annotations=annotations,
                frames_root=split.frames,
                stills=stills,
                folder=self._attempt.checkpoints,
                resume_from=self._checkpoint_folders(),
                init_weights=Path(self._job["init"]) if self._job["init"] else None,
                workers=self._job["workers"],
                micro_batch=self._job["micro_batch"],
                checkpoint_backbone=self._job["checkpoint_backbone"],
                sink=tensorboard_sink(self._attempt.folder / "tensorboard") if writes_scalars else None,
                processes=processes,
                checkpoint_interval_s=_checkpoint_interval_s(),
                should_stop=self._attempt.is_asked_to_stop,
                before_checkpoint=self._attempt.check_fence,
                on_progress=self._on_progress,
                watch=self._watch if self._job["watch_videos"] else None,
            )
        self._not_loaded = dataclasses.asdict(trained.not_loaded)
        self._gpus = Gpus(**trained.gpus) if trained.gpus else None
        self._cost = {key: getattr(trained, key) for key in ("waiting_for_data", "peak_gpu_memory_bytes")}
        if not trained.finished:
            raise StoppedError(f"stopped at iteration {trained.iteration}; the next attempt goes on from there")
        return trained.model

    def _watch(self, model: Any, iteration: int) -> None:
        """At the start and at each quarter: AP on a few held-out videos, for the live view and for `learned`."""
        from ifrvis.evaluation.ap import average_precision
        from ifrvis.evaluation.predictions import results_of
        from ifrvis.inference.modes import predict_split

        curve, wanted = self._curve(), self._job["evaluations"]
        iterations = self._spec.train.iterations
        due = iteration == iterations or iteration % -(-iterations // 4) == 0
        if not due or str(iteration) in curve or not wanted:
            return
        if wanted[0]["protocol"] == "server":  # nobody here has its ground truth
            return
        split = self._split(wanted[0]["role"], wanted[0]["split"])
        annotations = split.read()
        step = max(1, len(annotations.videos) // self._job["watch_videos"])
        watched = annotations.subset({video.id for video in annotations.videos[::step]})
        results = results_of(predict_split(model, watched, split.frames, wanted[0]["inference"]))
        curve[str(iteration)] = average_precision(watched, results)["AP"]
        self._progress["ap"] = curve[str(iteration)]
        write_atomically(self._attempt.run.curve, canonical_json(curve))

    def _curve(self) -> dict[str, float | None]:
        try:
            curve = read_json(self._attempt.run.curve, "the curve of a run")
        except UserError:  # it is not there yet, or cannot be used: the quarters behind are lost, no more
            return {}
        sound = isinstance(curve, dict) and all(value is None or is_number(value) for value in curve.values())
        return curve if sound else {}

    def _publish_weights(self) -> None:
        """Publish the trained weights in half precision, the form in which they are shipped too."""
        from ifrvis.training.weights import packed_weights

        weights = packed_weights(self._trained_model())
        self._attempt.check_fence()
        publish_once(self._attempt.run.weights, weights)

    def _on_progress(self, progress: Any) -> None:
        self._progress.update(iteration=progress.iteration, loss=progress.loss, eta_s=progress.eta_s)
        if progress.iteration % 50 == 0:
            parts = ", ".join(f"{name} {value:.3f}" for name, value in progress.loss_parts.items())
            log.info("iteration %d/%d loss %.3f (%s)", progress.iteration, progress.iterations, progress.loss, parts)

    def _stop_if_asked(self) -> None:
        if self._attempt.is_asked_to_stop():
            raise StoppedError("stopped while predicting; the next attempt predicts again from the trained weights")

    def _split(self, role: Any, fingerprint: str | None) -> Split:
        """A split of the dataset; UserError if its fingerprint is not the one that is given."""
        split = self._dataset.split(role)
        if fingerprint is not None:
            _check_unchanged(f"the {role} split of {split.dataset}", fingerprint, split.fingerprint)
        return split

    def _stills(self, mixed: dict[str, Any], split: Split) -> StillSet:
        """The stills among the clips; with the split they must be what was planned."""
        stills = load_stills(mixed["dataset"], self._dataset)
        if stills.missing:
            raise UserError(stills.missing)
        found = stills.joint_fingerprint(split.fingerprint or "", mixed["ratio"])
        what = f"the {split.role} split of {split.dataset} with its stills"
        _check_unchanged(what, self._spec.train.data, found)
        return stills


def _check_unchanged(what: str, planned: str | None, found: str | None) -> None:
    if found != planned:
        raise UserError(
            f"Start the row again: {what} has changed since this run was planned (its fingerprint was {planned} "
            f"and is {found or 'missing'})."
        )


def _checkpoint_interval_s() -> float:
    given = os.environ.get("IFRVIS_CHECKPOINT_INTERVAL_S", "120")
    try:
        return float(given)
    except ValueError:
        raise UserError(f"Set IFRVIS_CHECKPOINT_INTERVAL_S to seconds, or unset it: got {given!r}.") from None


if __name__ == "__main__":
    sys.exit(main())
