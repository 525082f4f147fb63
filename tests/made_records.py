"""Records and runs made up, which say nothing that does not agree."""

from ifrvis.datasets import catalog
from ifrvis.evaluation.scores import Scores
from ifrvis.files import canonical_json, sha256_bytes
from ifrvis.harness.spec.signatures import SCORING_VERSION, TrainSpec, eval_signature, train_signature
from ifrvis.harness.store.lives import Asked, Submission
from ifrvis.harness.store.paths import Spec
from ifrvis.harness.store.provenance import Code, Hardware, Provenance
from ifrvis.harness.store.records import Data, Record, Server

PROVENANCE = Provenance(
    code=Code(version="1", commit="c" * 40),
    versions={"torch": "2"},
    hardware=Hardware(machine="x86_64", processor="one", cores=2, system="linux"),
)
WHOLE = {"mode": "whole", "side": 48}


def made_train(seed=0, **changes):
    """A specification that trains nothing."""
    parts = {"model": {"type": "x"}, "pipeline": {}, "sampler": {}, "optimizer": {"lr": 1e-05}, "schedule": {}}
    sizes = {"iterations": 4, "global_batch": 2, "precision": "fp32", "threads": 1}
    return TrainSpec(**{**parts, **sizes, "data": "d" * 64, "init": None, "seed": seed, **changes})


def made_run(store, seed=0):
    """A run of it, with its `spec.json`."""
    train = made_train(seed)
    run = store.run(f"mask2former-r50-ytvis19-s{seed}", train_signature(train))
    run.write_spec(train)
    return run


def asked(**changes):
    """What an attempt may be asked for."""
    said = {"profile": "mini", "method": "mask2former", "backbone": "r50", "dataset": "mini19"}
    return Submission(**{**said, "data_root": "data", "role": "train", "evaluations": (), **changes})


def evaluation(inference=WHOLE, split="e" * 64, protocol="heldout"):
    """One of the evaluations that an attempt may be asked for."""
    parts = {"inference": inference, "split": split, "protocol": protocol, "role": protocol}
    return Asked(eval_sig=sha256_bytes(canonical_json(parts)), off_spec=False, **parts)


def iteration(attempt):
    """How far an attempt is, if it has come to its training."""
    said = attempt.progress() if attempt else None
    return (said.iteration if said else None) or 0


def made_record(metrics=None, *, name=None, train=None, split="e" * 64, part=catalog.WHOLE, scores=None, **changes):
    """A record of the run of a specification; what is not given agrees with what is."""
    said = {"method": "mask2former", "backbone": "r50", "dataset": "mini19", "profile": "mini", "off_spec": False}
    said |= {"origin": "trained", "protocol": "heldout", "init": None, "inference": WHOLE, "scoring": SCORING_VERSION}
    said |= {"files": {}, "provenance": PROVENANCE, **changes}
    train = train or made_train()
    name = name or f"{said['method']}-{said['backbone']}-ytvis19-s{train.seed}"
    server = said["protocol"] == "server"
    sig, scored_on = train_signature(train), "server" if server else split
    agreeing = {
        "role": "server" if server else "heldout",
        "train_sig": sig,
        "eval_sig": eval_signature(sig, said["inference"], scored_on, scoring=said["scoring"]),
        "spec": Spec(name=name, train_sig=sig, train=train),
        "data": Data(train=train.data, evaluation=split, part=part),
        "server": Server(address="a server", said="AP: 0.4") if server else None,
    }
    scores = scores or Scores(metrics={"AP": 0.5} if metrics is None else metrics)
    known = {field: getattr(scores, field) for field in Scores.model_fields}
    return Record(**{"name": name, "seed": train.seed, **agreeing, **known, **said})


def record_of(training, evaluation, metrics=None, **changes):
    """A record of a planned evaluation."""
    said = {key: getattr(training, key) for key in ("name", "method", "backbone")} | {"init": training.init_name}
    said |= {"dataset": training.dataset.name, "protocol": evaluation.protocol, "role": evaluation.split.role}
    said |= {"inference": evaluation.inference, "off_spec": evaluation.off_spec, "profile": "smoke"} | changes
    if evaluation.protocol == "server":
        said["origin"] = "server"
    return made_record(
        metrics, train=training.spec, split=evaluation.split.fingerprint, part=evaluation.split.part, **said
    )
