"""Results of other programs in other formats than the server's list, as tracks of the videos of a ground truth.

What is given is a folder with a folder of PNGs a video (DAVIS) or a text file a video (KITTI MOTS), or one such text.
These formats have no scores: all are 1.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ifrvis.datasets.exchange.collected import Categories, Clip
from ifrvis.datasets.exchange.davis import read_video
from ifrvis.datasets.exchange.mots import read_sequence
from ifrvis.datasets.frames import folders_in
from ifrvis.datasets.ytvis import FiledAnnotations, Id
from ifrvis.errors import UserError, nearest
from ifrvis.files import seen_in


def read_masks(path: Path, annotations: FiledAnnotations, given: list[str] | None) -> Iterator[dict[str, Any]]:
    """The tracks of a folder of PNGs or texts, or of one text, as the entries of a results file; UserError if it is
    neither, or names a video, a frame or a category that the annotations have not, or have twice.

    Categories are `given` as `ifrvis data import --category` takes them; None where none is asked for.
    """
    names = _by_name(((each.name, each.id) for each in annotations.categories), "categories")
    any_name = given is None or (not given and len(names) == 1)
    categories = Categories(list(names)[:1] if any_name else given or [])
    texts = [path] if path.is_file() else seen_in(path, ".txt")
    places = texts or folders_in(path)
    videos = _by_name(((annotations.read_video(each).name, each) for each in annotations.videos), "videos")
    if not places:
        raise UserError(f"Give a JSON file, or a folder of PNGs (DAVIS) or a text (MOTS) a video: {path} has none.")
    for place in places:
        name = place.stem if texts else place.name
        if name not in videos:
            raise UserError(f"Rename {place}: the ground truth has no video {name!r}{nearest(name, [*videos])}.")
        video = annotations.read_video(videos[name])
        clip = Clip(name, [Path(each) for each in video.file_names], video.width, video.height)
        if texts:
            read_sequence(clip, place, categories)
        else:
            read_video(clip, place, categories, void=0)
        for shapes in clip.tracks(link=False).values():
            if (category := shapes[0].category) not in names:
                near = nearest(category, [*names])
                raise UserError(f"Give --category names of the ground truth: it has no {category!r}{near}.")
            masks = {shape.frame: shape.mask for shape in shapes}
            tube = [masks.get(frame) for frame in range(video.length)]
            yield {"video_id": video.id, "category_id": names[category], "score": 1.0, "segmentations": tube}


def _by_name(named: Iterable[tuple[str, Id]], what: str) -> dict[str, Id]:
    found: dict[str, Id] = {}
    for name, each in named:
        if found.setdefault(name, each) != each:
            text = f"two are called {name!r}, and folders and texts are known by names alone"
            raise UserError(f"Rename {what} of the ground truth, or give a results file: {text}.")
    return found
