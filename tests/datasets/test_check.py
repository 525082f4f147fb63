"""A sound installation is called so; each way of breaking one is found and named."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.datasets.check import check_dataset
from ifrvis.datasets.rle import encode
from ifrvis.datasets.synthetic.making import make_split
from ifrvis.datasets.synthetic.parameters import SyntheticParameters

YAML = """
name: mine
title: my set
categories: 4
annotation: mine/train.json
frames: mine/train/JPEGImages
source: Unpack it there.
server: {annotation: mine/valid.json, frames: mine/valid/JPEGImages, videos: 3}
videos: 3
names: [%s]
"""


class Copy:
    """An installation to break: its parsed annotations, its frames, and what a check says of it."""

    def __init__(self, root):
        self.root, self.annotation = root, root / "mine" / "train.json"
        self.frames = root / "mine" / "train" / "JPEGImages"
        self.content = json.loads(self.annotation.read_text())
        self.video, self.track = self.content["videos"][0], self.content["annotations"][0]
        self.frame = self.frames / self.video["file_names"][1]

    def check(self, **options):
        self.save()
        return check_dataset(load_dataset(str(self.root / "mine.yaml"), self.root), **options)

    def save(self):
        if self.annotation.exists():
            self.annotation.write_text(json.dumps(self.content))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("installation")
    videos = {"pretrain": 0, "train": 3, "dev": 0, "test": 3}
    parameters = SyntheticParameters(seed=1, videos=videos, height=64, width=80, frames=(6, 6), diameter=(16.0, 24.0))
    for split, name in (("train", "train"), ("test", "valid")):
        made = make_split(parameters, split, root / "made")
        (root / "mine").mkdir(exist_ok=True)
        shutil.copytree(root / "made" / split, root / "mine" / name)
        content = json.loads(made.read_text())
        if name == "valid":
            del content["annotations"]
        (root / "mine" / f"{name}.json").write_text(json.dumps(content))
    names = [each["name"] for each in content["categories"]]
    (root / "mine.yaml").write_text(YAML % ", ".join(names))
    return root


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy", ignore=shutil.ignore_patterns("made"))
    return Copy(tmp_path / "copy")


def test_a_sound_installation_is_called_so_with_its_fingerprints(copy):
    looked_at = []
    checked = check_dataset(
        load_dataset(str(copy.root / "mine.yaml"), copy.root), decode=True, progress=lambda *of: looked_at.append(of)
    )
    assert [each.role for each in checked] == ["full", "server"]
    assert [each.findings for each in checked] == [[], []]
    assert [(each.videos, each.frames) for each in checked] == [(3, 18), (3, 18)]
    assert looked_at == [(1, 3), (2, 3), (3, 3)] * 2
    dataset = load_dataset(str(copy.root / "mine.yaml"), copy.root)
    assert [each.fingerprint for each in checked] == [dataset.split(role).fingerprint for role in ("full", "server")]


def reencode(path, size):
    cv2.imwrite(str(path), np.zeros((*size[::-1], 3), np.uint8))


def rename_category(copy):
    copy.content["categories"][1]["name"] = "unicorn"


def drop_category(copy):
    gone = copy.content["categories"].pop()["id"]
    copy.content["annotations"] = [each for each in copy.content["annotations"] if each["category_id"] != gone]


def repeat_id(copy):
    copy.content["annotations"][1]["id"] = copy.track["id"]


def drop_video(copy):
    copy.content["videos"].pop(0)
    tracks = copy.content["annotations"]
    copy.content["annotations"] = [each for each in tracks if each["video_id"] != copy.video["id"]]
    shutil.rmtree(copy.frame.parent)


def forget_tracks(copy):
    tracks = copy.content["annotations"]
    copy.content["annotations"] = [each for each in tracks if each["video_id"] != copy.video["id"]]


def empty_mask(copy):
    visible = next(t for t, mask in enumerate(copy.track["segmentations"]) if mask)
    copy.track["segmentations"][visible] = encode(np.zeros((64, 80), bool))
    copy.track.pop("areas", None)


def no_masks(copy):
    copy.track.update(segmentations=[None] * 6, areas=[None] * 6)


def wrong_area(copy):
    visible = next(t for t, mask in enumerate(copy.track["segmentations"]) if mask)
    copy.track["areas"] = [None] * 6
    copy.track["areas"][visible] = 4000.0


# Breakage -> how, what the check calls it, and how what it says begins; `test_ytvis` has all that is wrong in entries.
BROKEN = {
    "annotation file gone": (lambda copy: copy.annotation.unlink(), "missing", "Put my set where it is expected"),
    "frames gone": (lambda copy: shutil.rmtree(copy.frames), "missing", "Put my set where it is expected"),
    "category renamed": (rename_category, "categories", "Correct .*categories: .*unicorn"),
    "category gone": (drop_category, "categories", "Correct .*categories: there are 3, 4 are expected"),
    "id twice": (repeat_id, "entry", r"Correct .*annotations\[1\].id: expected an id that no other"),
    "too few masks": (lambda copy: copy.track["segmentations"].pop(), "entry", r"Correct .*segmentations: .*list of 6"),
    "mask without pixels": (empty_mask, "mask without pixels", "Write null instead"),
    "track without masks": (no_masks, "track without masks", "Drop track"),
    "wrong area": (wrong_area, "areas", "Correct areas: .*says 4000"),
    "frame twice": (
        lambda copy: copy.video["file_names"].__setitem__(0, copy.video["file_names"][1]),
        "frame twice",
        "Correct .* lists the frame",
    ),
    "video gone": (drop_video, "videos", "Download .*it has 2 videos, published are 3"),
    "frame gone": (lambda copy: copy.frame.unlink(), "frame missing", "Restore .*does not exist"),
    "frame of another size": (lambda copy: reencode(copy.frame, (60, 64)), "frame size", "Replace .*60 x 64"),
    "frame of a name too long": (
        lambda copy: copy.video["file_names"].__setitem__(0, f"{'x' * 300}/0.jpg"),
        "frame",
        "Replace .*File name too long",
    ),
    "frame without bytes": (lambda copy: copy.frame.write_bytes(b""), "frame", "Copy .* again"),
}


@pytest.mark.parametrize("breakage", BROKEN)
def test_a_broken_copy_is_found_out_and_the_cure_is_said_first(copy, breakage):
    how, kind, says = BROKEN[breakage]
    how(copy)
    train, valid = copy.check()
    errors = [finding for finding in train.findings if finding.level == "error"]
    assert kind in {finding.kind for finding in errors}
    text = next(finding.text for finding in errors if finding.kind == kind)
    assert re.match(says, text)
    assert train.fingerprint is None
    assert valid.is_sound


def test_a_jpeg_cut_short_is_found_by_decoding_alone(copy):
    copy.frame.write_bytes(copy.frame.read_bytes()[:-200])
    assert copy.check()[0].is_sound
    (finding,) = copy.check(decode=True)[0].findings
    assert (finding.kind, finding.text[:5]) == ("frame", "Copy ")


def test_what_does_no_harm_is_a_note(copy):
    forget_tracks(copy)
    (copy.frames / "unlisted").mkdir()
    train = copy.check()[0]
    assert {(finding.level, finding.kind) for finding in train.findings} == {
        ("note", "empty video"),
        ("note", "more on disk"),
    }
    assert train.is_sound
    assert train.fingerprint


def rename_frames(copy, name):
    """Frames have other names, on disk and in the file, in the order that they had."""
    for t, old in enumerate(copy.video["file_names"]):
        new = f"{old.split('/')[0]}/{name(t)}"
        (copy.frames / old).rename(copy.frames / new)
        copy.video["file_names"][t] = new


def text_order(copy):
    rename_frames(copy, lambda t: ["0.jpg", "1.jpg", "10.jpg", "11.jpg", "2.jpg", "3.jpg"][t])


def mix_masks(copy):
    Image.new("L", (80, 64)).save(copy.frame)


def share_folder(copy):
    folder = copy.content["videos"][1]["file_names"][0].split("/")[0]
    rename_frames(copy, lambda t: f"{100 + t}.jpg")
    for t, old in enumerate(copy.video["file_names"]):
        (copy.frames / old).rename(copy.frames / folder / f"{100 + t}.jpg")
        copy.video["file_names"][t] = f"{folder}/{100 + t}.jpg"
    copy.frame.parent.rmdir()


def tag(copy):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (80, 64)).save(copy.frame, exif=exif)


def deepen(copy):
    copy.frame.unlink()
    cv2.imwrite(str(copy.frame.with_suffix(".png")), np.ones((64, 80, 3), np.uint16))
    copy.video["file_names"][1] = "00000/00001.png"


NOTED = {
    "frame order": (text_order, "Look at the order of frames and masks of 1 videos, as 00000"),
    "frames twice": (
        lambda copy: rename_frames(copy, lambda t: f"{t // 2}{'_mask' * (t % 2)}.jpg"),
        ".*0.jpg and .*0_mask",
    ),
    "masks among frames": (mix_masks, "Look .*: 1 of 00000 have one channel, as 00000/00001.jpg, and 5 have colours"),
    "shared folder": (share_folder, "Give each video a folder .*: 2 share one with others, as 1 in 00001"),
    "orientation": (tag, "Look at the masks .*: 1 have one, as 00000/00001.jpg"),
    "stretched": (deepen, "Write .*: 1 have more"),
    "more pictures": (
        lambda copy: Image.new("P", (80, 64)).save(copy.frame.with_suffix(".png")),
        ".*: 1 pictures in .*00001.png",
    ),
}


@pytest.mark.parametrize("kind", NOTED)
def test_what_cannot_be_proven_is_a_note(copy, kind):
    how, says = NOTED[kind]
    how(copy)
    train = copy.check(decode=True)[0]
    assert train.is_sound
    assert [finding.kind for finding in train.findings] == [kind]
    assert re.match(says, train.findings[0].text)


def windows_paths(copy):
    copy.video["file_names"] = [name.replace("/", "\\") for name in copy.video["file_names"]]


WRONG = {
    "Windows paths": (windows_paths, r"Correct .*videos\[0\].file_names\[0\]: expected a path with /"),
    "id of a video twice": (
        lambda copy: copy.content["videos"][1].update(id=1),
        r"Correct .*videos\[1\].id: expected an id",
    ),
    "no size": (lambda copy: copy.video.pop("width"), r"Correct .*videos\[0\].width"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_of_a_wrong_entry_nothing_follows_that_is_not_so(copy, kind):
    how, says = WRONG[kind]
    how(copy)
    findings = copy.check()[0].findings
    assert {(finding.level, finding.kind) for finding in findings} == {("error", "entry")}
    assert re.match(says, findings[0].text)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{draw: 2}", None),
        ("{draw: 3}", r"Change 'heldout' of dataset 'mine', or add videos: it leaves no video to 'train' of 3"),
        ("{draw: 1, groups: ['0*']}", r"Change 'heldout' .* it leaves no video to 'heldout' of 3"),
        ("{videos: ['00001', '0000l']}", r"Correct 'heldout' of dataset 'mine': no video is called '0000l' \(did you"),
    ],
)
def test_a_rule_that_no_row_can_be_scored_by_is_an_error(copy, rule, says):
    path = copy.root / "mine.yaml"
    path.write_text(f"{path.read_text()}heldout: {rule}\n")
    findings = copy.check()[0].findings
    assert [finding.kind for finding in findings] == ["heldout"] * bool(says)
    assert not says or re.match(says, findings[0].text)


def test_a_file_without_tracks_trains_nobody(copy):
    copy.content["annotations"] = []
    assert [(each.level, each.kind) for each in copy.check()[0].findings] == [
        ("error", "no tracks"),
        ("note", "empty video"),
    ]
    del copy.content["annotations"]
    (finding,) = copy.check()[0].findings
    assert re.match(r"Correct .*train.json: annotations: expected a list \(a test split's file", finding.text)


def test_all_that_is_wrong_is_said_at_once(copy):
    for breakage in ("wrong area", "too few masks", "frame gone"):
        BROKEN[breakage][0](copy)
        copy.track = copy.content["annotations"][1]
    assert {finding.kind for finding in copy.check()[0].findings} == {"areas", "entry", "frame missing"}


def run(capsys, *arguments):
    status = main([str(each) for each in arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_the_command_tells_sound_from_broken_from_absent(copy, capsys, tmp_path):
    check = ("data", "check", copy.root / "mine.yaml", "--data-root")
    status, out, _ = run(capsys, *check, copy.root)
    assert (status, out.count(": sound;"), out.count("fingerprint")) == (0, 2, 2)
    copy.frame.unlink()
    status, out, _ = run(capsys, *check, copy.root)
    assert status == 1
    assert "  error, frame missing: Restore" in out
    status, out, _ = run(capsys, *check, copy.root, "--json")
    assert (status, json.loads(out)[0]["findings"][0]["kind"]) == (1, "frame missing")
    status, out, _ = run(capsys, *check, tmp_path / "elsewhere")
    assert status == 2
    assert "Put my set where it is expected" in out
    assert "Unpack it there." in out


def test_the_real_clips_are_sound(real_vis, monkeypatch, capsys):
    monkeypatch.setenv("IFRVIS_TEST_DATA", str(real_vis.parent))
    status, out, _ = run(capsys, "data", "check", "real_vis", "--decode")
    assert (status, "full: sound" in out, "9 videos, 160 frames, 144 tracks" in out) == (0, True, True)
