"""`ifrvis evaluate-model`: the instances of a row's held-out videos, by a checkpoint from elsewhere, scored."""

import argparse
import time
from pathlib import Path
from typing import Any

from ifrvis.commands.evaluate import show_scores
from ifrvis.commands.predict import Recipe, device_of, trained_model
from ifrvis.commands.selection import ROOTS, add_command, profile_of, whole
from ifrvis.commands.terminal import progress, show
from ifrvis.errors import UserError
from ifrvis.files import sha256_file


def add_commands(commands: Any) -> None:
    """Add `evaluate-model`."""
    text = "predict and score a row's held-out videos with a checkpoint from elsewhere, as a record of its own"
    parser = add_command(commands, "evaluate-model", _evaluate_model, text, "--profile", "--device", *ROOTS)
    text = "weights that `ifrvis weights convert --trained` wrote, or a checkpoint of a run"
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=text)
    text = "whose model, data set and inference these are"
    parser.add_argument("--row", required=True, metavar="TABLE/ROW", help=text)
    text = "id of the row of method `external` that shows the record (default: the id of --row)"
    parser.add_argument("--as", dest="shown_as", metavar="ID", help=text)
    parser.add_argument("--seed", type=whole(0), default=0, help="whose record it is (default: 0)")


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
    check_name(shown.id, "the row that --as names")
    digest, store = sha256_file(arguments.checkpoint), Store(arguments.results)
    check_free(store, profile, external_name(row.backbone, shown.id, arguments.seed), digest)
    annotations, device = split.read(), device_of(arguments.device)
    recipe = Recipe(
        arguments.checkpoint, composed.model, composed.inference, split.dataset, 0, composed.train["precision"]
    )
    model, videos, began = trained_model(recipe, len(annotations.categories)).to(device), [], time.monotonic()
    with progress("predicting") as on_videos:
        for video in predict_split(model, annotations, split.frames, composed.inference, seed=arguments.seed):
            videos.append(video)
            on_videos(len(videos), len(annotations.videos))
    frames = sum(video.length for video in videos)
    cost = Cost(prediction_seconds=round(time.monotonic() - began, 3), frames=frames)
    given = Given(arguments.checkpoint, "weights", digest, arguments.seed, composed.inference, videos, cost)
    path, record = publish_external(store, shown, profile, split, given)
    show_scores({name: record.shown.get(name) for name in table.metrics})
    show(f"wrote {path}")
    return 0
