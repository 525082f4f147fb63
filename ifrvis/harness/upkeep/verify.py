"""Whether records, and the files that are kept of their runs, are what was written.

Predictions are found by their identity, whatever a record lists, and scored again where their ground truth is here:
only then is a record `recomputed`. Where they are not, AP, tracking metrics and identity errors are made again of what
lies beside the record (`from videos`). Anybody can write a digest, so `digest only` says no more than that nothing
contradicts it. Reports are `reporting.audit`'s matter.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ifrvis.datasets.catalog import Split, load_config, load_dataset
from ifrvis.errors import DataMissingError, UserError
from ifrvis.evaluation.scores import Scores
from ifrvis.evaluation.scoring import numbers_of, score_file
from ifrvis.evaluation.videos import Videos, read_videos
from ifrvis.files import canonical_json, read_bytes, read_json, seen_in, sha256_file
from ifrvis.harness.spec import signatures
from ifrvis.harness.spec.profiles import PRETRAINING, load_profile
from ifrvis.harness.spec.weights import shipped_weights
from ifrvis.harness.store.attempts import checkpoint_folders, latest
from ifrvis.harness.store.finding import Finding, held_against, same_to_rounding
from ifrvis.harness.store.paths import SPEC, Run, Store, run_at, videos_beside
from ifrvis.harness.store.records import Record, read_record, record_text
from ifrvis.packed import packed, packed_names


def verify_records(store: Store, data_root: Path, *, profiles: list[str], jobs: int = 1) -> Iterator[Finding]:
    """Check every record of some profiles, its scores, again where its ground truth is here, and the files that it
    names.
    """
    runs = {run.train_sig: run for run in store.runs()}
    for profile in profiles:
        for path in seen_in(store.records(profile), ".json"):
            try:
                record = read_record(path)
            except UserError as error:
                yield Finding("wrong", path, str(error))
                continue
            named = store.run(record.name, record.train_sig)  # a training can have run under two names
            run = named if named.folder.is_dir() else runs.get(record.train_sig, named)
            why = _what_is_wrong(record, path, run)
            yield Finding("wrong", path, why) if why else _verify_scores(record, path, run, data_root, jobs)
            yield from _verify_files(record, path, run)
        for path in store.widowed_videos(profile):
            yield Finding("not kept", path, "the record that it lies beside")


def _what_is_wrong(record: Record, path: Path, run: Run) -> str:
    """What contradicts a record without its predictions; empty where nothing does."""
    if read_bytes(path, "a record") != record_text(record).encode():
        return "it is not as it was written"
    if record.name != run.name:
        return f"its run is {run.name}"
    return _wrong_dataset(record)


def _wrong_dataset(record: Record) -> str:
    """Whether a record's data set is not the one that its profile gives to the rows of its name."""
    if record.off_spec or record.origin == "external" or record.profile not in packed_names("experiments", "profiles"):
        return ""  # it may be anybody's own
    profile, known = load_profile(record.profile), packed_names("experiments", "datasets")
    if record.method.startswith(PRETRAINING):
        given = {profile.pretraining.dataset} if profile.pretraining else set()
    else:
        rows = [name for name in {*known, *profile.datasets} if record.name.endswith(f"-{name}-s{record.seed}")]
        given = {profile.datasets.get(name, name) for name in rows}
    names = {load_config(name)[0].name for name in given}
    if not names or record.dataset in names:  # none: a row on a data set of its own YAML
        return ""
    return f"profile {record.profile} gives its row the data set {' or '.join(sorted(names))}"


def _verify_scores(record: Record, path: Path, run: Run, data_root: Path, jobs: int) -> Finding:
    """Score the predictions of a record again, if all that it takes is here; else sum up its videos."""
    predictions = run.predictions(record.inference, record.data.evaluation)
    here = predictions.is_file()
    if here and sha256_file(predictions) != record.files.get("predictions", sha256_file(predictions)):
        return Finding("wrong", path, f"it was made from others than {predictions}")
    if record.protocol == "server":
        return Finding("digest only", path, "a server scored it")
    if record.scoring != signatures.SCORING_VERSION:
        return Finding("digest only", path, "another version scored it")
    split = _split(record, data_root) if here else None
    if split is None:
        return _verify_sums(record, path, f"its {'ground truth is' if here else 'predictions are'} not here")
    said = record.model_dump(include=set(Scores.model_fields))
    try:
        scores, videos = score_file(split.read(), predictions, jobs=jobs)
        beside = _videos(record, path)
    except UserError as error:
        return Finding("wrong", path, f"it cannot be made again: {error}")
    other = [name for name, value in scores.model_dump().items() if not same_to_rounding(said[name], value)]
    other += [videos_beside(path).name] * (beside not in (None, videos))
    if other:
        return Finding("wrong", path, f"its predictions give other {', '.join(other)}")
    return Finding("recomputed", path)


