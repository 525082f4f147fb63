"""`ifrvis data ...`: make data, split them, check them, look at them, import and export them."""

import argparse
import io
import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ifrvis.commands.selection import ROOTS, add_command, file_of, number, refuse, whole
from ifrvis.commands.terminal import answer, progress, say, show
from ifrvis.errors import UserError, nearest
from ifrvis.files import publish_once, read_bytes, read_json, write_atomically

FEW_VIDEOS = 20  # held out: the numbers of fewer say little


def add_commands(commands: Any) -> None:
    """Add the commands about data."""
    parser = commands.add_parser("data", help="make, split, check and look at data")
    group = parser.add_subparsers(required=True, metavar="ACTION")
    parser = add_command(group, "make-mini", _make_mini, "make a synthetic set", *ROOTS)
    text = "mini19, mini21, mini-ovis, smoke19, ..., or a YAML file"
    parser.add_argument("sets", nargs="+", metavar="SET", help=text)
    text = "make dev too and draw videos of a set, as .png or .jpg"
    parser.add_argument("--contact-sheet", type=file_of(".png", ".jpg"), metavar="FILE", help=text)

    text = "list the videos that a dataset's rule holds out, with the split's fingerprint"
    parser = add_command(group, "split", _split, text, *ROOTS)
    parser.add_argument("dataset", help="ytvis19, ytvis21, ..., or a YAML file")
    text = "write train.json and heldout.json there, in the schema of YouTube-VIS, for other programs"
    parser.add_argument("--out", type=Path, metavar="DIR", help=text)

    text = "say what is missing or wrong in an installed dataset, and what to do about it"
    parser = add_command(group, "check", _check, text, "--json", *ROOTS)
    parser.add_argument("dataset", help="ytvis19, ytvis21, mini19, ..., or a YAML file")
    parser.add_argument("--decode", action="store_true", help="decode every frame, as training does")

    text = "count videos, instances, sizes, motion, overlaps, strata and categories"
    parser = add_command(group, "stats", _stats, text, "--json", *ROOTS)
    parser.add_argument("dataset", help="ytvis19, ytvis21, mini19, ..., or a YAML file")
    text = "train (default), heldout, full, or a mini set's pretrain, dev"
    parser.add_argument("--split", default="train", help=text)
    parser.add_argument("--videos", nargs="+", metavar="NAME", help="count these videos of it alone")
    text = "draw them, as .png, .pdf or .svg"
    parser.add_argument("--plot", type=file_of(".png", ".pdf", ".svg"), metavar="FILE", help=text)

    parser = add_command(group, "import", _import, "make a set of masks in another format, ready to train on", *ROOTS)
    text = "davis, cvat (for video), coco (with track_id or --link) or mots (KITTI's PNGs or text)"
    parser.add_argument("format", choices=("davis", "cvat", "coco", "mots"), metavar="FORMAT", help=text)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the folder or file of masks")
    parser.add_argument("--out", type=Path, required=True, metavar="SET", help="folder of the set, whose name it takes")
    parser.add_argument("--frames", type=Path, metavar="DIR", help="where the frames are, where SOURCE does not say it")
    text = "name what the format only counts: for all, or GLOB=NAME for video/object (davis) or class (mots)"
    parser.add_argument("--category", action="append", default=[], metavar="NAME", help=text)
    text = "link masks without identity that overlap in neighbouring frames"
    parser.add_argument("--link", choices=("overlap",), help=text)
    parser.add_argument("--heldout", type=whole(), default=0, metavar="N", help="videos to hold out (default: a fifth)")
    text = "videos whose names match are held out together, as parts of one; may be repeated"
    parser.add_argument("--group", action="append", default=[], metavar="GLOB", help=text)
    parser.add_argument("--void", type=whole(0, 255), metavar="VALUE", help="davis: the value of pixels of no object")
    parser.add_argument("--annotated-only", action="store_true", help="davis: leave out frames without masks")

    parser = add_command(group, "export", _export, "write a set, or predictions, in another format", *ROOTS)
    parser.add_argument("format", choices=("davis", "coco"), metavar="FORMAT", help="davis or coco (with track_id)")
    parser.add_argument("dataset", metavar="SET", help="ytvis19, ytvis21, mini19, ..., or a YAML file")
    parser.add_argument("--out", type=Path, required=True, help="a new folder, or for coco a .json file")
    parser.add_argument("--split", default="full", help="full (default), train, heldout, ...")
    parser.add_argument("--videos", nargs="+", metavar="NAME", help="these videos of it alone")
    text = "write these predictions instead of the set's tracks: a results file, or a run's predictions.json.gz"
    parser.add_argument("--predictions", type=Path, metavar="FILE", help=text)
    parser.add_argument("--min-score", type=number(0, 1), help="of predictions (default: 0, all)")


