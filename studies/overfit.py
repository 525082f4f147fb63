"""Overfit a model on a few clips of a data set and score it on the same clips: a model that works reaches AP > 0.8.

Run `python studies/overfit.py --method mask2former --gt instances.json --frames JPEGImages --videos a,b`.
"""

import argparse
import json
import time
from pathlib import Path

from ifrvis.datasets.ytvis import read_annotations
from ifrvis.evaluation.ap import average_precision
from ifrvis.evaluation.predictions import results_of
from ifrvis.harness.spec.compose import compose, parse_override
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.signatures import train_signature, train_spec
from ifrvis.inference.modes import predict_split
from ifrvis.training.loop import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="mask2former")
    parser.add_argument("--backbone", default="r50")
    parser.add_argument("--gt", type=Path, required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--videos", required=True, help="names of videos, with commas between them")
    parser.add_argument("--out", type=Path, default=Path("results/overfit"))
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    whole = read_annotations(given.gt)
    names = given.videos.split(",")
    annotations = whole.subset({video.id for video in whole.videos if video.name in names})
    overrides = {"--set": dict(map(parse_override, given.set))}
    named, classes = (given.method, given.backbone, "ytvis19"), len(whole.categories)
    composed = compose(*named, load_profile("mini"), overrides, num_classes=classes)
    asked = train_spec(composed, data="0" * 64, init=None, seed=0)
    spec, signature = asked.model_dump(), train_signature(asked)
    folder = given.out / signature[:12]
    started = time.monotonic()
    trained = train(
        spec,
        train_sig=signature,
        annotations=annotations,
        frames_root=given.frames,
        folder=folder,
        resume_from=[folder],
        checkpoint_interval_s=60,
        on_progress=lambda p: None if p.iteration % 100 else print(p.iteration, round(p.loss, 2), flush=True),
    )
    predictions = list(predict_split(trained.model, annotations, given.frames, composed.inference))
    scores = average_precision(annotations, results_of(predictions))
    shown = {name: scores[name] for name in ("AP", "AP50", "AP75", "AR1", "AR10")}
    print(json.dumps({"videos": names, "minutes": round((time.monotonic() - started) / 60, 1), **shown}))
    print(f"checkpoints in {folder}")


if __name__ == "__main__":
    main()
