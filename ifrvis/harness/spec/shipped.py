"""Pretrained weights that come with the program, found by the identity of the pretraining that made them.

experiments/weights/<name>.pth     half-precision tensors, as a pretraining publishes them
experiments/weights/<name>.json    train_sig, sha256, and the command that makes them again
"""

from pathlib import Path

from ifrvis.errors import UserError
from ifrvis.files import read_json, sha256_file
from ifrvis.packed import packed


def shipped_weights(train_sig: str) -> Path | None:
    """The shipped weights of one pretraining; None if they are not shipped.

    Raises:
        UserError: If the file is not the one that its description names.
    """
    for description in sorted(packed("experiments", "weights").glob("*.json")):
        said = read_json(description, "the description of shipped weights")
        if isinstance(said, dict) and said.get("train_sig") == train_sig:
            weights = description.with_suffix(".pth")
            if not weights.is_file() or sha256_file(weights) != said.get("sha256"):
                raise UserError(f"Restore {weights}, or add --no-shipped-weights to make it again: it was changed.")
            return weights
    return None
