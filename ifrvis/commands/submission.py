"""`ifrvis submission` and `ifrvis ingest`: predictions to a server, its scores back."""

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ifrvis.commands.meaning import lacking, run_meant
from ifrvis.commands.selection import ROOTS, RUN, add_command, profile_of, refuse
from ifrvis.commands.terminal import show
from ifrvis.errors import UserError
from ifrvis.files import sha256_file

if TYPE_CHECKING:
    from ifrvis.datasets.catalog import Split
    from ifrvis.datasets.ytvis import Annotations
    from ifrvis.evaluation.predictions import VideoPredictions
    from ifrvis.harness.store.lives import Asked, Submission
    from ifrvis.harness.store.paths import Run


def add_commands(commands: Any) -> None:
    """Add the commands about an evaluation server."""
    text = "write the zip that a YouTube-VIS server takes, or check one"
    parser = add_command(commands, "submission", _submission, text, *RUN, *ROOTS)
    text = "a row, a run's name, its beginning or folder; or a predictions or results file"
    parser.add_argument("run", nargs="?", help=text)
    parser.add_argument("--check", type=Path, metavar="ZIP", help="check this zip instead of writing one")
    parser.add_argument("--row", metavar="TABLE/ROW", help="whose inference, where a run has predicted in several ways")
    parser.add_argument("--annotation", type=Path, help="JSON of the split (default: the one that the run predicted)")
    parser.add_argument("--out", type=Path, default=Path("results.zip"), help="default: ./results.zip")

    text = "keep a server's scores of a run's zip, or score what another program predicted, as records of their own"
    parser = add_command(commands, "ingest", _ingest, text, *RUN, *ROOTS)
    parser.add_argument("run", nargs="?", help="a row, or the name of a run, its beginning or its folder")
    parser.add_argument("--zip", type=Path, help="the zip that the server was given")
    parser.add_argument("--scores", type=Path, help="what the server gave back: JSON, or `name: value`")
    parser.add_argument("--server", default="", help="where the scores come from, such as a web address")
    text = "what _S and _L mean in its output: take the lines of `short` or `long` videos alone; or `sizes` of objects"
    parser.add_argument("--half", choices=("short", "long", "sizes"), help=text)
    parser.add_argument("--percent", action="store_true", help="the server's values are percent")
    group = parser.add_argument_group("another program's predictions, without a run")
    text = "results.json, or predictions.json.gz, one for each of the table's seeds in their order"
    group.add_argument("--predictions", nargs="+", default=[], type=Path, metavar="FILE", help=text)
    group.add_argument("--table", help="a table or a YAML file, with a row that says `method: external`")
    group.add_argument("--row", help="the id of that row")
    group.add_argument("--absent-are-empty", action="store_true", help="videos without an entry have no track")


def _submission(arguments: argparse.Namespace) -> int:
    from ifrvis.evaluation.predictions import read_tracks
    from ifrvis.evaluation.submission import read_submission, write_submission

    if (arguments.run is None) == (arguments.check is None):
        raise UserError("Give either a run to pack or --check ZIP.")
    if arguments.check or Path(arguments.run).is_file():
        refuse(arguments, "a file is of no run", "--row", "--seed")
    if arguments.check:
        annotations = _annotations(arguments, None)
        tracks = read_submission(arguments.check, annotations)
        show(f"{arguments.check} is sound: {len(tracks)} tracks in {len(annotations.videos)} videos")
        return 0
    path, packed = Path(arguments.run), None
    if not path.is_file():
        packed = _packed(arguments)
        path = packed.path
    tracks = read_tracks(path, _annotations(arguments, packed), "entries")
    write_submission(arguments.out, tracks, comment=packed.signature if packed else "")
    show(f"wrote {arguments.out}: {len(tracks)} tracks, SHA-256 {sha256_file(arguments.out)}")
    return 0


