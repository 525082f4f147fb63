"""Results of other programs in other formats than the server's list, as predictions of the videos of a ground truth.

What is given is the file, or a folder: of one JSON file; of a folder of PNGs a video (DAVIS); of a text file a video
(KITTI MOTS); or one that has such in `data`, as TrackEval has trackers. These formats have no scores: all are 1.
"""

from pathlib import Path

from ifrvis.datasets.ytvis import Annotations
from ifrvis.errors import UserError, nearest
from ifrvis.evaluation.predictions import Prediction


def file_in(path: Path) -> Path:
    """The JSON file that is meant by a folder that has one, itself or in `data`; else what is to be read instead.

    Raises:
        UserError: If it has several.
    """
    if not path.is_dir():
        return path
    inner = path / "data" if (path / "data").is_dir() else path
    found = sorted(inner.glob("*.json"))
    if len(found) > 1:
        raise UserError(f"Give one file: {inner} has {', '.join(each.name for each in found[:3])}.")
    return found[0] if found else inner


def read_masks(path: Path, annotations: Annotations, given: list[str] | None) -> tuple[Prediction, ...]:
    """The tracks of a folder of PNGs or texts, or of one text.

    Args:
        path: As `file_in` gives it.
        annotations: Whose videos and frames are called as the folder's.
        given: Names of categories as `ifrvis data import --category` takes them; None where none is asked for.

    Raises:
        UserError: If it is neither, or names a video, a frame or a category that is not there.
    """
    from ifrvis.datasets.exchange.collected import Categories, Clip  # they open pictures, which no report needs
    from ifrvis.datasets.exchange.davis import read_video
    from ifrvis.datasets.exchange.mots import read_sequence

    names = {category.name: category.id for category in annotations.categories}
    any_name = given is None or (not given and len(names) == 1)
    categories = Categories(list(names)[:1] if any_name else given or [])
    texts = [path] if path.is_file() else sorted(path.glob("*.txt"))
    places = texts or sorted(each for each in path.iterdir() if each.is_dir())
    videos = {video.name: video for video in annotations.videos}
    if not places:
        raise UserError(f"Give a JSON file, or a folder of PNGs (DAVIS) or a text (MOTS) a video: {path} has none.")
    found: list[Prediction] = []
    for place in places:
        name = place.stem if texts else place.name
        if name not in videos:
            raise UserError(f"Rename {place}: the ground truth has no video {name!r}{nearest(name, [*videos])}.")
        video = videos[name]
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
            tube = tuple(masks.get(frame) for frame in range(video.length))
            found.append(Prediction(video.id, names[category], 1.0, tube, len(found)))
    return tuple(found)
