"""Which clips a training draws, by what its specification says."""

from collections.abc import Mapping
from typing import Any

from ifrvis.datasets.clips import ClipSampler, VideoSampler
from ifrvis.datasets.coco import Stills
from ifrvis.datasets.sampling.frame_clips import FrameSampler
from ifrvis.datasets.stills import MixedSampler, StillSampler
from ifrvis.datasets.ytvis import Annotations

Sampler = VideoSampler | MixedSampler


def sampler_of(
    spec: Mapping[str, Any], annotations: Annotations, stills: tuple[Stills, float | None] | None
) -> Sampler:
    """The sampler of a training; `around` of its sampler, where it has one, says what an epoch has a clip of. Stills
    come with their share of the clips (see `MixedSampler`).
    """
    given, pipeline, seed = dict(spec["sampler"]), dict(spec["pipeline"]), spec["seed"]
    kind = FrameSampler if "around" in given else ClipSampler
    clips = kind(annotations, seed=seed, global_batch=spec["global_batch"], **given, **pipeline)
    if stills is None:
        return clips
    pipeline.pop("colour", None)  # a copy of a still has colours of its own
    images = StillSampler(stills[0], seed=seed, num_frames=given["num_frames"], **pipeline)
    return MixedSampler(clips, images, stills[1])