class _Packed(NamedTuple):
    """Predictions of a run, and what was asked for."""

    run: "Run"
    job: "Submission"
    asked: "Asked"

    @property
    def path(self) -> Path:
        return self.run.predictions(self.asked.inference, self.asked.split)

    @property
    def signature(self) -> str:
        """The identity of the predictions, which a zip of them carries as its comment."""
        from ifrvis.harness.spec.signatures import predictions_signature

        return predictions_signature(self.run.train_sig, self.asked.inference, self.asked.split)


def _predicted(arguments: argparse.Namespace) -> list[_Packed]:
    """Everything that the run was asked to predict, and has."""
    from ifrvis.harness.store.attempts import asked_of, latest

    run = run_meant(arguments, arguments.run)
    if latest(run) is None:
        if here := run.all_predictions():
            raise UserError(f"Give a file of {here[0].parents[1]} and --annotation: {run.name} was not trained here.")
        raise lacking(arguments, arguments.run, run, "predictions")
    found = {each.path: each for each in (_Packed(run, *pair) for pair in asked_of(run))}
    return [each for path, each in found.items() if path.is_file()]


def _packed(arguments: argparse.Namespace) -> _Packed:
    """The predictions of a run; of several, those of a row's inference."""
    from ifrvis.harness.spec.compose import row_inference
    from ifrvis.harness.spec.profiles import load_profile
    from ifrvis.harness.spec.tables import find_row

    found = _predicted(arguments)
    if arguments.row is not None:
        found = [each for each in found if each.asked.part == find_row(arguments.row)[1].part]
        rows = {each.job.profile: row_inference(arguments.row, load_profile(each.job.profile)) for each in found}
        found = [each for each in found if each.asked.inference == rows[each.job.profile]]
    if len(found) != 1:
        known = ", ".join(str(each.path) for each in found) or "none"
        raise UserError(
            f"Name one row with --row table/row, or give the predictions file itself and --annotation: those of "
            f"{arguments.run}{' under this row' if arguments.row else ''} are {known}."
        )
    return found[0]


def _annotations(arguments: argparse.Namespace, packed: _Packed | None) -> "Annotations":
    """The annotations asked for, or those of the split that was predicted."""
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.datasets.ytvis import read_annotations

    if arguments.annotation:
        return read_annotations(arguments.annotation, tracks_required=False)
    if packed is None:
        raise UserError("Give --annotation, the JSON of the split that the file is about.")
    split = load_dataset(packed.job.dataset, arguments.data_root).split(packed.asked.role, packed.asked.part)
    if split.fingerprint != packed.asked.split:
        what = f"the {split.role} split of {split.dataset}"
        raise UserError(f"Give --annotation: {what} is no longer what was predicted.")
    return split.read()


def _ingest(arguments: argparse.Namespace) -> int:
    files = arguments.predictions
    for_server, for_row = (arguments.run, arguments.zip, arguments.scores), (arguments.table, arguments.row)
    if files and all(for_row) and not any(for_server):
        why = "files are of the table's seeds in their order, and are scored here"
        refuse(arguments, why, "--seed", "--half", "--percent", "--server")
        return _ingest_external(arguments, files)
    if not all(for_server) or files or any(for_row):
        raise UserError("Give a run, --zip and --scores; or --predictions FILE ..., --table and --row.")
    refuse(arguments, "a server has scored every video", "--absent-are-empty")
    return _ingest_scores(arguments)


