"""`ifrvis predict` and `ifrvis evaluate-model`: the instances of any video, as results JSON and as a video to look at;
those of a row's held-out videos by a checkpoint from elsewhere, scored.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ifrvis.commands.evaluate import show_scores
from ifrvis.commands.meaning import lacking, run_meant
from ifrvis.commands.selection import ROOTS, RUN, add_command, number, profile_of, refuse, whole
from ifrvis.commands.terminal import progress, show
from ifrvis.errors import DataMissingError, UserError, nearest, printable
from ifrvis.files import sha256_file, write_atomically, written

if TYPE_CHECKING:
    import torch

    from ifrvis.datasets.ytvis import Id
    from ifrvis.harness.store.paths import Run
    from ifrvis.inference.sources import FrameSource


def add_commands(commands: Any) -> None:
    """Add both."""
    text = "find the instances of any video and draw them over it"
    parser = add_command(commands, "predict", _predict, text, *RUN, "--device", *ROOTS)
    text = "a row, a run's name, its beginning or folder; or a .pth file"
    parser.add_argument("model", metavar="RUN_OR_CHECKPOINT", help=text)
    text = "a folder of frames, a video file, or DATASET:NAME or DATASET:SPLIT/id=ID of a set's, as ytvis19:0a49f5265b"
    parser.add_argument("video", metavar="VIDEO", help=text)
    parser.add_argument("--out", type=Path, help="folder of results.json and overlay.mp4 (default: predicted-<video>)")
    parser.add_argument("--draw-above", type=number(0, 1), default=0.3, help="score of what is drawn (default: 0.3)")
    text = "predict as this row does (default: each video as a whole, without test-time augmentation)"
    parser.add_argument("--row", metavar="TABLE/ROW", help=text)
    parser.add_argument("--set", action="append", default=[], metavar="inference.KEY=VALUE", help="another inference")
    text = "bound on the memory beside the model; less takes longer"
    parser.add_argument("--memory-gib", type=number(0, 100_000), help=text)
    parser.add_argument("--dataset", help="whose categories the model knows (default: the run's)")
    group = parser.add_argument_group("a .pth file outside a run", "what it was trained as, with --dataset")
    group.add_argument("--method", help="mask2former, ours, ...")
    group.add_argument("--backbone", help="r50, swin-l, ...")
    text = "refuse a video file of which fewer frames can be read than it says"
    parser.add_argument("--strict", action="store_true", help=text)

    text = "predict and score a row's held-out videos with a checkpoint from elsewhere, as a record of its own"
    parser = add_command(commands, "evaluate-model", _evaluate_model, text, "--profile", "--device", *ROOTS)
    text = "weights that `ifrvis weights convert --trained` wrote, or a checkpoint of a run"
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=text)
    text = "whose model, data set and inference these are"
    parser.add_argument("--row", required=True, metavar="TABLE/ROW", help=text)
    text = "id of the row of method `external` that shows the record (default: the id of --row)"
    parser.add_argument("--as", dest="shown_as", metavar="ID", help=text)
    parser.add_argument("--seed", type=whole(0), default=0, help="whose record it is (default: 0)")


class _Recipe(NamedTuple):
    """What has to be known of a checkpoint to predict with it."""

    weights: Path
    model: dict[str, Any]
    inference: dict[str, Any]
    dataset: str
    seed: int
    precision: str


def _predict(arguments: argparse.Namespace) -> int:
    # What OpenCV and FFmpeg cannot read is said below.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from ifrvis.evaluation.predictions import results_of
    from ifrvis.inference.encoding import check_memory
    from ifrvis.inference.modes import predict_video
    from ifrvis.inference.overlay import write_overlay

    recipe, device = _recipe(arguments), _device_of(arguments.device)
    names = _names(recipe.dataset, arguments.data_root)
    source, title = _source(arguments)
    if source.warning and arguments.strict:
        raise UserError(source.warning)
    model = _trained_model(recipe, len(names))
    check_memory(model.to(device), source, recipe.inference, arguments.memory_gib)
    out = arguments.out or Path(f"predicted-{title}")
    out.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=out).close()  # what cannot be written is refused before hours of work
    for name in ("results.json", "overlay.mp4"):
        written(out / name)
    if (out / "overlay.mp4").exists():  # it is written last
        raise UserError(f"Choose another --out, or remove {out}: a video was predicted there already.")
    show(f"{title}: {source.length} frames of {source.width} x {source.height}, {recipe.weights}, {device}", flush=True)
    if source.warning:
        print(f"ifrvis: {printable(source.warning)}", file=sys.stderr)
    with progress("predicting") as on_frames:
        options = {"seed": recipe.seed, "memory_gib": arguments.memory_gib, "on_frames": on_frames}
        found = predict_video(model, source, recipe.inference, list(names), **options)
    numbers = {scored.query: number for number, scored in enumerate(found.by_query, start=1)}
    entries = [
        each.to_json()
        | {"category": names[each.category_id], "instance": numbers.get(each.number)}
        | {"file": arguments.video, "fps": source.frame_rate}
        for each in results_of([found])
    ]
    write_atomically(out / "results.json", json.dumps(entries))
    show(f"wrote {out / 'results.json'}: {len(found.by_class)} tracks", flush=True)
    try:
        drawn, codec = write_overlay(out / "overlay.mp4", source, found, names, min_score=arguments.draw_above)
    except UserError as error:
        raise UserError(f"{error} The results are there, in {out / 'results.json'}.") from error
    of_all = f"{drawn} of {len(found.by_query)} instances, those with a score above {arguments.draw_above:g}"
    show(f"wrote {out / 'overlay.mp4'} ({codec}): {of_all} (--draw-above)")
    return 0


def _recipe(arguments: argparse.Namespace) -> _Recipe:
    from ifrvis.harness.spec.compose import parse_override
    from ifrvis.harness.store.paths import run_holding

    overrides, path = dict(parse_override(text) for text in arguments.set), Path(arguments.model)
    holder = None
    if path.is_file():
        refuse(arguments, f"{path} is one model", "--seed")
        if (holder := run_holding(path)) is None:
            refuse(arguments, f"{path} is of no run; --set says another inference", "--row")
            return _recipe_of_file(arguments, path, overrides)
    run = holder or run_meant(arguments, arguments.model)
    refuse(arguments, "a run says what it was trained as", "--method", "--backbone")
    return _recipe_of_run(run, path if holder else None, overrides, arguments)


def _recipe_of_run(run: "Run", path: Path | None, overrides: dict[str, Any], arguments: argparse.Namespace) -> _Recipe:
    """What a run was trained as, and how a row predicts with it; without one, whole videos without augmentation."""
    from ifrvis.harness.spec.allowed import check_training
    from ifrvis.harness.spec.compose import choose_inference, row_inference
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.harness.store.attempts import asked_of, checkpoint_folders
    from ifrvis.training.checkpoints import newest_valid

    folders = checkpoint_folders(run)
    if not folders:
        raise lacking(arguments, arguments.model, run, "checkpoint")
    train = run.read_spec().train
    check_training(train.model_dump(), str(run.spec))
    if path is None:
        checkpoint = newest_valid(folders, train_sig=run.train_sig)
        path = checkpoint.path if checkpoint else run.weights
        if not path.exists():
            raise lacking(arguments, arguments.model, run, "checkpoint")
    job, asked = asked_of(run)[0]
    if arguments.row:
        own = row_inference(arguments.row, load_profile(job.profile))
    else:
        plain = {key: value for key, value in asked.inference.items() if key != "recurrence"}
        own = choose_inference(plain, {"inference.mode": "whole", "inference.tta": None})
    inference, dataset = choose_inference(own, overrides), arguments.dataset or job.dataset
    return _Recipe(path, train.model, inference, dataset, train.seed, train.precision)


def _recipe_of_file(arguments: argparse.Namespace, path: Path, overrides: dict[str, Any]) -> _Recipe:
    """What the options say that a file was trained as."""
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.harness.spec.compose import compose
    from ifrvis.harness.spec.profiles import default_profiles, load_profile
    from ifrvis.harness.spec.recipes import names_of

    method, backbone, dataset = arguments.method, arguments.backbone, arguments.dataset
    if not (method and backbone and dataset):
        what = f"what {path} was trained as: it is in no run's folder"
        raise UserError(f"Say with --method, --backbone and --dataset {what}.")
    num_classes = load_dataset(dataset, arguments.data_root).config.categories
    profile = load_profile(arguments.profile) if arguments.profile else default_profiles()[0]
    schedule = names_of("schedules")[0]  # any: the model is the same
    composed = compose(method, backbone, schedule, profile, {"--set": overrides}, num_classes=num_classes)
    return _Recipe(path, composed.model, composed.inference, dataset, 0, composed.train["precision"])


def _trained_model(recipe: _Recipe, num_classes: int) -> Any:
    """The model of a recipe with its weights; UserError if they, or their classes, are others."""
    import torch

    from ifrvis.harness.spec.allowed import register_types
    from ifrvis.training.build import build_model, settle_torch
    from ifrvis.training.weights import load_trained

    known = recipe.model["track_head"]["num_classes"]
    if known != num_classes:
        raise UserError(
            f"Give the data set whose categories the model knows with --dataset: it has {known} classes, "
            f"{recipe.dataset} has {num_classes}."
        )
    settle_torch(torch.get_num_threads(), recipe.precision)  # as where the run predicts, but for the threads
    register_types(recipe.model)
    warnings.filterwarnings("ignore", message="torch.meshgrid")  # of the host
    model = build_model(recipe.model, seed=0)
    load_trained(model, recipe.weights)
    return model


def _device_of(name: str | None) -> "torch.device":
    """The device of this name, the best there is for None; UserError if there is none such."""
    import torch

    from ifrvis.training.processes import pick_device

    try:
        return torch.zeros(1, device=name or pick_device()).device
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"Choose another --device than {name!r}: {str(error).splitlines()[0]}") from error


def _names(dataset: str, data_root: Path) -> "dict[Id, str]":
    """Names of the classes by category id, in order; numbers where the data set is not here."""
    from ifrvis.datasets.catalog import load_dataset

    known = load_dataset(dataset, data_root)
    try:
        annotations = known.split("train").read()
    except DataMissingError:
        return {number: f"class {number}" for number in range(1, known.config.categories + 1)}
    names = {category.id: category.name for category in annotations.categories}
    return {category_id: names[category_id] for category_id in annotations.labels}


def _source(arguments: argparse.Namespace) -> "tuple[FrameSource, str]":
    """The frames of the video that is asked for, and a name for it."""
    from ifrvis.datasets.catalog import Role, load_dataset
    from ifrvis.inference.sources import dataset_source, open_source

    path, (dataset, colon, name) = Path(arguments.video), arguments.video.rpartition(":")
    if path.exists() or not colon:
        whole = path.resolve()
        return open_source(path), whole.name if path.is_dir() else whole.stem  # of a folder a dot ends no name
    try:
        known = load_dataset(dataset, arguments.data_root)
    except UserError as error:
        raise UserError(f"Give a file or folder here: {arguments.video} is none; or a set's: {error}") from error
    on_disk: tuple[Role, ...] = ("full", "heldout", "dev", "pretrain")
    roles = on_disk if known.config.server is None else ("full", "server")
    splits = [split for split in map(known.split, roles) if split.fingerprint and not split.makeable]
    if not splits:
        raise UserError(known.split("full").missing)
    found: dict[Any, Any] = {}  # by file and id: the splits of one file share their videos
    names: list[str] = []
    for split in splits:
        for video in split.read().videos:
            own = (video.name, str(video.id), f"id={video.id}")
            if name in (*own, *(f"{split.role}/{each}" for each in own)):
                found.setdefault((split.annotation, video.id), (split, video))
            names.append(video.name)
    if len(found) > 1:
        shown = " or ".join(f"{dataset}:{split.role}/id={video.id}" for split, video in found.values())
        raise UserError(f"Say which video is meant, {shown}: of each, {name!r} is the name or the id.")
    for split, video in found.values():
        return dataset_source(video, split.frames), name.replace("/", "-")
    near = nearest(name, names)
    raise UserError(f"Correct the name of the video: none of {dataset} has the name or the id {name!r}{near}.")


def _evaluate_model(arguments: argparse.Namespace) -> int:
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.harness.spec.request import TableRequest
    from ifrvis.harness.spec.signatures import external_name
    from ifrvis.harness.spec.tables import find_row
    from ifrvis.harness.store.external import Given, check_free, held_out, publish_external
    from ifrvis.harness.store.paths import Store
    from ifrvis.harness.store.records import Cost
    from ifrvis.inference.modes import predict_split
    from ifrvis.schema import check_name

    table, row = find_row(arguments.row)
    if not row.is_run:
        raise UserError(f"Choose a row that is trained: {row.id} says of no model how it predicts.")
    profile = profile_of(arguments)[0]
    specified = TableRequest((table,), profile).specify(row, lambda name: load_dataset(name, arguments.data_root))
    split, composed = held_out(row, profile, arguments.data_root), specified.composed
    shown = row.model_copy(update={"id": arguments.shown_as or row.id})
    check_name(shown.id, where="the row that --as names")
    digest, store = sha256_file(arguments.checkpoint), Store(arguments.results)
    check_free(store, profile, external_name(row.backbone, shown.id, arguments.seed), digest)
    annotations, device = split.read(), _device_of(arguments.device)
    precision = composed.train["precision"]
    recipe = _Recipe(arguments.checkpoint, composed.model, composed.inference, split.dataset, 0, precision)
    model, videos, began = _trained_model(recipe, len(annotations.categories)).to(device), [], time.monotonic()
    with progress("predicting") as on_videos:
        for video in predict_split(model, annotations, split.frames, composed.inference, seed=arguments.seed):
            videos.append(video)
            on_videos(len(videos), len(annotations.videos))
    cost = Cost(prediction_seconds=round(time.monotonic() - began, 3), frames=sum(video.length for video in videos))
    given = Given(arguments.checkpoint, "weights", digest, arguments.seed, composed.inference, videos, cost)
    path, record = publish_external(store, shown, profile, split, given)
    show_scores({name: record.shown.get(name) for name in table.metrics})
    show(f"wrote {path}")
    return 0