def _make_mini(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from ifrvis.datasets.catalog import load_dataset

    console, sheet = Console(), arguments.contact_sheet
    if sheet and len(arguments.sets) > 1:
        raise UserError(f"Give one set with --contact-sheet: of {len(arguments.sets)}, the last would be drawn alone.")
    for name in arguments.sets:
        dataset = load_dataset(name, arguments.data_root)
        if dataset.config.synthetic is None:
            raise UserError(f"Choose a synthetic set: {name} is made of files that nobody can make here.")
        roles = [role for role in dataset.made if sheet or role != "dev"]
        for role in roles:
            make_split(dataset, role, console)
        if sheet:
            from ifrvis.datasets.synthetic.contact_sheet import contact_sheet

            contact_sheet([dataset.files(role) for role in roles], sheet)
            say(console, f"drew {sheet}")
    return 0


def _split(arguments: argparse.Namespace) -> int:
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.datasets.splits import official

    dataset = load_dataset(arguments.dataset, arguments.data_root)
    split = dataset.split("heldout")
    if split.heldout is None:
        raise UserError(f"Choose a dataset with a rule 'heldout': {dataset.name} has none to draw by.")
    annotations = split.read()
    asked, videos = split.heldout.draw, annotations.videos
    fewer = f" (of {asked} to draw: groups stay whole)" if asked > len(videos) and not split.heldout.videos else ""
    show(f"{dataset.name}: {len(videos)} videos held out{fewer}, fingerprint {split.fingerprint}")
    show("\n".join(video.name for video in videos))
    if arguments.out:
        whole = read_json(split.annotation, "the annotation file")
        for part in (dataset.split("train"), split):
            chosen = part.read()
            info = {"dataset": dataset.name, "split": part.role, "fingerprint": part.fingerprint}
            path, data = arguments.out / f"{part.role}.json", json.dumps(official(whole, chosen, info)).encode()
            if not publish_once(path, data) and read_bytes(path) != data:
                raise UserError(f"Remove {path} if data or rule were changed on purpose: it holds another content.")
            show(f"{path}: {len(chosen.videos)} videos, {len(chosen.tracks)} tracks; frames are in {part.frames}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Exit 0: sound; 1: something is wrong; 2: not installed."""
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.datasets.check import check_dataset

    dataset = load_dataset(arguments.dataset, arguments.data_root)
    with progress(f"checking {dataset.name}") as update:
        checked = check_dataset(dataset, decode=arguments.decode, progress=update)
    content = [{**asdict(each), "annotation": str(each.annotation)} for each in checked]
    answer(arguments, content, (line for each in checked for line in _check_lines(each)))
    kinds = {finding.kind for each in checked for finding in each.findings if finding.level == "error"}
    return 2 if kinds == {"missing"} else 1 if kinds else 0


def check_own(dataset: Any) -> tuple[list[str], bool]:
    """What to know of a set of the user's own before rows are run on it, and whether they can be."""
    from ifrvis.datasets.check import check_dataset

    checked = check_dataset(dataset)
    lines = [line for each in checked for line in _check_lines(each)]
    if checked[0].is_sound:
        lines += held_out_lines(dataset)
    return lines, checked[0].is_sound


def held_out_lines(dataset: Any) -> list[str]:
    """What a data set is scored on: how many videos and objects, and which; a warning where they are few."""
    held_out = dataset.split("heldout").read()
    names, num_objects = [video.name for video in held_out.videos], len(held_out.tracks)
    line = f"held out, with {num_objects} objects in {len(names)} videos: {', '.join(names[:10])}"
    little = f"numbers of fewer than {FEW_VIDEOS} held-out videos say little; docs/data.md says how to choose them"
    more = f" and {len(names) - 10} more" * (len(names) > 10)
    return [line + more, *[f"warning: {little}"] * (len(names) < FEW_VIDEOS)]


def _check_lines(checked: Any) -> list[str]:
    counts = f": {checked.videos} videos, {checked.frames} frames, {checked.tracks} tracks"
    counts += f", fingerprint {checked.fingerprint}" * bool(checked.fingerprint)
    state = "sound" if checked.is_sound else "not sound"
    if any(finding.kind == "missing" for finding in checked.findings):
        state, counts = "not here", ""
    lines = [f"{checked.role}: {state}; {checked.annotation}{counts}"]
    return lines + [f"  {finding.level}, {finding.kind}: {finding.text}" for finding in checked.findings]


def _chosen(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The split that is asked for, and the annotations of the videos chosen of it."""
    from ifrvis.datasets.catalog import SYNTHETIC_SPLITS, Part, load_dataset

    dataset = load_dataset(arguments.dataset, arguments.data_root)
    made = dataset.config.synthetic
    videos = made.videos if made else {"train": 1, "test": 1}  # files have no other splits
    known = [role for role, of in SYNTHETIC_SPLITS.items() if videos.get(of)]
    if arguments.split not in known:
        came = f"got {arguments.split!r}{nearest(arguments.split, known)}"
        raise UserError(f"Choose --split among {', '.join(known)}: {came}.")
    split = dataset.split(arguments.split)
    return split, Part(videos=tuple(arguments.videos or ())).of(split.read())


def _stats(arguments: argparse.Namespace) -> int:
    from ifrvis.datasets.stats import draw_stats, stats_of

    stats = stats_of(_chosen(arguments)[1])
    answer(arguments, asdict(stats), _stats_lines(stats))
    if arguments.plot:
        import matplotlib as mpl
        from matplotlib.figure import Figure

        drawn = io.BytesIO()
        with mpl.rc_context():
            mpl.rcdefaults()  # whatever the user's own matplotlibrc says
            mpl.rcParams["text.parse_math"] = False  # a $ in a category's name begins no formula
            figure = Figure(figsize=(14, max(3, 0.16 * len(stats.categories))), layout="constrained")
            draw_stats(stats, figure.subplots(1, 4))
            figure.savefig(drawn, format=arguments.plot.suffix[1:].lower())
        write_atomically(arguments.plot, drawn.getvalue())
    return 0


def _stats_lines(stats: Any) -> list[str]:
    from statistics import fmean, median, quantiles

    def spread(values: list[int]) -> str:
        return f"{min(values)} to {max(values)}, mean {fmean(values):.2f}" if values else "none"

    def middle(values: list[float | None]) -> str:
        known = [value for value in values if value is not None] * 2  # of one, too, there are deciles
        if not known:
            return "none"
        tenths = quantiles(known, n=10)
        return f"median {median(known):.3f}, {tenths[0]:.3f} to {tenths[-1]:.3f} without a tenth at either end"

    frames, masks, overlaps = sum(stats.lengths), sum(stats.spans), [each or 0 for each in stats.overlaps]
    lasting = [length for length, tracks in zip(stats.lengths, stats.instances) for _ in range(tracks)]
    held = {key: sum(getattr(each, key) for each in stats.strata) for key in ("crossing", "occlusion", "twins", "long")}
    return [
        f"videos      {len(stats.lengths)}, {frames} frames, {spread(stats.lengths)} a video",
        f"instances   {sum(stats.instances)}, {spread(stats.instances)} a video; {masks / frames:.2f} a frame",
        f"presence    {spread(stats.spans)} frames an instance, {masks / max(1, sum(lasting)):.1%} of its video",
        f"area        {middle(stats.areas)}, share of the frame",
        f"motion      {middle(stats.motions)}, diameters a frame",
        f"overlap     {fmean(overlaps):.3f} of what boxes cover (mBOR)",
        f"strata      {', '.join(f'{name} {count}' for name, count in held.items())} of {len(stats.strata)} videos",
        f"categories  {', '.join(f'{name} {count}' for name, count in stats.categories.items())}",
    ]


def make_split(dataset: Any, role: Any, console: Any) -> None:
    """Make one split of a synthetic set, with a progress bar."""
    with progress(f"making {dataset.name} {role}", console) as update:
        dataset.make(role, update)
    say(console, f"made {dataset.split(role).annotation}")


def _import(arguments: argparse.Namespace) -> int:
    """Exit 0: the set can be trained and scored on; 1: it cannot."""
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.datasets.exchange.sets import import_set
    from ifrvis.datasets.splits import HeldOut

    rule = HeldOut(draw=arguments.heldout, groups=tuple(arguments.group))
    path, notes = import_set(
        arguments.format,
        arguments.source,
        arguments.out,
        frames=arguments.frames,
        given=arguments.category,
        rule=rule,
        link=arguments.link is not None,
        void=arguments.void,
        annotated_only=arguments.annotated_only,
    )
    lines, sound = check_own(load_dataset(str(path), arguments.data_root))
    show("\n".join([*(f"note: {note}" for note in notes), *lines]))
    if sound:
        show(f"`ifrvis run TABLE --dataset {shlex.quote(str(path))}` trains on the others")
    return 0 if sound else 1


def _export(arguments: argparse.Namespace) -> int:
    from ifrvis.datasets.exchange.exporting import export_coco, export_davis
    from ifrvis.datasets.ytvis import Track

    if not arguments.predictions:
        refuse(arguments, "without --predictions no track has a score", "--min-score")
    split, annotations = _chosen(arguments)
    scores, tracks = dict[Any, float](), list[Track]()
    if arguments.predictions:
        from ifrvis.evaluation.predictions import read_tracks

        wanted, found = annotations.video_by_id, read_tracks(arguments.predictions, split.read(), "queries")
        kept = [each for each in found if each.score >= (arguments.min_score or 0) and each.video_id in wanted]
        for id_, each in enumerate(kept, start=1):
            scores[id_] = each.score
            tracks.append(Track(id_, each.video_id, each.category_id, each.masks, (None,) * len(each.masks)))
        annotations = replace(annotations, tracks=tuple(tracks))
    out = arguments.out
    if arguments.format == "davis":
        objects = tuple(track for track in annotations.tracks if not track.is_crowd)
        more = f"; crowds left out: {crowds}" if (crowds := len(annotations.tracks) - len(objects)) else ""
        annotations = replace(annotations, tracks=objects)
        if layered := export_davis(annotations, split.frames, out):
            more += f"; masks of {', '.join(layered)} share pixels: a folder an object"
    else:
        more, out = "", out if out.suffix == ".json" else out / "instances.json"
        export_coco(annotations, scores, out)
    show(f"{out}: {len(annotations.videos)} videos, {len(annotations.tracks)} tracks{more}")
    return 0
