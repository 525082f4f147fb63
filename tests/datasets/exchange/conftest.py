"""Two made videos and their tracks, and files of other formats that are written here, apart from what reads them."""

import json
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

HEIGHT, WIDTH, LENGTH = 24, 40, 4


class Object(NamedTuple):
    video: str
    number: int  # in its video, from 1
    category: str
    masks: list  # (H, W) bool, or None where it is not seen


def square(left, top=4, side=9):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + side, left : left + side] = True
    mask[top, left] = False  # no square: a mask that is mirrored or turned is another
    return mask


def plane(objects, t, value):
    """The numbers of a frame: of each object what `value` says."""
    numbers = np.zeros((HEIGHT, WIDTH), np.uint16)
    for each in objects:
        if each.masks[t] is not None:
            numbers[each.masks[t]] = value(each)
    return numbers


def rle(mask):
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()}


class World:
    """Objects of two videos, and where their frames are."""

    def __init__(self, root):
        self.root, self.frames = root, root / "frames"
        self.objects = [
            Object("b-2", 1, "cat", [square(2), None, square(4), square(5)]),
            Object("b-2", 2, "dog", [None, square(20), square(22), None]),
            Object("a", 1, "cat", [square(20 - 2 * t, 10) for t in range(LENGTH)]),
        ]
        for video in ("b-2", "a"):
            (self.frames / video).mkdir(parents=True)
            for t in range(LENGTH):
                Image.new("RGB", (WIDTH, HEIGHT), (40 * t, 90, 10)).save(self.frames / video / f"{t:05d}.jpg")

    def of(self, video):
        return [each for each in self.objects if each.video == video]

    def save(self, path, numbers, kind="P"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "P":
            image = Image.fromarray(numbers.astype(np.uint8), "P")
            image.putpalette([value for k in range(256) for value in (k, 255 - k, k * 7 % 256)])
        else:
            image = Image.fromarray(numbers)
        image.save(path)

    def davis(self, between="", by_object=False):
        for video in ("b-2", "a"):
            for t in range(LENGTH):
                folder = self.root / "davis" / "Annotations" / between / video
                if not by_object:
                    self.save(folder / f"{t:05d}.png", plane(self.of(video), t, lambda each: each.number))
                for each in self.of(video) if by_object else ():
                    numbers = plane([each], t, lambda each: 255).astype(np.uint8)
                    self.save(folder / f"{each.number}" / f"{t:05d}.png", numbers, "L")
        images = self.root / "davis" / "JPEGImages" / between
        images.parent.mkdir(exist_ok=True)
        images.symlink_to(self.frames)
        return self.root / "davis"

    def mots(self, text=False):
        kinds, out = {"cat": 1, "dog": 2}, self.root / "mots"
        value = lambda each: 1000 * kinds[each.category] + each.number  # noqa: E731
        for video in ("b-2", "a"):
            lines = []
            for t in range(LENGTH):
                if not text:
                    self.save(out / "instances" / video / f"{t:06d}.png", plane(self.of(video), t, value), "I;16")
                for each in self.of(video):
                    if each.masks[t] is not None:
                        code = f"{HEIGHT} {WIDTH} {rle(each.masks[t])['counts']}"
                        lines.append(f"{t} {value(each)} {kinds[each.category]} {code}")
            if text:
                out.mkdir(exist_ok=True)
                (out / f"{video}.txt").write_text("\n".join(lines))
        return out

    def cvat(self):
        out = self.root / "cvat"
        out.mkdir(exist_ok=True)
        for video in ("b-2", "a"):
            tracks = "".join(self._cvat_track(each) for each in self.of(video))
            meta = f"<meta><task><name>{video}</name><size>{LENGTH}</size><start_frame>0</start_frame></task></meta>"
            (out / f"{video}.xml").write_text(f"<annotations><version>1.1</version>{meta}{tracks}</annotations>")
        return out

    def _cvat_track(self, each):
        lines, before = [], None
        for t, mask in enumerate(each.masks):
            if mask is None and before is None:
                continue
            rows, columns = np.nonzero(before if mask is None else mask)
            left, top = columns.min(), rows.min()
            box = (before if mask is None else mask)[top : rows.max() + 1, left : columns.max() + 1]
            flat = [0, *box.ravel().tolist()]
            turns = [k for k in range(len(flat)) if k and flat[k] != flat[k - 1]]
            runs = np.diff([1, *turns, len(flat)])
            head = f'frame="{t}" keyframe="1" outside="{int(mask is None)}" occluded="0"'
            size = f'left="{left}" top="{top}" width="{box.shape[1]}" height="{box.shape[0]}"'
            lines.append(f'<mask {head} rle="{", ".join(map(str, runs))}" {size} z_order="0"/>')
            before = mask
        return f'<track id="{each.number}" label="{each.category}" source="manual">{"".join(lines)}</track>'

    def coco(self, **changes):
        """`changes` of every image or annotation: a value of None takes the field away."""
        images, annotations = [], []
        for video, name in ((7, "b-2"), (3, "a")):
            for t in range(LENGTH):
                image = {"id": len(images) + 1, "file_name": f"{name}/{t:05d}.jpg", "width": WIDTH, "height": HEIGHT}
                images.append({**image, "video_id": video, "frame_id": t})
                for each in self.of(name):
                    if each.masks[t] is not None:
                        entry = {
                            "id": len(annotations) + 1,
                            "image_id": image["id"],
                            "iscrowd": 0,
                            "bbox": [0, 0, 1, 1],
                        }
                        entry |= {
                            "category_id": {"cat": 4, "dog": 2}[each.category],
                            "segmentation": rle(each.masks[t]),
                        }
                        annotations.append({**entry, "track_id": 10 * video + each.number})
        for entry in (*images, *annotations):
            entry |= {key: value for key, value in changes.items() if key in entry}
            for key in [key for key, value in entry.items() if value is None]:
                del entry[key]
        categories = [{"id": 4, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 9, "name": "eel"}]
        content = {"images": images[::-1], "annotations": annotations[::-1], "categories": categories}
        (self.root / "coco.json").write_text(json.dumps(content))
        return self.root / "coco.json"


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return World(tmp_path)


@pytest.fixture
def copied_by_macos(world):
    """Leaves beside each file of the world what macOS leaves when it copies to a disk of another system."""

    def leave():
        for path in [each for each in world.root.rglob("*") if each.is_file()]:
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7Mac OS X\xff")

    return leave


@pytest.fixture
def found_in():
    """What a set's JSON holds: video, category, and the masks of each track."""

    def read(path):
        content = json.loads(path.read_text())
        names = {each["id"]: each["name"] for each in content["categories"]}
        videos = {each["id"]: each["name"] for each in content["videos"]}
        return sorted(
            (
                (
                    videos[each["video_id"]],
                    names[each["category_id"]],
                    [m and m["counts"] for m in each["segmentations"]],
                )
                for each in content["annotations"]
            ),
            key=repr,
        )

    return read


@pytest.fixture
def expected():
    """The same of a world's objects; of one category, if it is named."""

    def of(world, category=None):
        return sorted(
            (
                (each.video, category or each.category, [None if m is None else rle(m)["counts"] for m in each.masks])
                for each in world.objects
            ),
            key=repr,
        )

    return of
