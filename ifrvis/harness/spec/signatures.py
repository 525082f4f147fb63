"""The identity of a run: a hash of exactly what changes the numbers, and nothing else.

A signature is the SHA-256 of canonical JSON. Paths, workers, jobs, cluster and code are not part of it.
"""

from typing import Any

from ifrvis.files import canonical_json, sha256_bytes
from ifrvis.harness.spec.compose import Composed

SCORING_VERSION = 2  # raised when the same predictions would be scored differently
TRAIN_KEYS = (
    "model",
    "data",
    "pipeline",
    "sampler",
    "optimizer",
    "schedule",
    "iterations",
    "global_batch",
    "precision",
    "threads",
    "init",
    "seed",
)


def train_spec(composed: Composed, *, data: str | None, init: str | None, seed: int) -> dict[str, Any]:
    """Everything that decides the weights: the keys of `TRAIN_KEYS` and no others.

    Args:
        composed: A row's recipe after composition.
        data: Fingerprint of the training split; None where the data are missing.
        init: SHA-256 of the initial weights or the `train_sig` of a pretraining; None for a random start.
        seed: The run's seed.
    """
    values = {**composed.train, "model": composed.model, "data": data, "init": init, "seed": seed}
    return {key: values[key] for key in TRAIN_KEYS}


def train_signature(spec: dict[str, Any]) -> str:
    """Identity of a training: 64 hex digits."""
    assert set(spec) == set(TRAIN_KEYS)
    return _signature(spec)


def predictions_signature(train_sig: str, inference: dict[str, Any], split: str) -> str:
    """Identity of the predictions of one training on one split."""
    return _signature({"train_sig": train_sig, "inference": inference, "split": split})


def eval_signature(train_sig: str, inference: dict[str, Any], split: str, *, scoring: int | None = None) -> str:
    """Identity of a record: predictions and how they are scored (by default, today's way)."""
    predictions = predictions_signature(train_sig, inference, split)
    return _signature({"predictions": predictions, "scoring": SCORING_VERSION if scoring is None else scoring})


def run_name(method: str, backbone: str, dataset: str, changes: dict[str, Any], seed: int) -> str:
    """A readable name that depends on content alone, so that rows that share a training agree on it."""
    parts = [method, backbone]
    for key, value in sorted(changes.items()):
        text = str(value).lower() if isinstance(value, (str, int, float)) else ""
        parts.append("".join(c if c.isalnum() or c == "." else "_" for c in key.rsplit(".", 1)[-1] + text))
    return "-".join([*parts, dataset, f"s{seed}"])


def _signature(value: Any) -> str:
    return sha256_bytes(canonical_json(value))
