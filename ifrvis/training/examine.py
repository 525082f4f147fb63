"""What a checkpoint alone shows of a wrong set-up: what is not in it, is of another shape, or was never trained."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifrvis.errors import UserError
from ifrvis.evaluation.symptoms import Symptom
from ifrvis.training.build import build_model
from ifrvis.training.renames import to_host_names
from ifrvis.training.weights import COMPUTED, NEVER_LOADED, load_initial_weights, read_weights

UNTRAINED_SHARE = 0.1  # of the tensors; of one that trained for an iteration none is as it was


def checkpoint_symptoms(
    path: Path, config: Mapping[str, Any], *, seed: int, start: Path | None, iterations: int
) -> list[Symptom]:
    """What is wrong in a checkpoint, the gravest first; UserError if it cannot be read, or nobody knows its names.

    It is of a run, or weights of a program whose names are known, and should be of the model of `config`. `seed` is
    that of its random start, `start` the initial weights, where they are here, `iterations` what its training should
    have.
    """
    weights, content = read_weights(path)
    given = {name: each for name, each in to_host_names(weights).tensors.items() if not name.endswith(COMPUTED)}
    model = build_model(config, seed=seed)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    own = {name: each.clone() for name, each in model.state_dict().items() if not name.endswith(COMPUTED)}
    found = [*_misfits(given, own)]
    done = content.get("iteration")
    if type(done) is int and done < iterations:
        text = "never trained" if done == 0 else "cut short, with the rate of that time: size not known"
        found.append(Symptom("iterations behind the checkpoint", str(done), str(iterations), text))
    fits = [name for name in sorted(trained) if name in given and given[name].shape == own[name].shape]
    starts = [own]
    if start is not None:
        with contextlib.suppress(UserError):  # it need not be here any more
            load_initial_weights(model, start)
            starts.append(model.state_dict())
    untouched = {name for each in starts for name in fits if torch.equal(given[name], each[name].to(given[name].dtype))}
    head = {name for name in untouched if name.startswith(NEVER_LOADED)}
    if head or len(untouched) > UNTRAINED_SHARE * len(fits):
        parts = Counter(".".join(name.split(".")[:2]) for name in untouched).most_common(2)
        where = ", most in " + " and ".join(part for part, _ in parts) if len(untouched) < len(fits) else ""
        text = f"{len(untouched)} of {len(fits)} as at the start{where}"
        effect = "never trained, or not loaded: AP of chance"
        found.insert(0, Symptom("trained tensors", text, "none as at the start", effect))
    return found


def _misfits(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[Symptom]:
    """What a checkpoint lacks of a model, or has in another shape, the class head first."""
    lacks, more = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    other = sorted(name for name in own.keys() & given.keys() if given[name].shape != own[name].shape)
    is_head = partial(filter, lambda name: name.startswith(NEVER_LOADED))
    if head := next(is_head([*other, *lacks]), None):
        has = f"{len(given[head])} outputs" if head in given else "not in it"
        text = "of other classes" if head in given else "drawn at random where it is loaded so: AP of chance"
        yield Symptom("class head", has, f"{len(own[head])} outputs", text)
    for name in [name for name in other if name not in {*is_head(other)}][:1]:
        what = "queries" if "query" in name else f"shape of {name}"
        has, wants = (" x ".join(map(str, each[name].shape)) for each in (given, own))
        yield Symptom(what, has, wants, f"{len(other)} tensors have another shape: another model, or partly random")
    if rest := [name for name in lacks if name not in {*is_head(lacks)}]:
        text = "drawn at random where they are loaded so"
        yield Symptom("weights", f"{len(rest)} of {len(own)} lacking, as {rest[0]}", "all", text)
    elif more:
        yield Symptom("weights", f"{len(more)} more, as {more[0]}", "none more", "of another model", sure=False)
