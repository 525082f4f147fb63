"""Try a setting of a profile before it is frozen: train a row, predict the `dev` videos, print AP at several lengths.

    python studies/calibrate.py table3/ours-r50-ytvis19 --seed 5 --set train.iterations=2100

Tracking is not looked at: settings are chosen by AP alone, with seeds and videos that no record has. A line of JSON a
try is added to `tried.jsonl` of --out.
"""

import argparse
import json
import time
from pathlib import Path

from ifrvis.datasets.catalog import load_dataset
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.predictions import results_of
from ifrvis.harness.spec.compose import compose_row, parse_override
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.signatures import train_signature, train_spec
from ifrvis.harness.spec.tables import find_row
from ifrvis.inference.modes import predict_split
from ifrvis.training.loop import train

SHIPPED = Path(__file__).parents[1] / "experiments" / "weights" / "pretraining-r50-mini-coco.pth"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", help="such as table3/ours-r50-ytvis19")
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--dataset", help="instead of the profile's")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--init", type=Path, default=SHIPPED, help="weights to start from")
    parser.add_argument("--frames", type=int, nargs="+", default=[2, 6, 12, 36], help="of the middle of each video")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("results/calibrate"))
    given = parser.parse_args()
    profile, row = load_profile(given.profile), find_row(given.row)[1]
    dataset = load_dataset(given.dataset or profile.datasets[row.dataset], given.data_root)
    for role in ("train", "dev"):
        dataset.make(role)
    overrides = dict(map(parse_override, given.set))
    composed = compose_row(row, profile, overrides, num_classes=dataset.config.categories)
    asked = train_spec(composed, data=dataset.split("train").fingerprint, init=None, seed=given.seed)
    signature = train_signature(asked)
    split, dev, folder = dataset.split("train"), dataset.split("dev"), given.out / f"{signature[:12]}-{given.init.stem}"
    started, processor = time.monotonic(), time.process_time()
    trained = train(
        asked.model_dump(),
        train_sig=signature,
        annotations=split.read(),
        frames_root=split.frames,
        folder=folder,
        resume_from=[folder],
        init_weights=given.init,
        checkpoint_interval_s=120,
        on_progress=lambda p: None if p.iteration % 100 else print(p.iteration, round(p.loss, 2), flush=True),
    )
    of_training = time.process_time() - processor
    scores = {}
    for frames in given.frames:
        videos = dev.read().middle(frames)
        predictions = results_of(predict_split(trained.model, videos, dev.frames, composed.inference))
        scores[str(frames)] = {name: average_precision(videos, predictions)[name] for name in ("AP", "AP50", "AR10")}
    line = {
        **{"row": given.row, "dataset": dataset.name, "seed": given.seed, "set": overrides, "signature": signature},
        **{"scores": scores, "training_s": round(of_training), "all_s": round(time.process_time() - processor)},
        **{"wall_min": round((time.monotonic() - started) / 60, 1), "init": given.init.name},
    }
    with (given.out / "tried.jsonl").open("a") as tried:
        tried.write(json.dumps(line) + "\n")
    print(json.dumps(line))


if __name__ == "__main__":
    main()
