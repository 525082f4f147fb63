"""Ground truth and predictions as files, with copies of videos, and as what each video adds."""

import json
from dataclasses import replace

from ifrvis.datasets.ytvis import Annotations
from ifrvis.evaluation.ap import detections
from ifrvis.evaluation.identity import count_errors
from ifrvis.evaluation.protocols import load_protocol
from ifrvis.evaluation.scores import SHOWN
from ifrvis.evaluation.tracking import follow
from ifrvis.evaluation.videos import Videos


def as_json(annotations):
    """What the file of some ground truth holds."""
    videos = [{**vars(video), "length": video.length} for video in annotations.videos]
    tracks = [
        {"id": each.id, "video_id": each.video_id, "category_id": each.category_id, "segmentations": each.masks}
        for each in annotations.tracks
    ]
    return {"videos": videos, "categories": [*map(vars, annotations.categories)], "annotations": tracks}


def written(folder, content, entries):
    """Write the files of ground truth and of results: the options that name them."""
    (folder / "gt.json").write_text(json.dumps(content))
    (folder / "pred.json").write_text(json.dumps(entries))
    return ["--gt", f"{folder}/gt.json", "--pred", f"{folder}/pred.json"]


def with_copies(annotations, predictions, copies):
    """The same with copies in the place of each video, of the ids that `copies` has for it."""
    several = Annotations(
        annotations.path,
        annotations.categories,
        tuple(replace(each, id=copy) for each in annotations.videos for copy in copies[each.id]),
        tuple(replace(each, video_id=copy) for each in annotations.tracks for copy in copies[each.video_id]),
    )
    return several, [replace(each, video_id=copy) for each in predictions for copy in copies[each.video_id]]


def videos_of(annotations, predictions):
    """What the videos add, with every entry tracked."""
    followed = follow(annotations, predictions, [load_protocol("all")])["all"]
    return Videos(
        categories=tuple(map(str, annotations.labels)),
        video_ids=tuple(annotations.video_ids),
        detections=tuple(detections(annotations, predictions)),
        tracking=tuple({SHOWN: counts} for counts in followed.counts),
        identity=tuple(of[None] for of in count_errors(annotations, followed.candidates, [None])),
    )
