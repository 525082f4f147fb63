"""A run that is stopped anywhere goes on to bitwise the same end; what goes wrong is said with its cure.

Also tests: ifrvis.training.facts, ifrvis.training.progress.
"""

import errno
import math
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from training.conftest import SIG, SWIN

from ifrvis.errors import UserError
from ifrvis.evaluation.predictions import read_predictions, write_predictions
from ifrvis.files import sha256_file
from ifrvis.inference.modes import predict_split
from ifrvis.training import build
from ifrvis.training.checkpoints import newest_valid
from ifrvis.training.facts import History, facts_of, weights_digest
from ifrvis.training.loop import NotFiniteLossError
from ifrvis.training.progress import Clock


class StopAfter:
    """Asks to stop after some iterations."""

    def __init__(self, iterations: int) -> None:
        self.left = iterations

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def differing(one: torch.nn.Module, other: torch.nn.Module) -> list[str]:
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    return [key for key in a if not torch.equal(a[key], b[key])]


def predict(model, split, path: Path) -> bytes:
    inference = {"mode": "whole", "side": 64, "max_side": 200, "resize": "pillow", "topk": 5}
    write_predictions(path, predict_split(model, split.annotations, split.frames_root, inference))
    assert len(read_predictions(path, split.annotations)) == 4
    return path.read_bytes()


@pytest.fixture
def whole(run, spec):
    """A run that nobody stopped, and its losses."""
    losses = []
    return run(spec, on_progress=lambda progress: losses.append(progress.loss)), losses


@pytest.fixture
def seqformer(spec_of):
    """Drops numbers at random, colours and crops."""
    return spec_of("seqformer")


def test_seqformer_stopped_and_resumed_is_bitwise_the_same_and_workers_change_nothing(run, seqformer, tmp_path):
    seqformer["iterations"] = 6
    whole = run(seqformer)
    run(seqformer, folder=tmp_path / "first", should_stop=StopAfter(3))
    resumed = run(seqformer, folder=tmp_path / "second", resume_from=[tmp_path / "first"], workers=2)
    assert resumed.finished
    assert differing(resumed.model, whole.model) == []
    assert differing(run({**seqformer, "seed": 6}, folder=tmp_path / "other").model, whole.model)


@pytest.mark.parametrize("stops", [[1], [5], [4, 3], [11]])
def test_stopped_and_resumed_is_bitwise_the_same(run, spec, whole, split, tmp_path, stops):
    losses, folders = [], []
    settings = {"on_progress": lambda progress: losses.append(progress.loss), "resume_from": folders}
    for number, stop in enumerate(stops):
        folder = tmp_path / str(number)
        trained = run(spec, folder=folder, should_stop=StopAfter(stop), **settings)
        folders.append(folder)
        assert not trained.finished
        assert trained.iteration == sum(stops[: number + 1])
    trained = run(spec, **settings)
    assert trained.finished
    assert trained.iteration == 12
    assert losses == whole[1]
    assert differing(trained.model, whole[0].model) == []
    facts = facts_of([*folders, tmp_path / "checkpoints"], train_sig=SIG, iterations=12)
    assert facts["loss"] == {str(number): loss for number, loss in enumerate(losses, 1)}
    assert facts["final_weights"] == weights_digest(whole[0].model.state_dict())
    assert predict(trained.model, split, tmp_path / "a.json.gz") == predict(
        whole[0].model, split, tmp_path / "b.json.gz"
    )


def test_workers_change_nothing(run, spec, whole):
    spec["iterations"] = 6
    alone = run(spec)
    for workers in (1, 2):
        assert differing(run(spec, workers=workers).model, alone.model) == []


def test_a_finished_run_is_taken_up_as_it_is(run, spec, whole, tmp_path):
    again = run(spec, folder=tmp_path / "next", resume_from=[tmp_path / "checkpoints"])
    assert again.finished
    assert not (tmp_path / "next").exists()
    assert differing(again.model, whole[0].model) == []


def test_a_checkpoint_cut_short_costs_only_the_way_from_the_one_before(run, spec, whole, tmp_path):
    run(spec, folder=tmp_path / "first", should_stop=StopAfter(6), checkpoint_interval_s=0)
    (tmp_path / "first" / "iter_000006.pth").write_bytes(b"killed while writing")
    iterations = []
    trained = run(
        spec, resume_from=[tmp_path / "first"], on_progress=lambda progress: iterations.append(progress.iteration)
    )
    assert iterations[0] == 6
    assert differing(trained.model, whole[0].model) == []


