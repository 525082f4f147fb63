"""A worker that counts instead of training: the engine's tests take seconds and need no torch.

It counts to the iterations of its specification, with a checkpoint at each number, and publishes records whose AP is
a function of the seed. `IFRVIS_FAKE` is JSON: `slow_s` a step, `fail` the seeds that fail, `die` the seeds that are
killed before they have counted, `error` how they fail (the name of an exception), `log` a file in which each attempt
that starts leaves a line, `seen` a file that tells its environment and where its code lies, `better` what is added to
every AP.
"""

import builtins
import json
import logging
import os
import signal
import time
from pathlib import Path

from made_records import made_record

import ifrvis
from ifrvis.datasets.catalog import load_dataset
from ifrvis.files import write_atomically
from ifrvis.harness.jobs.worker_life import StoppedError, live
from ifrvis.harness.store.records import publish_record


def run_attempt(folder):
    live(folder, count)


def count(attempt, heart):
    behaviour = json.loads(os.environ.get("IFRVIS_FAKE", "{}"))
    if "log" in behaviour:
        with Path(behaviour["log"]).open("a") as stream:
            stream.write(f"{attempt.run.name} {attempt.number}\n")
    if "seen" in behaviour:
        Path(behaviour["seen"]).write_text(json.dumps({"variables": dict(os.environ), "code": ifrvis.__file__}))
    spec = attempt.run.read_spec()
    seed, total = spec.train.seed, spec.train.iterations
    if seed in behaviour.get("die", []):
        os.kill(os.getpid(), signal.SIGKILL)
    logging.getLogger("ifrvis").info("counting from %d", _counted(attempt))
    for iteration in range(_counted(attempt) + 1, total + 1):
        heart.say(phase="training", iteration=iteration, iterations=total, loss=1.0, eta_s=1.0)
        if seed in behaviour.get("fail", []) and iteration == total:
            raise getattr(builtins, behaviour.get("error", "RuntimeError"))("made to fail")
        time.sleep(behaviour.get("slow_s", 0.0))
        attempt.check_fence()
        write_atomically(attempt.checkpoints / "count", str(iteration))  # it may be killed at any instant
        if attempt.is_asked_to_stop():
            raise StoppedError(f"stopped at {iteration}")
    if attempt.submission().publish_weights:
        attempt.run.weights.write_text("weights")
    if init := attempt.submission().init:
        assert Path(init).read_text() == "weights"
    _publish(attempt, seed)


def _counted(attempt):
    counts = attempt.run.attempts.glob("*/checkpoints/count")
    return max((int(path.read_text()) for path in counts), default=0)


def _publish(attempt, seed):
    job, spec = attempt.submission(), attempt.run.read_spec()
    for evaluation in job.evaluations:
        said = {key: getattr(job, key) for key in ("profile", "method", "backbone")}
        said |= {key: getattr(evaluation, key) for key in ("protocol", "role", "inference", "off_spec")}
        said |= {"dataset": load_dataset(job.dataset, Path(job.data_root)).name, "init": job.init_name}
        ap = 0.5 + seed / 100 + json.loads(os.environ.get("IFRVIS_FAKE", "{}")).get("better", 0)
        metrics = dict.fromkeys(("AP", "AP50", "AP75", "AR1", "AR10"), ap)
        record = made_record(metrics, name=spec.name, train=spec.train, split=evaluation.split, **said)
        publish_record(attempt.run.store, record)