def _ingest_external(arguments: argparse.Namespace, files: list[Path]) -> int:
    """Score what another program predicted, a file a seed; all files are read before one is scored."""
    from ifrvis.evaluation.scores import SHOWN
    from ifrvis.harness.spec.tables import EXTERNAL, check_rows, load_table
    from ifrvis.harness.store.external import Given, held_out, publish_external
    from ifrvis.harness.store.paths import Store

    table = load_table(arguments.table)
    check_rows([table], [arguments.row])
    row = next(each for each in table.rows if each.id == arguments.row)
    if not row.is_external:
        raise UserError(f"Choose a row that says `method: external`: what {row.id} shows is trained here.")
    if len(files) > len(table.seeds):
        seeds = ", ".join(map(str, table.seeds))
        raise UserError(f"Give at most {len(table.seeds)} files: {table.name} declares seeds {seeds}.")
    profile = profile_of(arguments)[0]
    split = held_out(row, profile, arguments.data_root)
    annotations, found, known = split.read(), [], dict[str, Path]()
    for seed, path in zip(table.seeds, files):
        digest = sha256_file(path)
        if digest in known:
            raise UserError(f"Give each seed a file of its own: {path} is the same as {known[digest]}.")
        known[digest] = path
        videos = _read_of(path, split, annotations, profile.datasets.get(row.dataset, row.dataset))
        absent = sum(not video.by_class for video in videos)
        if absent and path.suffix != ".gz" and not arguments.absent_are_empty:
            raise UserError(
                f"Predict again, or add --absent-are-empty: {path} has no entry of {absent} of the "
                f"{len(annotations.videos)} videos of the split."
            )
        found.append(Given(path, "submission", digest, seed, {"mode": EXTERNAL}, videos))
    for each in found:
        path, record = publish_external(Store(arguments.results), row, profile, split, each)
        shown = {name: record.metrics[name] for name in ("AP", "IDF1")}
        numbers = ", ".join(f"{name} {'undefined' if x is None else f'{100 * x:.2f}'}" for name, x in shown.items())
        show(f"seed {each.seed}: {each.file}: {numbers} (of tracking protocol {SHOWN}); wrote {path}")
    return 0


def _read_of(path: Path, split: "Split", annotations: "Annotations", dataset: str) -> "tuple[VideoPredictions, ...]":
    """What a file predicts of the videos of a split; UserError as `read_videos_of`, or if it has others of the set."""
    from ifrvis.datasets.catalog import Part
    from ifrvis.evaluation.predictions import read_videos_of

    try:
        return read_videos_of(path, annotations)
    except UserError:
        if path.suffix == ".gz":
            raise
        whole = replace(split, heldout=None, part=Part(frames=split.part.frames)).read()
        wanted = annotations.video_by_id
        found = (each.video_id for each in read_videos_of(path, whole) if each.by_class)
        if (other := next((each for each in found if each not in wanted), None)) is None:
            raise
        cure = f"Score the {len(wanted)} held-out videos alone, which `ifrvis data split {shlex.quote(dataset)}` lists"
        what = f"video {other!r} ({whole.video_by_id[other].name}) in {path} is not held out"
        raise UserError(f"{cure}: {what}.") from None


def _ingest_scores(arguments: argparse.Namespace) -> int:
    from ifrvis.datasets.catalog import load_dataset
    from ifrvis.evaluation.submission import comment_of, passed_over, read_server_scores
    from ifrvis.harness.store.making import server_record
    from ifrvis.harness.store.records import Server, publish_record

    comment = comment_of(arguments.zip)
    packed = next((each for each in _predicted(arguments) if each.signature == comment), None)
    if packed is None:
        raise UserError(f"Use a zip that `ifrvis submission {arguments.run}` wrote: this is of no predictions of it.")
    metrics, said = read_server_scores(arguments.scores, percent=arguments.percent, half=arguments.half)
    record = server_record(
        packed.run,
        packed.job,
        packed.asked,
        metrics,
        dataset=load_dataset(packed.job.dataset, arguments.data_root).name,
        server=Server(address=arguments.server, said=said, half=arguments.half),
        files={"submission": sha256_file(arguments.zip), "scores": sha256_file(arguments.scores)},
    )
    path = record.path(packed.run.store)
    if not publish_record(packed.run.store, record):
        raise UserError(f"Remove {path} if these scores shall take its place: the run has scores of a server already.")
    show(f"wrote {path}: {', '.join(metrics)}")
    if unknown := passed_over(said, arguments.half):
        show(f"not taken, {len(unknown)} of its lines: {'; '.join(unknown)}")
    return 0
