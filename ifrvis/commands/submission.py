"""`ifrvis submission` and `ifrvis ingest`: predictions to a server, its scores back."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifrvis.commands.selection import add_command, root_arguments
from ifrvis.errors import UserError

if TYPE_CHECKING:
    from ifrvis.datasets.ytvis import Annotations
    from ifrvis.harness.store.paths import Run


def add_commands(commands: Any) -> None:
    """Add the commands about an evaluation server."""
    text = "write the zip that a YouTube-VIS server takes, or check one"
    add_command(commands, "submission", _submission, text, _submission_arguments)
    text = "keep the scores that a server gave to a run's zip, as a record marked external"
    add_command(commands, "ingest", _ingest, text, _ingest_arguments)


def _submission_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", help="a run's name, or its beginning; or a predictions or results file")
    parser.add_argument("--check", type=Path, metavar="ZIP", help="check this zip instead of writing one")
    parser.add_argument("--row", metavar="TABLE/ROW", help="whose inference, where a run has predicted in several ways")
    parser.add_argument("--annotation", type=Path, help="JSON of the split (default: the one that the run predicted)")
    parser.add_argument("--out", type=Path, default=Path("results.zip"), help="default: ./results.zip")
    root_arguments(parser)


def _ingest_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="the name of a run, or the beginning of it")
    parser.add_argument("--zip", type=Path, required=True, help="the zip that the server was given")
    parser.add_argument("--scores", type=Path, required=True, help="what the server gave back: JSON, or `name: value`")
    parser.add_argument("--server", default="", help="where the scores come from, such as a web address")
    parser.add_argument("--percent", action="store_true", help="the server's values are percent")
    root_arguments(parser)


def _submission(arguments: argparse.Namespace) -> int:
    from ifrvis.evaluation.predictions import read_tracks
    from ifrvis.evaluation.submission import read_submission, write_submission
    from ifrvis.files import sha256_file

    if (arguments.run is None) == (arguments.check is None):
        raise UserError("Give either a run to pack or --check ZIP.")
    if arguments.check:
        annotations = _annotations(arguments, None)
        tracks = read_submission(arguments.check, annotations)
        print(f"{arguments.check} is sound: {len(tracks)} tracks in {len(annotations.videos)} videos")
        return 0
    run = None if Path(arguments.run).is_file() else _run_named(arguments.results, arguments.run)
    path = _predictions(run, arguments.row) if run else Path(arguments.run)
    tracks = read_tracks(path, _annotations(arguments, run), "entries")
    write_submission(arguments.out, tracks, comment=path.parent.name if run else "")
    print(f"wrote {arguments.out}: {len(tracks)} tracks, SHA-256 {sha256_file(arguments.out)}")
    return 0


def _annotations(arguments: argparse.Namespace, run: "Run | None") -> "Annotations":
    """The annotations asked for, or those of the split that the run predicted."""
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.datasets.ytvis import read_annotations

    if arguments.annotation:
        return read_annotations(arguments.annotation, tracks_required=False)
    if run is None:
        raise UserError("Give --annotation, the JSON of the split that the file is about.")
    job, evaluation = _evaluation(run, _predictions(run, arguments.row).parent.name)
    split = load_dataset(job["dataset"], arguments.data_root).split(evaluation["role"])
    if split.fingerprint != evaluation["split"]:
        raise UserError(
            f"Give --annotation: the {split.role} split of {split.dataset} is no longer what was predicted."
        )
    return split.read()


def _ingest(arguments: argparse.Namespace) -> int:
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.evaluation.submission import comment_of, read_server_scores
    from ifrvis.files import sha256_file
    from ifrvis.harness.spec.signatures import SCORING_VERSION, eval_signature
    from ifrvis.harness.store.provenance import provenance
    from ifrvis.harness.store.records import Data, Record, Server, publish_record

    run = _run_named(arguments.results, arguments.run)
    job, evaluation = _evaluation(run, comment_of(arguments.zip))
    metrics, raw = read_server_scores(arguments.scores, percent=arguments.percent)
    eval_sig, spec = eval_signature(run.train_sig, evaluation["inference"], "server"), run.read_spec()
    record = Record(
        **{key: job[key] for key in ("profile", "off_spec", "method", "backbone")},
        origin="server",
        name=run.name,
        train_sig=run.train_sig,
        eval_sig=eval_sig,
        seed=spec.train.seed,
        dataset=load_dataset(job["dataset"], arguments.data_root).name,
        role=evaluation["role"],
        protocol="server",
        init=job["init_name"],
        inference=evaluation["inference"],
        scoring=SCORING_VERSION,
        spec=spec,
        data=Data(train=spec.train.data, evaluation=evaluation["split"]),
        metrics=metrics,
        server=Server(address=arguments.server, said=raw),
        files={"submission": sha256_file(arguments.zip), "scores": sha256_file(arguments.scores)},
        provenance=provenance(),
    )
    path = run.store.record(job["profile"], run.name, run.train_sig, eval_sig)
    if not publish_record(run.store, record):
        raise UserError(f"Remove {path} if these scores shall take its place: the run has scores of a server already.")
    print(f"wrote {path}")
    return 0


def _run_named(root: Path, name: str) -> "Run":
    from ifrvis.harness.store.attempts import latest
    from ifrvis.harness.store.paths import Store

    run = Store(root).one_run_named(name)
    attempt = latest(run)
    if attempt is None:
        raise UserError(f"Start {run.folder.name} first: nothing was ever asked of it.")
    return Store(root).run(run.name, str(attempt.submission()["train_sig"]))


def _predictions(run: "Run", row: str | None) -> Path:
    """The predictions of a run; of several, those of a row's inference."""
    found = sorted(run.folder.glob("predictions/*/predictions.json.gz"))
    if row is not None:
        wanted = _inference_of(run, row)
        found = [path for path in found if _evaluation(run, path.parent.name)[1]["inference"] == wanted]
    if len(found) != 1:
        known = ", ".join(str(path) for path in found) or "none"
        raise UserError(
            f"Name one row with --row table/row, or give the predictions file itself and --annotation: those of "
            f"{run.name}{' under this row' if row else ''} are {known}."
        )
    return found[0]


def _inference_of(run: "Run", name: str) -> dict[str, Any]:
    """How a row is evaluated, under the profile that the run was asked for in."""
    from ifrvis.harness.spec.compose import compose_row
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.harness.spec.tables import load_table
    from ifrvis.harness.store.attempts import attempts_of

    table, slash, row_id = name.rpartition("/")
    if not slash:
        raise UserError(f"Write --row table/row, as in --row table4/ours-swin-l-clip5-ytvis19: got {name!r}.")
    (row,) = load_table(table).selected([row_id])
    profile = load_profile(attempts_of(run)[-1].submission()["profile"])
    return compose_row(row, profile, {}, num_classes=1).inference


def _evaluation(run: "Run", folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an attempt of the run was asked for, and of that the evaluation whose predictions lie in `folder`."""
    from ifrvis.harness.store.attempts import attempts_of

    for attempt in reversed(attempts_of(run)):
        job = attempt.submission()
        for evaluation in job["evaluations"]:
            if run.predictions(evaluation["inference"], evaluation["split"]).parent.name == folder:
                return job, evaluation
    raise UserError(f"Use a zip that `ifrvis submission {run.name}` wrote: this is of no predictions of that run.")
