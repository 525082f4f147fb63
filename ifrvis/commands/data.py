"""`ifrvis data ...`: make data, split them, and look at them."""

import argparse
from pathlib import Path
from typing import Any

from ifrvis.commands.selection import add_command, root_arguments
from ifrvis.errors import UserError

__all__ = ["add_commands", "make_split"]


def add_commands(commands: Any) -> None:
    """Add the commands about data."""
    group = commands.add_parser("data", help="make, split and look at data").add_subparsers(
        required=True, metavar="ACTION"
    )
    add_command(group, "make-mini", _make_mini, "make a synthetic set", _make_mini_arguments)
    text = "list the videos that a dataset's rule holds out, with the split's fingerprint"
    add_command(group, "split", _split, text, _split_arguments)


def _make_mini_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sets", nargs="+", metavar="SET", help="mini19, mini21, smoke19, smoke21, or a YAML file")
    parser.add_argument("--contact-sheet", type=Path, metavar="PNG", help="draw some of the held-out videos")
    root_arguments(parser)


def _make_mini(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from ifrvis.datasets.catalog import load_dataset

    console = Console()
    for name in arguments.sets:
        dataset = load_dataset(name, arguments.data_root)
        if dataset.config.synthetic is None:
            raise UserError(f"Choose a synthetic set: {name} is made of files that nobody can make here.")
        for role in ("train", "heldout"):
            make_split(dataset, role, console)
        if arguments.contact_sheet:
            from ifrvis.datasets.contact_sheet import contact_sheet

            split = dataset.split("heldout")
            contact_sheet(split.annotation, split.frames, arguments.contact_sheet)
            console.print(f"drew {arguments.contact_sheet}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _split_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", help="ytvis19, ytvis21, ..., or a YAML file")
    root_arguments(parser)


def _split(arguments: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.files import publish_once

    dataset = load_dataset(arguments.dataset, arguments.data_root)
    split = dataset.split("heldout")
    if split.heldout is None:
        raise UserError(f"Choose a dataset with a rule 'heldout': {dataset.name} has none to draw by.")
    videos = [{"id": video.id, "name": video.name} for video in split.read().videos]
    content = {"dataset": dataset.name, "rule": asdict(split.heldout), "fingerprint": split.fingerprint}
    path = arguments.data_root / "splits" / f"{dataset.name}-heldout.json"
    data = json.dumps({**content, "videos": videos}, indent=1).encode() + b"\n"
    if not publish_once(path, data) and path.read_bytes() != data:
        raise UserError(f"Remove {path} if data or rule were changed on purpose: it lists another split.")
    print(f"{path}: {len(videos)} videos held out, fingerprint {split.fingerprint}")
    return 0


def make_split(dataset: Any, role: Any, console: Any) -> None:
    """Make one split of a synthetic set, with a progress bar."""
    from rich.progress import Progress

    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"making {dataset.name} {role}", total=None)
        dataset.make(role, lambda done, total: bar.update(task, completed=done, total=total))
    console.print(f"made {dataset.split(role).annotation}", highlight=False, markup=False, soft_wrap=True)