def test_training_learns_and_tells_how_it_goes(run, spec):
    progress, scalars = [], []
    spec["iterations"], spec["schedule"] = 40, {"milestones": [], "gamma": 0.1}
    run(spec, on_progress=progress.append, sink=lambda *scalar: scalars.append(scalar))
    assert [each.iteration for each in progress] == list(range(1, 41))
    assert sum(each.loss for each in progress[-8:]) < 0.85 * sum(each.loss for each in progress[:8])
    assert progress[-1].eta_s == 0 < progress[0].eta_s
    assert sum(progress[0].loss_parts.values()) == pytest.approx(progress[0].loss, rel=1e-5)
    assert ("train/loss", progress[2].loss, 3) in scalars
    assert {name for name, _, _ in scalars} > {"train/lr", "train/grad_norm", "train/loss_dice", "train/d0.loss_cls"}


def almost_empty(split):
    """Annotations whose only mask stands in one frame of very many, all of which are the same file."""
    video, track = split.annotations.videos[0], split.annotations.tracks_of(split.annotations.videos[0].id)[0]
    long = replace(video, file_names=video.file_names[:1] * 2000)
    rare = replace(track, masks=(track.masks[0], *[None] * 1999), areas=(None,) * 2000)
    return replace(split.annotations, videos=(long,), tracks=(rare,))


def test_batches_without_any_object_are_trained_on(run, spec, split):
    spec["iterations"] = 2
    progress = []
    run(spec, annotations=almost_empty(split), on_progress=progress.append)
    assert progress[0].loss_parts["loss_mask"] == 0
    assert progress[0].loss_parts["loss_cls"] > 0


@pytest.mark.parametrize("num_frames", [1, 2])
@pytest.mark.parametrize("method", ["mask2former", "ours"])
def test_no_step_leaves_a_weight_out(run, spec_of, split, tmp_path, method, num_frames):
    """On GPUs torch is told so, and would stop where a weight got no gradient."""
    spec = spec_of(method)
    spec["sampler"]["num_frames"], spec["iterations"] = num_frames, 1
    left_out = []

    def count(optimizer, *_):
        weights = [each for group in optimizer.param_groups for each in group["params"]]
        left_out.append(sum(each.grad is None for each in weights))

    hook = register_optimizer_step_pre_hook(count)
    for annotations in (split.annotations, almost_empty(split)):
        run(spec, annotations=annotations, folder=tmp_path / f"{len(left_out)}")
    hook.remove()
    assert left_out == [0, 0]


def test_a_loss_that_is_not_finite_names_iteration_and_videos(run, spec, split, tmp_path):
    spec["optimizer"].update(lr=1e30, clip_grad=None)
    with pytest.raises(NotFiniteLossError, match=r"^Lower train\.optimizer\.lr.*in iteration 1\b") as caught:
        run(spec, checkpoint_interval_s=0)
    assert any(video.name in str(caught.value) for video in split.annotations.videos)
    assert sorted(path.name for path in tmp_path.glob("checkpoints/*.pth")) == ["iter_000001.pth"]


def test_a_gradient_that_is_not_finite_is_an_error_too(run, spec, monkeypatch):
    def with_bad_gradient(*given, **options):
        model = build_model(*given, **options)
        model.track_head.query_feat.weight.register_hook(lambda gradient: gradient * math.nan)
        return model

    build_model = build.build_model
    monkeypatch.setattr(build, "build_model", with_bad_gradient)
    with pytest.raises(NotFiniteLossError, match=r"the gradient is not finite in iteration 0"):
        run(spec)


def test_an_attempt_that_was_overtaken_writes_no_checkpoint(run, spec, tmp_path):
    def overtaken() -> None:
        raise RuntimeError("a later attempt exists")

    with pytest.raises(RuntimeError, match="a later attempt"):
        run(spec, checkpoint_interval_s=0, before_checkpoint=overtaken)
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoints_of_another_run_or_another_model_are_refused(run, spec, tmp_path):
    run({**spec, "iterations": 1})
    with pytest.raises(UserError, match=r"^Remove .*iter_000001\.pth"):
        run(spec, train_sig="b" * 64, resume_from=[tmp_path / "checkpoints"])
    spec["model"]["track_head"]["num_queries"] = 7
    with pytest.raises(UserError, match="the checkpoint does not fit the model"):
        run(spec, resume_from=[tmp_path / "checkpoints"])


