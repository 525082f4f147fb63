"""How often the intervals over test videos hold the truth, simulated on AP itself.

    python studies/coverage.py --first mask2former-s5.pth --second ours-s5.pth
    python studies/coverage.py --first m2f-s5.pth m2f-s6.pth ... --second ours-s5.pth ours-s6.pth ...
    python studies/coverage.py --first RECORD.videos.json.gz ... --second RECORD.videos.json.gz ...

Many videos like those of `mini19`, drawn with another seed, are predicted once by each file of weights: the truth is AP
on all of them. Then, again and again, as many videos as a test set has are drawn from them, with replacement, so that
the truth is that of the population they come from, and the intervals that a report would show are compared with it: of
one method's AP, and of the paired difference. With several runs of a method as many are drawn from them, too, the same
of both. What lies beside records stands for weights: then the population are the videos of these records.

It goes on where it stopped: predictions are kept 25 videos at a time, simulations ten at a time. `--predict-only` ends
before the latter. The result is `coverage.json` of --out: of the first method, the second and their difference, what
share of intervals holds the truth of the runs that were drawn (wanted: .93 to .97), and what share percentile intervals
would; with several runs, also what share holds the truth of all runs, over videos, over seeds, and both together.
"""

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifrvis.datasets.catalog import Dataset, load_dataset
from ifrvis.evaluation.ap import ap_of, detections
from ifrvis.evaluation.bootstrap import RESAMPLES, draws, interval_of
from ifrvis.evaluation.predictions import results_of
from ifrvis.evaluation.videos import Detections, read_videos
from ifrvis.files import canonical_json, read_json, read_packed_json, sha256_bytes, sha256_file, write_atomically
from ifrvis.harness.spec.compose import Composed, compose_row, parse_override
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import find_row
from ifrvis.reporting.statistics import mean_interval
from ifrvis.schema import validated

AT_ONCE = 25  # videos, whose predictions are kept together
Line = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--first",
        type=Path,
        nargs="+",
        required=True,
        help="weights of runs of the first row, or what lies beside records",
    )
    parser.add_argument("--second", type=Path, nargs="+", required=True, help="as many of the second row, seed by seed")
    parser.add_argument("--rows", nargs=2, default=["table3/mask2former-r50-ytvis19", "table3/ours-r50-ytvis19"])
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as the weights were trained")
    parser.add_argument("--dataset", default="mini19", help="whose parameters the videos have")
    parser.add_argument("--seed", type=int, default=1902, help="of the videos")
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--subset", type=int, default=150, help="videos of a test set")
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("results/coverage"))
    parser.add_argument("--predict-only", action="store_true")
    given = parser.parse_args()
    if len(given.first) != len(given.second):
        parser.error("give as many weights of the one row as of the other")
    dataset = made_set(given.dataset, given.data_root, seed=given.seed, videos=given.videos)
    if not all(map(is_kept, given.first + given.second)):
        dataset.make(
            "heldout", lambda done, total: None if done % 100 else print(f"made {done} of {total} videos", flush=True)
        )
    profile, overrides = load_profile(given.profile), dict(map(parse_override, given.set))
    methods, starts = [], []
    for name, paths in zip(given.rows, (given.first, given.second), strict=True):
        how = compose_row(find_row(name)[1], profile, overrides, num_classes=dataset.config.categories)
        methods.append([of_file(path, how, dataset, given.out) for path in paths])
        starts.append([sha256_file(path) for path in paths])
    if given.predict_only:
        return
    truth = truth_of(methods)
    sizes = {"subset": given.subset, "resamples": given.resamples}
    what = {"weights": starts, "seed": given.seed, "videos": len(methods[0][0]), **sizes}
    path = given.out / f"simulated-{sha256_bytes(canonical_json(what))[:12]}.json"
    done = read_json(path) if path.exists() else []
    for number in range(len(done), given.simulations):
        done.append(simulated(methods, number, **sizes))
        if len(done) % 10 == 0 or len(done) == given.simulations:
            write_atomically(path, json.dumps(done))
            print(len(done), json.dumps(shares(done, truth)), flush=True)
    result = {**what, "simulations": len(done), "truth": truth, "shares": shares(done, truth)}
    write_atomically(given.out / "coverage.json", json.dumps(result, indent=1) + "\n")


def made_set(name: str, data_root: Path, *, seed: int, videos: int) -> Dataset:
    """So many held-out videos of a set's parameters, drawn with another seed."""
    config = load_dataset(name, data_root).config
    numbers = {**dict.fromkeys(config.synthetic.videos, 0), "test": videos}
    synthetic = config.synthetic.model_copy(update={"seed": seed, "videos": numbers})
    return Dataset(config.model_copy(update={"name": f"{name}-many", "synthetic": synthetic}), data_root, name)


def is_kept(path: Path) -> bool:
    return path.name.endswith(".videos.json.gz")