def _verify_sums(record: Record, path: Path, why: str) -> Finding:
    """Make the numbers of a record again of what its videos add, if that is here."""
    try:
        videos = _videos(record, path)
    except UserError as error:
        return Finding("wrong", path, f"it cannot be made again: {error}")
    if videos is None:
        return Finding("digest only", path, why)
    said = record.model_dump(include={"metrics", "per_category", "by_iou"})
    said |= {"tracking": {name: each.metrics for name, each in record.tracking.items()}, "identity": record.identity}
    other = [name for name, value in numbers_of(videos).items() if not same_to_rounding(said[name], value)]
    if other:
        return Finding("wrong", path, f"{videos_beside(path).name} gives other {', '.join(other)}")
    return Finding("from videos", path, why)


def _videos(record: Record, path: Path) -> Videos | None:
    """What a record's videos add, listed or not; None where that is not kept, or another file is in its place, which is
    said of it.
    """
    if not (beside := videos_beside(path)).is_file():
        return None
    digest = sha256_file(beside)
    return read_videos(beside) if record.files.get("videos", digest) == digest else None


def _split(record: Record, data_root: Path) -> Split | None:
    """The split that was predicted, if its ground truth is here."""
    with contextlib.suppress(UserError):
        split = load_dataset(record.dataset, data_root).split(record.role, record.data.part)
        if split.fingerprint == record.data.evaluation and not split.makeable:
            return split
    return None


def _verify_files(record: Record, path: Path, run: Run) -> Iterator[Finding]:
    places = {"weights": run.weights, "predictions": run.predictions(record.inference, record.data.evaluation)}
    places["videos"] = videos_beside(path)
    for name, digest in record.files.items():
        why = {"absent": f"the {name} of {path.name}", "other": f"it is not what {path.name} was made from"}
        yield held_against(places[name], digest, **why) if name in places else Finding("not kept", path, why["absent"])
    if run.curve.is_file() and record.curve:
        same = read_bytes(run.curve) == canonical_json(record.curve)
        yield Finding("digest only", run.curve) if same else Finding("wrong", run.curve, f"{path.name} has another")


def verify_runs(store: Store, *, profile: str | None = None) -> Iterator[Finding]:
    """Check what vouches for itself: each run's specification, its checkpoints, and the weights that are shipped; with
    `profile` no run that is known to be of another.
    """
    for spec in (folder / SPEC for folder in store.run_folders()):
        if profile is not None and not _profiles_of(store, spec.parent) & {profile, None}:
            continue
        try:
            run = run_at(spec.parent)
        except UserError as error:
            yield Finding("wrong" if spec.exists() else "not kept", spec, str(error))
            continue
        sound = read_bytes(spec) == run.read_spec().text()
        yield Finding("digest only", spec) if sound else Finding("wrong", spec, "it is not as it was written")
        for checkpoint in sorted(path for each in checkpoint_folders(run) for path in seen_in(each, ".pth")):
            with contextlib.suppress(FileNotFoundError, DataMissingError):  # a run that lives replaces them
                yield from _verify_checkpoint(checkpoint)
    for description in seen_in(packed("experiments", "weights"), ".json"):
        try:
            shipped_weights(read_json(description)["train_sig"])
        except UserError as error:
            yield Finding("wrong", description.with_suffix(".pth"), str(error))


def _profiles_of(store: Store, folder: Path) -> set[str | None]:
    """The profiles of a run's records and of its attempts; None where that is not known."""
    found: set[str | None] = {name for name in store.profiles() if any(store.records(name).glob(f"{folder.name}-*"))}
    with contextlib.suppress(UserError):
        if attempt := latest(run_at(folder)):
            found.add(attempt.submission().profile)
    return found or {None}


def _verify_checkpoint(path: Path) -> Iterator[Finding]:
    sealed = path.with_suffix(".json")
    if not sealed.is_file():
        return  # it was cut short and does not count
    try:
        seal = read_json(sealed)
        sound = read_bytes(sealed) == canonical_json(seal)
    except (UserError, ValueError):
        sound = False
    if not sound:
        yield Finding("wrong", sealed, "it is no seal of a checkpoint")
    elif seal == {"bytes": path.stat().st_size, "sha256": sha256_file(path)}:
        yield Finding("digest only", path)
    else:
        yield Finding("wrong", path, f"it does not match {sealed}")