def test_initial_weights_are_used_and_reported_by_every_attempt(run, spec, tmp_path):
    first = run({**spec, "iterations": 1, "seed": 9})
    torch.save(first.model.state_dict(), tmp_path / "w.pth")
    settings, began = {"init_weights": tmp_path / "w.pth", "folder": tmp_path / "a"}, time.monotonic()
    started = run(spec, should_stop=StopAfter(1), **settings)
    head = ["track_head.cls_embed.bias", "track_head.cls_embed.weight"]
    assert differing(started.model, run(spec, should_stop=StopAfter(1)).model)
    resumed = run(spec, **{**settings, "folder": tmp_path / "b"}, resume_from=[tmp_path / "a"])
    for folder in ("a", "b"):
        assert newest_valid([tmp_path / folder], train_sig=SIG).state["not_loaded"]["missing"] == head
    facts = facts_of([tmp_path / "a", tmp_path / "b"], train_sig=SIG, iterations=12)
    assert facts["started_from"] == sha256_file(tmp_path / "w.pth")
    assert facts["not_loaded"]["missing"] == 2
    assert facts["cost"]["parameters"] == sum(each.numel() for each in resumed.model.parameters())
    assert 0 < facts["cost"]["training_seconds"] < time.monotonic() - began


@pytest.mark.parametrize("iterations", [1, 59, 60, 61, 100, 1400, 6001])
def test_means_of_the_loss_cover_every_iteration_once_in_at_most_60_parts(iterations):
    history = History()
    for iteration in range(1, iterations + 1):
        history.add(iteration, iterations, float(iteration), 0.5)
    means = history.mean_losses(iterations)
    ends = list(map(int, means))
    assert (len(ends), ends[-1], history.seconds) == (min(60, iterations), iterations, iterations / 2)
    assert list(means.values()) == [(start + 1 + end) / 2 for start, end in zip([0, *ends], ends)]
    assert max(np.diff([0, *ends])) - min(np.diff([0, *ends])) <= 1


def test_weights_have_another_digest_if_a_name_a_shape_or_a_bit_is_another():
    sound = {"a": torch.zeros(2, 3), "b": torch.tensor(1)}
    others = [{"c": sound["a"], "b": sound["b"]}, {**sound, "a": torch.zeros(3, 2)}, {**sound, "a": torch.ones(2, 3)}]
    assert weights_digest(dict(reversed(sound.items()))) == weights_digest(sound)
    assert weights_digest(sound) not in map(weights_digest, others)


def test_a_disk_that_fills_up_ends_the_training_at_a_safe_point(run, spec, monkeypatch):
    monkeypatch.setattr("torch.save", mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(UserError, match=r"^Free some disk space"):
        run(spec, checkpoint_interval_s=1e-9)


@pytest.mark.parametrize("backbone", ["resnet", "swin with drop path"])
def test_a_recomputed_backbone_changes_no_bit(run, spec, tmp_path, backbone):
    if backbone != "resnet":
        spec["model"]["backbone"] = SWIN
    spec["iterations"], told = 3, {}
    for again in (False, True):
        settings = {"folder": tmp_path / str(again), "checkpoint_backbone": again}
        told[again] = []
        told[again, "model"] = run(spec, on_progress=told[again].append, **settings).model
    assert [each.loss_parts for each in told[True]] == [each.loss_parts for each in told[False]]
    assert differing(told[True, "model"], told[False, "model"]) == []
    assert torch.utils.checkpoint.checkpoint in [
        getattr(each.__dict__.get("forward"), "func", None) for each in told[True, "model"].backbone.modules()
    ]


def test_frozen_batch_norm_keeps_its_statistics_in_new_and_in_resumed_attempts(run, spec, tmp_path):
    spec["model"]["backbone"] |= {"norm_cfg": {"type": "BN", "requires_grad": False}, "norm_eval": True}
    spec["iterations"] = 2
    first = run(spec, folder=tmp_path / "first", should_stop=StopAfter(1))
    resumed = run(spec, folder=tmp_path / "second", resume_from=[tmp_path / "first"])
    for model in (first.model, resumed.model):
        norms = [each for each in model.backbone.modules() if isinstance(each, torch.nn.BatchNorm2d)]
        assert norms
        assert all(each.num_batches_tracked == 0 and not each.running_mean.any() for each in norms)


def test_what_a_record_says_of_the_training_on_a_cpu(run, spec, tmp_path):
    measured = run({**spec, "iterations": 2}).measured
    assert 0 < measured["waiting_for_data"] < 1
    assert measured.keys() == {"waiting_for_data"}
    again = run({**spec, "iterations": 2}, folder=tmp_path / "b", resume_from=[tmp_path / "checkpoints"])
    assert again.measured == {"waiting_for_data": None}


def test_the_time_left_is_that_of_the_whole_attempt_but_its_first_iteration(monkeypatch):
    now = iter([0.0, 60.0, 61.0, 63.0, 69.0])
    monkeypatch.setattr("ifrvis.training.progress.time.monotonic", lambda: next(now))
    clock = Clock()
    assert [clock.tick() for _ in range(4)] == [60.0, 1.0, 1.5, 3.0]
