"""`ifrvis predict`: instances in any video, as results JSON and as a video to look at."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.selection import add_command, root_arguments
from ifrvis.errors import UserError

if TYPE_CHECKING:
    import torch

    from ifrvis.datasets.ytvis import Id
    from ifrvis.inference.sources import FrameSource

__all__ = ["add_commands"]

VIDEO_ROLES = ("full", "heldout", "dev", "pretrain", "server")  # where a data set's videos are looked for


def add_commands(commands: Any) -> None:
    """Add `predict`."""
    add_command(commands, "predict", _predict, "find the instances of any video and draw them over it", _arguments)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="RUN_OR_CHECKPOINT", help="a run's name, or its beginning; or a .pth file")
    text = "a folder of frames, a video file, or DATASET:NAME of a data set's video, such as ytvis19:0a49f5265b"
    parser.add_argument("video", metavar="VIDEO", help=text)
    parser.add_argument("--out", type=Path, help="folder of results.json and overlay.mp4 (default: predicted-<video>)")
    parser.add_argument("--draw-above", type=float, default=0.3, help="score of what is drawn (default: 0.3)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="inference.KEY=VALUE", help="change the inference"
    )
    parser.add_argument(
        "--memory-gib", type=float, help="bound on the memory beside the model: takes longer if it binds"
    )
    parser.add_argument("--device", help="cpu, cuda or cuda:1 (default: the first GPU if there is one)")
    group = parser.add_argument_group("a .pth file outside a run", "what it was trained as")
    group.add_argument("--method", help="mask2former, ours, ...")
    group.add_argument("--backbone", help="r50, swin-l, ...")
    group.add_argument("--profile", default="paper", help="paper, mini, smoke, or a YAML file (default: paper)")
    parser.add_argument("--dataset", help="whose categories the model knows (default: the run's)")
    root_arguments(parser)


@dataclass(frozen=True)
class _Recipe:
    """What has to be known of a checkpoint to predict with it."""

    weights: Path
    model: dict[str, Any]
    inference: dict[str, Any]
    dataset: str
    seed: int


def _predict(arguments: argparse.Namespace) -> int:
    import json
    import os
    import warnings

    # What OpenCV and FFmpeg cannot read is said below.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from ifrvis.evaluation.predictions import results_of
    from ifrvis.files import write_atomically
    from ifrvis.inference.modes import check_length, check_memory, predict_video
    from ifrvis.inference.overlay import write_overlay
    from ifrvis.training.build import build_model
    from ifrvis.training.weights import load_trained

    warnings.filterwarnings("ignore", message="torch.meshgrid")  # of the host
    recipe, device = _recipe(arguments), _device(arguments.device)
    names = _names(recipe.dataset, arguments.data_root)
    source, title = _source(arguments)
    check_length(recipe.inference, source)
    model = _quietly(build_model, recipe.model, seed=0)
    if len(names) != model.track_head.num_classes:
        raise UserError(
            f"Give the data set whose categories the model knows with --dataset: it has {model.track_head.num_classes} "
            f"classes, {recipe.dataset} has {len(names)}."
        )
    load_trained(model, recipe.weights)
    check_memory(model, source, recipe.inference, arguments.memory_gib)
    out = arguments.out or Path(f"predicted-{title}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Choose another --out: {out} cannot be made ({error.strerror}).") from error
    print(
        f"{title}: {source.length} frames of {source.width} x {source.height}, {recipe.weights}, {device}", flush=True
    )
    with _progress() as on_frames:
        options = {"seed": recipe.seed, "memory_gib": arguments.memory_gib, "on_frames": on_frames}
        found = predict_video(model.to(device), source, recipe.inference, list(names), **options)
    write_atomically(out / "results.json", json.dumps([each.to_json() for each in results_of([found])]))
    drawn = write_overlay(out / "overlay.mp4", source, found, names, min_score=arguments.draw_above)
    print(f"wrote {out / 'results.json'}: {len(found.by_class)} tracks")
    print(f"wrote {out / 'overlay.mp4'}: {drawn} instances with a score above {arguments.draw_above:g}")
    return 0


def _recipe(arguments: argparse.Namespace) -> _Recipe:
    from ifrvis.harness.compose import parse_override

    overrides = dict(parse_override(text) for text in arguments.set)
    path = Path(arguments.model)
    if not path.is_file():
        from ifrvis.harness.runs import Results

        return _recipe_of_run(
            arguments, Results(arguments.results).one_run_named(arguments.model).folder, None, overrides
        )
    folder = next((each for each in path.resolve().parents if (each / "spec.json").is_file()), None)
    if folder is not None:
        return _recipe_of_run(arguments, folder, path, overrides)
    return _recipe_of_file(arguments, path, overrides)


def _recipe_of_run(
    arguments: argparse.Namespace, folder: Path, path: Path | None, overrides: dict[str, Any]
) -> _Recipe:
    """What a run was trained as and asked for; its newest checkpoint if `path` is None."""
    from ifrvis.files import read_json
    from ifrvis.harness.attempts import attempts_of
    from ifrvis.harness.compose import choose_inference
    from ifrvis.harness.runs import Results
    from ifrvis.training.checkpoints import newest_valid

    spec = read_json(folder / "spec.json", "the configuration of a run")
    signature = str(spec.get("train_sig")) if isinstance(spec, dict) else ""
    run = Results(folder.parents[1]).run(folder.name.rpartition("-")[0], signature)
    train, attempts = run.read_spec()["train"], attempts_of(run)
    if not attempts:
        raise UserError(f"Start {run.folder.name} first: nothing was ever asked of it.")
    job = attempts[-1].submission()
    if path is None:
        checkpoint = newest_valid([each.checkpoints for each in attempts], train_sig=signature)
        if checkpoint is None and not run.weights.exists():
            raise UserError(f"Train {run.folder.name} first: it has no checkpoint.")
        path = run.weights if checkpoint is None else checkpoint.path
    inference = choose_inference(job["evaluations"][0]["inference"], overrides)
    return _Recipe(path, train["model"], inference, arguments.dataset or job["dataset"], train["seed"])


def _recipe_of_file(arguments: argparse.Namespace, path: Path, overrides: dict[str, Any]) -> _Recipe:
    """What the options say that a file was trained as."""
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.harness.compose import compose, load_profile
    from ifrvis.harness.tables import Row

    if not (arguments.method and arguments.backbone and arguments.dataset):
        raise UserError(
            f"Say with --method, --backbone and --dataset what {path} was trained as: it is in no run's folder."
        )
    row = Row(f"{arguments.method}-{arguments.backbone}-ytvis19", arguments.method, arguments.backbone, "ytvis19")
    num_classes = load_dataset(arguments.dataset, arguments.data_root).config.categories
    composed = compose(row, load_profile(arguments.profile), overrides, num_classes=num_classes)
    if composed.not_implemented:
        raise UserError(f"Correct --method and --backbone: {composed.not_implemented}.")
    return _Recipe(path, composed.model, composed.inference, arguments.dataset, 0)


def _quietly(build: Any, *args: Any, **kwargs: Any) -> Any:
    """Build a model without the host's warning that it starts from no weights: they are loaded in a moment."""
    import logging

    logging.disable(logging.WARNING)
    try:
        return build(*args, **kwargs)
    finally:
        logging.disable(logging.NOTSET)


