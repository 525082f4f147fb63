"""`ifrvis data import` and `ifrvis data export`: sets from other formats, and in them."""

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from ifrvis.commands.selection import ROOTS, add_command, number, refuse, whole
from ifrvis.commands.terminal import show


def add_exchange(group: Any) -> None:
    """Add both to the commands about data."""
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


def _import(arguments: argparse.Namespace) -> int:
    """Exit 0: the set can be trained and scored on; 1: it cannot."""
    from ifrvis.commands.data import check_own
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
    from ifrvis.commands.data import chosen
    from ifrvis.datasets.exchange.exporting import export_coco, export_davis
    from ifrvis.datasets.ytvis import Track

    if not arguments.predictions:
        refuse(arguments, "without --predictions no track has a score", "--min-score")
    split, annotations = chosen(arguments)
    scores: dict[Any, float] = {}
    if arguments.predictions:
        from ifrvis.evaluation.predictions import read_tracks

        whole_split = split.read()
        wanted, found = annotations.video_by_id, read_tracks(arguments.predictions, whole_split, "queries")
        kept = [each for each in found if each.score >= (arguments.min_score or 0) and each.video_id in wanted]
        scores = {id_: each.score for id_, each in enumerate(kept, start=1)}
        tracks = (
            Track(id_, each.video_id, each.category_id, each.masks, (None,) * len(each.masks))
            for id_, each in enumerate(kept, start=1)
        )
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
