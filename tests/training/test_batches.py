"""What the model is given: the host's structures, the counts of the whole batch, the same from any worker."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from ifrvis.datasets.clips import ClipSampler
from ifrvis.datasets.coco import Stills
from ifrvis.datasets.stills import MixedSampler, StillDraw, StillSampler
from ifrvis.errors import UserError
from ifrvis.models.targets import clip_targets
from ifrvis.training.batches import GPU_WORKERS, GlobalBatch, global_batches, model_inputs
from ifrvis.training.processes import Processes


@pytest.fixture
def batches(split, spec):
    def make(start: int, stop: int, workers: int = 0) -> list[GlobalBatch]:
        settings = {**spec["sampler"], **spec["pipeline"]}
        sampler = ClipSampler(split.annotations, seed=spec["seed"], global_batch=spec["global_batch"], **settings)
        found = global_batches(sampler, split.annotations, split.frames_root, start=start, stop=stop, workers=workers)
        return list(found)

    return make


def equal(one: GlobalBatch, other: GlobalBatch) -> bool:
    clips = [
        a.draw == b.draw and np.array_equal(a.images, b.images) and np.array_equal(a.masks, b.masks)
        for a, b in zip(one.clips, other.clips, strict=True)
    ]
    return (one.iteration, one.counts) == (other.iteration, other.counts) and all(clips)


def test_workers_and_restarts_change_nothing_where_stills_are_mixed_in(split, spec):
    first = split.annotations.videos[0]
    image = replace(first, file_names=first.file_names[:1])
    tracks = [replace(each, masks=each.masks[:1]) for each in split.annotations.tracks_of(first.id) if each.masks[0]]
    stills = Stills(replace(split.annotations, videos=(image,), tracks=tuple(tracks)), split.frames_root)
    clips = ClipSampler(split.annotations, seed=5, global_batch=3, **spec["sampler"], **spec["pipeline"])
    sampler = MixedSampler(clips, StillSampler(stills, seed=5, num_frames=2, **spec["pipeline"]), 0.5)

    def load(start, stop, workers=0):
        given = (sampler, split.annotations, split.frames_root)
        return list(global_batches(*given, stills=stills, start=start, stop=stop, workers=workers))

    alone = load(0, 6)
    kinds = [[isinstance(clip.draw, StillDraw) for clip in batch.clips] for batch in alone]
    assert sum(map(sum, kinds)) == 9
    for others in (load(0, 6, workers=2), load(0, 3) + load(3, 6)):
        assert all(equal(a, b) for a, b in zip(alone, others, strict=True))
    for batch in alone:
        assert {clip.images.shape for clip in batch.clips} == {batch.clips[0].images.shape}
        inputs = model_inputs(batch, batch.clips, 5)
        for clip, sample in zip(batch.clips, inputs["data_samples"], strict=True):
            assert torch.equal(clip_targets(sample, "cpu").gt_masks.bool(), torch.from_numpy(clip.masks))


def test_samples_say_what_the_models_ask_for(batches):
    for batch in batches(0, 4):
        inputs = model_inputs(batch, batch.clips, 5)
        masks = [clip_targets(sample, "cpu").gt_masks.bool() for sample in inputs["data_samples"]]
        assert batch.counts == {
            "batch_num_instances": sum(len(of_clip) for of_clip in masks),
            "batch_num_classed": sum(int(of_clip[:, -1].flatten(1).any(1).sum()) for of_clip in masks),
            "batch_num_clips": 3,
        }
        for clip, image, sample in zip(batch.clips, inputs["inputs"], inputs["data_samples"], strict=True):
            assert image.dtype == torch.uint8
            assert torch.equal(image, torch.from_numpy(clip.images))
            meta = sample[0].metainfo
            assert meta["draw_key"] == (5, clip.draw.iteration, clip.draw.position)
            assert meta["img_shape"] == clip.draw.size
            assert {key: meta[key] for key in batch.counts} == batch.counts
            target = clip_targets(sample, "cpu")
            assert clip.draw.video.name in target.video
            assert torch.equal(target.gt_masks.bool(), torch.from_numpy(clip.masks))
            assert torch.equal(target.labels, torch.from_numpy(clip.labels))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_frame_is_the_users_error_from_any_worker(batches, split, workers):
    path = split.frames_root / split.annotations.videos[0].file_names[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    try:
        with pytest.raises(UserError, match=f"^Copy {path} again"):
            batches(0, 40, workers)
    finally:
        path.write_bytes(whole)


KILLED_WHILE_LOADING = """
import sys, os, signal, multiprocessing
from pathlib import Path
from ifrvis.datasets.clips import ClipSampler
from ifrvis.datasets.ytvis import read_annotations
from ifrvis.training.batches import global_batches
annotations = read_annotations(Path(sys.argv[1]))
settings = dict(global_batch=3, num_frames=2, frame_range=3, redraw_empty=False)
settings |= dict(sides=[200], max_side=1000, flip=0.5, resize="pillow")
sampler = ClipSampler(annotations, seed=0, **settings)
batches = global_batches(sampler, annotations, Path(sys.argv[2]), start=0, stop=99, workers=1)
next(batches)
print(multiprocessing.active_children()[0].pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_where_the_main_process_was_killed(split):
    command = [sys.executable, "-W", "ignore", "-c", KILLED_WHILE_LOADING, split.annotations.path, split.frames_root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        worker = Path("/proc") / process.stdout.readline().strip()
    assert worker.name.isdecimal()
    limit = time.monotonic() + 20  # torch looks for the main process every 5 seconds
    while time.monotonic() < limit and worker.exists():
        time.sleep(0.2)
    assert not worker.exists()


def test_on_a_gpu_batches_are_loaded_ahead_and_pinned(split, spec, batches, monkeypatch):
    loader = mock.Mock(side_effect=lambda iterations, **_: [iterations[0].pin_memory()])
    (before,) = batches(0, 1)
    monkeypatch.setattr("ifrvis.training.batches.DataLoader", loader)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda images: images.clone())
    on_gpu = Processes(device=torch.device("cuda"))
    monkeypatch.setattr("ifrvis.training.batches.Processes", lambda: on_gpu)
    (pinned,) = batches(0, 1, workers=None)
    assert (loader.call_args.kwargs["num_workers"], loader.call_args.kwargs["pin_memory"]) == (GPU_WORKERS, True)
    assert equal(pinned, before)
    for found, of_clip in zip(model_inputs(pinned, pinned.clips, 5)["inputs"], pinned.clips, strict=True):
        assert np.shares_memory(found.numpy(), of_clip.images), "the pinned memory itself"
        assert found.is_contiguous()
