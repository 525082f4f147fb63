"""Weights by name: those that a recipe's `train.init` names, and those of pretrainings that come with the program.

data/weights/<name>.pth                what `ifrvis weights convert` made; a .json beside it says what it is
experiments/weights/<name>.pth, .json  half-precision tensors as a pretraining publishes them; its train_sig, their
                                       sha256, and the command that makes them again
"""

import os
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from ifrvis.errors import UserError
from ifrvis.files import open_file, read_json, read_yaml, seen_in, sha256_file
from ifrvis.harness.spec.profiles import PRETRAINING
from ifrvis.packed import packed
from ifrvis.schema import NAME, check_name


class Given(NamedTuple):
    """The weights that `--init` gives."""

    path: Path  # where they lie
    # What `ifrvis weights convert` says that they are, beside them or beside their like under the data root; else the
    # name of the file.
    name: str
    sha256: str | None  # none where there is no such file


def given_weights(path: Path, data_root: Path) -> Given:
    """The weights in a file, under the name that is known of them; UserError if nothing is known of them and the file
    has no ending, so that it may be called like known ones.
    """
    if not os.path.lexists(path):  # what is no regular file is said when it is read
        return Given(path, path.name, None)
    open_file(path, "the initial weights").close()  # a pointer has a digest, too
    digest = sha256_file(path)
    said = map(said_of, [path, *seen_in(data_root / "weights", ".json")])
    names = [each["name"] for each in said if each.get("sha256") == digest and _can_be_named(each.get("name"))]
    if not names and not path.suffix:
        raise UserError(f"Rename {path} to end in .pth: nothing says what these weights are.")
    return Given(path, names[0] if names else path.name, digest)


def left_to_chance(weights: Path) -> str:
    """What their description says that weights leave to a random start; empty where it says nothing."""
    random = said_of(weights).get("random")
    parts = random.items() if isinstance(random, dict) else ()
    return "; ".join(f"{count} x {reason}" for reason, count in parts if type(count) is int)


def _can_be_named(name: Any) -> bool:
    return isinstance(name, str) and NAME.fullmatch(name) is not None and name != PRETRAINING


def said_of(weights: Path) -> dict[str, Any]:
    """What `ifrvis weights convert` says of weights beside them; nothing where that is missing or broken."""
    try:
        said = read_json(weights.with_suffix(".json"), "the description of weights")
    except UserError:
        return {}
    return said if isinstance(said, dict) else {}


def named_weights(name: str, data_root: Path) -> tuple[Path, str | None, str]:
    """The weights `name`: their path, their SHA-256 if they are there and what their name says, else what to do;
    UserError if the name cannot be a file's.

    `ifrvis weights convert` writes beside each file what it is; a file of another name is taken with `--init` alone.
    """
    check_name(name, where="the initial weights that train.init names")
    path = data_root / "weights" / f"{name}.pth"
    if not os.path.isfile(path):  # noqa: PTH113  never raises
        return path, None, f"Put the initial weights where they are expected: {path} does not exist.{_how(name, path)}"
    digest = sha256_file(path)
    said = said_of(path)
    if (said.get("name"), said.get("sha256")) == (name, digest):
        return path, digest, ""
    shown = said.get("name") if said.get("sha256") == digest else "nothing that is known"
    cure = f"Move {path} (and its .json) away and convert the initial weights, or give it as --init"
    text = f"{cure}: it holds {shown}, not {name}."
    return path, None, text + _how(name, path)


def _how(name: str, path: Path) -> str:
    sources = read_yaml(packed("experiments", "weights", "sources.yaml"), "the sources of weights")
    if name not in sources:
        return ""
    address, _, file = sources[name].partition(" as ")
    command = shlex.join(["ifrvis", "weights", "convert", file or address.rpartition("/")[2], str(path)])
    return f" Download {sources[name]} and run `{command}`."


def shipped_weights(train_sig: str) -> Path | None:
    """The shipped weights of a pretraining, if any are; UserError if the file is not what its description names."""
    for description in seen_in(packed("experiments", "weights"), ".json"):
        said = read_json(description, "the description of shipped weights")
        if isinstance(said, dict) and said.get("train_sig") == train_sig:
            weights = description.with_suffix(".pth")
            if not weights.is_file() or sha256_file(weights) != said.get("sha256"):
                raise UserError(
                    f"Restore {weights}, or add --no-shipped-weights to make it again: it is gone or changed."
                )
            return weights
    return None
