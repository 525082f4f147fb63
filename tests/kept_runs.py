"""What runs that completed would keep, made without training."""

from made_records import record_of

from ifrvis.datasets.catalog import load_dataset
from ifrvis.evaluation.predictions import Scored, VideoPredictions, write_predictions
from ifrvis.evaluation.scoring import score_file
from ifrvis.files import canonical_json, sha256_file
from ifrvis.harness.jobs.queue import submission
from ifrvis.harness.plan.plan import Request
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.attempts import claim
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import Life, publish_record
from ifrvis.packed import packed


def without_pretraining(folder):
    """The path of a copy of profile smoke whose rows start from nothing."""
    text = packed("experiments", "profiles", "smoke.yaml").read_text()
    (folder / "smoke.yaml").write_text(text.replace("train.init: pretraining", "train.init: null"))
    return str(folder / "smoke.yaml")


def kept(folder, tables, rows, num_seeds, predict=None, *, data_root=None):
    """A request whose runs have completed without training; `predict` is a function by method, as of `finish`."""
    root = data_root or folder / "data"
    load_dataset("smoke19", root).make("heldout")
    profile, store = load_profile(without_pretraining(folder)), Store(folder / "results")
    request = Request(tuple(map(load_table, tables)), profile, rows, num_seeds, data_root=root, store=store)
    for training in make_plan(request).trainings:
        finish(training, request, (predict or {}).get(training.method))
    return request


def roots_of(request, reports):
    """The options that say where everything lies."""
    roots = {"data-root": request.data_root, "results": request.store.root, "reports": reports}
    return [f"--{name}={path}" for name, path in roots.items()]


def finish(training, request, predict=None):
    """Keep what a run that completed would keep; its predictions are `half` of the ground truth, or `predict`'s."""
    run = training.run(request.store)
    run.write_spec(training.spec)
    attempt = claim(run, submission(training, request))
    attempt.checkpoints.mkdir()
    checkpoint = attempt.checkpoints / "iter_000004.pth"
    checkpoint.write_bytes(bytes(range(256)))
    seal = {"bytes": 256, "sha256": sha256_file(checkpoint)}
    checkpoint.with_suffix(".json").write_bytes(canonical_json(seal))
    run.weights.write_bytes(b"weights")
    curve = {"0": 0.0, "4": 0.25}
    run.curve.write_bytes(canonical_json(curve))
    for evaluation in training.evaluations:
        annotations = evaluation.split.read()
        path = run.predictions(evaluation.inference, evaluation.split.fingerprint)
        write_predictions(path, [(predict or half)(video, annotations) for video in annotations.videos])
        scores, videos = score_file(annotations, path)
        files = {"predictions": sha256_file(path), "weights": sha256_file(run.weights)}
        lives = (Life(reason="running", kind="", seconds=36.0),)
        record = record_of(training, evaluation, scores=scores, files=files, curve=curve, attempts=lives)
        publish_record(request.store, record, videos)
    attempt.end("complete", seconds=36.0)


def half(video, annotations):
    """One or two tracks of the ground truth."""
    return _predictions(video, annotations.tracks_of(video.id)[: 1 + video.id % 2])


def perfect(video, annotations):
    """The ground truth."""
    return _predictions(video, annotations.tracks_of(video.id))


def swapped(video, annotations):
    """The ground truth, but that two tracks swap in the middle of the video and another is lost at its end."""
    found, middle = perfect(video, annotations), video.length // 2
    masks = found.masks
    masks[0], masks[1] = masks[0][:middle] + masks[1][middle:], masks[1][:middle] + masks[0][middle:]
    masks[2] = (*masks[2][:-1], None)
    return found


def _predictions(video, tracks):
    masks = {number: track.masks for number, track in enumerate(tracks)}
    scored = tuple(Scored(number, track.category_id, 0.9 - 0.1 * number) for number, track in enumerate(tracks))
    return VideoPredictions(video.id, video.height, video.width, video.length, masks, scored, scored)