def of_file(path: Path, how: Composed, dataset: Dataset, folder: Path) -> list[Detections]:
    """What each video adds to AP: kept beside a record, or predicted by weights."""
    return list(read_videos(path).detections) if is_kept(path) else predicted(path, how, dataset, folder)


def predicted(weights: Path, how: Composed, dataset: Dataset, folder: Path) -> list[Detections]:
    """What each video adds to AP, predicted where that is not kept."""
    split = dataset.split("heldout")
    annotations, model = split.read(), None
    what = [sha256_file(weights), split.fingerprint, how.model, how.inference]
    home, found = folder / f"{weights.stem}-{sha256_bytes(canonical_json(what))[:12]}", []
    videos = [video.id for video in annotations.videos]
    for start in range(0, len(videos), AT_ONCE):
        path = home / f"{start:05}.json.gz"
        if not path.exists():
            from ifrvis.inference.modes import predict_split  # torch, which simulations do without

            model = model or loaded(weights, how)
            some = annotations.subset(set(videos[start : start + AT_ONCE]))
            results = results_of(predict_split(model, some, split.frames, how.inference))
            content = [each.model_dump() for each in detections(some, results)]
            write_atomically(path, gzip.compress(canonical_json(content), mtime=0))
            print(f"predicted {start + len(content)} of {len(videos)} videos by {weights}", flush=True)
        found += [validated(Detections, each, str(path)) for each in read_packed_json(path, "detections")]
    return found


def loaded(weights: Path, how: Composed) -> Any:
    from ifrvis.training.build import build_model, settle_torch
    from ifrvis.training.processes import pick_device
    from ifrvis.training.weights import load_trained

    settle_torch(1, how.train["precision"])
    model = build_model(how.model, seed=0)
    load_trained(model, weights)
    return model.to(pick_device())


def truth_of(methods: list[list[list[Detections]]]) -> list[list[float]]:
    """AP of each run on all videos."""
    return [[float(ap_of(run, np.ones((1, len(run)), np.int64))[0]) for run in runs] for runs in methods]


def simulated(methods: list[list[list[Detections]]], number: int, *, subset: int, resamples: int) -> Line:
    """What one test set, and as many runs as there are, would report.

    Returns:
        The positions of the runs that were drawn; of AP of the first method, of the second, and of the second minus the
        first: the estimates, the intervals over videos, what percentiles would give in their place, and the intervals
        over seeds (none of a single run).
    """
    rng = np.random.default_rng((1902, number))
    videos, seeds = rng.integers(len(methods[0][0]), size=subset), [0]
    if len(methods[0]) > 1:
        seeds = rng.integers(len(methods[0]), size=len(methods[0])).tolist()
    weights = draws("", tuple(range(subset)), resamples=resamples, seed=number)
    once = {seed: [ap_of([runs[seed][video] for video in videos], weights) for runs in methods] for seed in set(seeds)}
    first, second = np.moveaxis(np.array([once[seed] for seed in seeds]), 1, 0)  # (seeds, R) each
    what = first, second, second - first
    return {
        "seeds": seeds,
        "estimates": [float(each[:, 0].mean()) for each in what],
        "over_videos": [interval_of(each.mean(axis=0)) for each in what],
        "percentiles": [np.quantile(each.mean(axis=0)[1:], (0.025, 0.975)).tolist() for each in what],
        "over_seeds": [mean_interval(each[:, 0].tolist()) for each in what],
    }


def shares(lines: list[Line], truth: list[list[float]]) -> dict[str, Any]:
    """Of AP of the first method, of the second, and of their difference: how often intervals hold the truth.

    Of the runs that were drawn, as a report has it; then of all runs: the intervals over videos, those over seeds, and
    both together (half widths as roots of sums of squares).
    """
    of_runs = np.array([*truth, np.subtract(truth[1], truth[0])])  # (3, runs)
    drawn = np.array([of_runs[:, line["seeds"]].mean(axis=1) for line in lines])
    every = np.broadcast_to(of_runs.mean(axis=1), drawn.shape)
    middle, videos = np.array([line["estimates"] for line in lines]), np.array([line["over_videos"] for line in lines])
    percentiles = held(drawn, np.array([line["percentiles"] for line in lines]))
    found = {"bias": middle - drawn, "given the runs": held(drawn, videos), "percentile intervals": percentiles}
    if len(of_runs[0]) > 1:
        seeds = np.array([line["over_seeds"] for line in lines])
        sides = np.sqrt((videos - middle[..., None]) ** 2 + (seeds - middle[..., None]) ** 2) * (-1, 1)
        for name, ends in (("over videos", videos), ("over seeds", seeds), ("both", middle[..., None] + sides)):
            found[f"of all runs, {name}"] = held(every, ends)
    return {name: np.mean(each, axis=0).round(4).tolist() for name, each in found.items()}


def held(truth: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (ends[..., 0] <= truth) & (truth <= ends[..., 1])


if __name__ == "__main__":
    main()