def _device(name: str | None) -> "torch.device":
    import torch

    from ifrvis.training.build import pick_device

    if name is None:
        return pick_device()
    try:
        return torch.zeros(1, device=name).device
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"Choose another --device than {name!r}: {str(error).splitlines()[0]}") from error


def _names(dataset: str, data_root: Path) -> "dict[Id, str]":
    """Names of the classes by category id, in order; numbers where the data set is not here."""
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.errors import DataMissingError

    known = load_dataset(dataset, data_root)
    try:
        annotations = known.split("train").read()
    except DataMissingError:
        return {number: f"class {number}" for number in range(1, known.config.categories + 1)}
    names = {category.id: category.name for category in annotations.categories}
    return {category_id: names[category_id] for category_id in annotations.labels}


def _source(arguments: argparse.Namespace) -> "tuple[FrameSource, str]":
    """The frames of the video that is asked for, and a name for it."""
    from ifrvis.inference.sources import open_source

    path = Path(arguments.video)
    dataset, colon, name = arguments.video.rpartition(":")
    if path.exists() or not colon:
        return open_source(path), path.resolve().stem
    return _dataset_video(dataset, name, arguments.data_root), name.replace("/", "-")


def _dataset_video(dataset: str, name: str, data_root: Path) -> "FrameSource":
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.inference.sources import dataset_source

    known, seen = load_dataset(dataset, data_root), 0
    for role in VIDEO_ROLES:
        if role == "server" and known.config.server is None:
            continue
        split = known.split(role)
        if split.fingerprint is None or split.makeable:
            continue
        for video in split.read().videos:
            seen += 1
            if name in (video.name, str(video.id)):
                return dataset_source(video, split.frames)
    if not seen:
        raise UserError(known.split("full").missing)
    raise UserError(f"Correct the name of the video: none of {dataset} has the name or the id {name!r}.")


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar that `predict_video` moves."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("predicting")
        yield lambda done, total: progress.update(task, completed=done, total=total)
