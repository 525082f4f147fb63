"""A record, put together from what a run has kept."""

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ifrvis.errors import UserError
from ifrvis.evaluation.scores import Metrics, Scores
from ifrvis.files import read_json, sha256_file
from ifrvis.harness.spec import signatures
from ifrvis.harness.spec.weights import said_of
from ifrvis.harness.store.attempts import Attempt, attempts_of
from ifrvis.harness.store.lives import Asked, Life, Submission
from ifrvis.harness.store.paths import Run
from ifrvis.harness.store.provenance import provenance
from ifrvis.harness.store.records import Cost, Data, FileKind, Measured, NotLoaded, Record, Server, read_curve
from ifrvis.schema import validated


def trained_record(
    attempt: Attempt,
    asked: Asked,
    scores: Scores,
    facts: Mapping[str, Any],
    measured: Measured,
    *,
    dataset: str,
    determinism: Literal["bitwise", "seeded"],
    seconds: float,
) -> Record:
    """The record of an evaluation that an attempt, which trained, predicted or scored last, has come to in so many
    seconds; `facts` are those of its training (`training.facts`).
    """
    run, job = attempt.run, attempt.submission()
    files: dict[FileKind, str] = {"predictions": sha256_file(run.predictions(asked.inference, asked.split))}
    if run.weights.exists():
        files["weights"] = sha256_file(run.weights)
    return Record(
        **dict(scores),
        **_identity(run, job, asked),
        origin="trained",
        dataset=dataset,
        files=files,
        determinism=determinism,
        started_from=facts.get("started_from"),
        final_weights=facts.get("final_weights"),
        not_loaded=NotLoaded(**facts.get("not_loaded", {})),
        loss=facts.get("loss", {}),
        cost=_cost(facts.get("cost", {}), run.prediction_cost(asked.inference, asked.split)),
        measured=measured,
        initial_weights=said_of(Path(job.init)) or None if job.init else None,
        curve=read_curve(run.curve),
        attempts=tuple(_life(each, seconds if each == attempt else None) for each in attempts_of(run)),
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def server_record(
    run: Run,
    job: Submission,
    asked: Asked,
    metrics: Metrics,
    *,
    dataset: str,
    server: Server,
    files: dict[FileKind, str],
) -> Record:
    """The record of the scores that a server gave to predictions that an attempt was asked for."""
    return Record(
        **_identity(run, job, asked.model_copy(update={"protocol": "server"})),
        origin="server",
        dataset=dataset,
        files=files,
        metrics=metrics,
        server=server,
    )


def _identity(run: Run, job: Submission, asked: Asked) -> dict[str, Any]:
    """Which run was evaluated how, and by what."""
    spec, by_server = run.read_spec(), asked.protocol == "server"
    scored_on = "server" if by_server else asked.split
    return {
        **{key: getattr(job, key) for key in ("profile", "method", "backbone")},
        **{key: getattr(asked, key) for key in ("inference", "role", "protocol", "off_spec")},
        "name": run.name,
        "train_sig": run.train_sig,
        "eval_sig": signatures.eval_signature(run.train_sig, asked.inference, scored_on),
        "seed": spec.train.seed,
        "init": job.init_name,
        "scoring": signatures.SCORING_VERSION,
        "spec": spec,
        "data": Data(train=spec.train.data, evaluation=asked.split, part=asked.part),
        "provenance": provenance(spec.train.model),
    }


def _life(attempt: Attempt, seconds: float | None) -> Life:
    ending = attempt.ended()
    if ending is None:
        return Life(reason=attempt.state(), kind="", seconds=seconds)
    return Life(reason=ending.reason, kind=ending.kind, seconds=ending.seconds)


def _cost(of_training: Mapping[str, Any], of_prediction: Path) -> Cost:
    """What a record took; nothing of predictions whose own file is lost or cannot be used."""
    trained = Cost(**of_training)
    try:
        return validated(Cost, {**trained.model_dump(), **read_json(of_prediction)}, str(of_prediction))
    except (UserError, TypeError):
        return trained
