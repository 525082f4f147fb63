"""Which clips a training draws, and how what is drawn is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ifrvis.datasets.clips import Clip, ClipDraw, ClipSampler, load_clip
from ifrvis.datasets.coco import Stills
from ifrvis.datasets.frames.clips import FrameDraw, FrameSampler, load_frame_clip
from ifrvis.datasets.frames.stills import FrameStillDraw, FrameStillSampler, load_frame_still
from ifrvis.datasets.stills import MixedSampler, StillDraw, StillSampler, load_still
from ifrvis.datasets.ytvis import Annotations

Sampler = ClipSampler | FrameSampler | MixedSampler


def sampler_of(
    spec: Mapping[str, Any], annotations: Annotations, stills: tuple[Stills, float | None] | None
) -> Sampler:
    """The sampler of a training's specification; its `sampler.around`, where there is one, says what an epoch has.

    Args:
        spec: With seed, global_batch, sampler and pipeline.
        annotations: The training split.
        stills: What pseudo-videos are made of, and their share of the clips; None is that of their number beside the
            entries of the videos' epoch.
    """
    given, pipeline = dict(spec["sampler"]), spec["pipeline"]
    of_frames = given.pop("around", "videos") == "frames"
    shared: dict[str, Any] = {"seed": spec["seed"], **pipeline}
    kind = FrameSampler if of_frames else ClipSampler
    clips = kind(annotations, global_batch=spec["global_batch"], **given, **shared)
    if stills is None:
        return clips
    shared |= {"num_frames": given["num_frames"]}
    if of_frames:
        del shared["colour"]  # a copy of a still has its own
    images = (FrameStillSampler if of_frames else StillSampler)(stills[0], **shared)
    share = len(images) / (len(images) + len(clips)) if stills[1] is None else stills[1]
    return MixedSampler(clips, images, share)


def load_draw(
    draw: ClipDraw, annotations: Annotations, frames_root: Path, stills: Stills | None, padded: tuple[int, int]
) -> Clip:
    """Load what was drawn, of whatever kind; see `load_clip`.

    Args:
        draw: The clip or pseudo-video.
        annotations: The split that the sampler draws from.
        frames_root: Folder that the file names of frames are relative to.
        stills: What pseudo-videos are made of.
        padded: Height and width in pixels.

    Raises:
        UserError: If a frame cannot be used.
    """
    if isinstance(draw, FrameStillDraw):
        assert stills is not None
        return load_frame_still(stills, draw, padded)
    if isinstance(draw, StillDraw):
        assert stills is not None
        return load_still(stills, draw, padded)
    if isinstance(draw, FrameDraw):
        return load_frame_clip(annotations, frames_root, draw, padded)
    return load_clip(annotations, frames_root, draw, padded)
