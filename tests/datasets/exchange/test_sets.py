"""Masks of other formats come in as they are, ready to train on; what is wrong or not said is refused with what to do.

Also tests: ifrvis.commands.data, ifrvis.datasets.exchange.coco, ifrvis.datasets.exchange.collected,
ifrvis.datasets.exchange.cvat, ifrvis.datasets.exchange.davis, ifrvis.datasets.exchange.mots.
"""

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from datasets.exchange.conftest import LENGTH, Object, plane, square

from ifrvis.cli import main
from ifrvis.commands.data import check_own
from ifrvis.datasets.catalog import load_dataset
from ifrvis.datasets.exchange.collected import Categories
from ifrvis.datasets.exchange.sets import _checked_rule, _parts_of_one
from ifrvis.datasets.splits import HeldOut
from ifrvis.datasets.ytvis import Annotations, Video
from ifrvis.errors import UserError

FRAMES = ("--frames", "{frames}")
NAMED = ("--category", "1=cat", "--category", "2=dog")
MADE = {  # name -> its format, what writes it, options that are needed, the one name where a format has none
    "davis": ("davis", lambda w: w.davis(), ("--category", "thing"), "thing"),
    "davis of one resolution": ("davis", lambda w: w.davis("480p"), ("--category", "thing"), "thing"),
    "davis, a folder an object": ("davis", lambda w: w.davis(by_object=True), ("--category", "thing"), "thing"),
    "davis, named by globs": (
        "davis",
        lambda w: w.davis(),
        ("--category", "b-2/2=dog", "--category", "*/1=cat", "--category", "eel/*=eel"),
        None,
    ),
    "mots": ("mots", lambda w: w.mots(), (*FRAMES, *NAMED), None),
    "mots as text of a tracker": (
        "mots",
        lambda w: replaced(w.mots(text=True) / "a.txt", (" 1001 1 ", " 5 1 "), ("\n", "\n \n")),
        (*FRAMES, *NAMED),
        None,
    ),
    "davis of a notebook": ("davis", lambda w: of_a_notebook(w), ("--category", "thing"), "thing"),
    "mots as text": ("mots", lambda w: w.mots(text=True), (*FRAMES, *NAMED), None),
    "cvat": ("cvat", lambda w: w.cvat(), FRAMES, None),
    "coco": ("coco", lambda w: w.coco(), FRAMES, None),
    "coco by folders": ("coco", lambda w: w.coco(video_id=None, frame_id=None), FRAMES, None),
}


@pytest.fixture
def bring(world, capsys, monkeypatch):
    """Import into `set` of the world's folder: the status and what was said."""

    def run(kind, source, *options):
        given = [each.format(frames=world.frames) for each in options]
        status = main(["data", "import", kind, str(source), "--out", str(world.root / "set"), *given])
        return status, "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize("name", MADE)
def test_masks_and_identities_come_back_and_the_set_works_at_once(world, bring, found_in, expected, name):
    kind, write, options, category = MADE[name]
    status, said = bring(kind, write(world), *options)
    assert status == 0, said
    assert "full: sound; " in said
    assert ("note: --category eel/*=eel names nothing" in said) == ("globs" in name)
    assert found_in(world.root / "set" / "instances.json") == expected(world, category)
    dataset = load_dataset(str(world.root / "set" / "dataset.yaml"), world.root / "elsewhere")
    parts = [{video.name for video in dataset.split(role).read().videos} for role in ("train", "heldout")]
    assert sorted(map(len, parts)) == [1, 1]
    assert parts[0] != parts[1]
    objects = 2 if parts[1] == {"b-2"} else 1
    assert f"held out, with {objects} objects in 1 videos: {min(parts[1])}\nwarning: numbers of fewer than 20" in said
    assert bring(kind, write(world) if kind == "coco" else world.root / kind, *options)[0] == 0  # again, the same


def test_categories_of_coco_are_all_there_in_the_order_of_ids(world, bring):
    bring("coco", world.coco(), *FRAMES)
    content = json.loads((world.root / "set" / "instances.json").read_text())
    assert [each["name"] for each in content["categories"]] == ["dog", "cat", "eel"]
    assert {"source_id", "areas", "bboxes", "length", "iscrowd"} <= content["annotations"][0].keys()


def test_a_track_of_coco_is_a_crowd_where_all_its_masks_say_so_and_a_mixture_is_told(world, bring):
    source, path = world.coco(), world.root / "set" / "instances.json"
    content = json.loads(source.read_text())
    track = [each for each in content["annotations"] if each["track_id"] == content["annotations"][0]["track_id"]]
    for entries, crowds, told in ((track[:1], 0, True), (track, 1, False)):
        for entry in entries:
            entry["iscrowd"] = 1
        source.write_text(json.dumps(content))
        said = bring("coco", source, *FRAMES)[1]
        assert (f"1 of {len(track)} masks of {track[0]['track_id']} in a say iscrowd" in said) is told
        assert sum(each["iscrowd"] for each in json.loads(path.read_text())["annotations"]) == crowds
        shutil.rmtree(world.root / "set")


def test_polygons_of_cvat_are_those_of_coco(world, bring, found_in):
    for video in ("b-2", "a"):
        points = "1.5,2.0;20.25,2.0;11.0,19.5"
        shapes = "".join(f'<polygon frame="{t}" outside="0" points="{points}"/>' for t in range(LENGTH))
        text = f'<annotations><track id="0" label="cat">{shapes}</track></annotations>'
        (world.root / f"{video}.xml").write_text(text)
    assert bring("cvat", world.root, *FRAMES)[0] == 0
    masks = [masks for _, _, masks in found_in(world.root / "set" / "instances.json")]
    world.objects = [each._replace(masks=[square(1)] * LENGTH) for each in world.objects if each.number == 1]
    source = world.coco(segmentation=[[1.5, 2.0, 20.25, 2.0, 11.0, 19.5]])
    shutil.rmtree(world.root / "set")
    assert bring("coco", source, *FRAMES)[0] == 0
    assert [masks for _, _, masks in found_in(world.root / "set" / "instances.json")] == masks


@pytest.mark.parametrize("kind", ["coco", "cvat"])
def test_masks_without_identity_are_linked_by_the_rule_that_was_named_or_refused(
    world, bring, found_in, expected, kind
):
    """Objects move by less than half of their size, and the one that goes away comes back as another."""
    if kind == "cvat":  # what is drawn without a track is a track of one frame each
        for video in ("b-2", "a"):
            world.objects += [
                Object(video, 10 * each.number + t, each.category, [mask if s == t else None for s in range(LENGTH)])
                for each in world.of(video)
                for t, mask in enumerate(each.masks)
                if mask is not None
            ]
        kept, world.objects = world.objects[:3], world.objects[3:]
        source = world.cvat()
        world.objects = kept
    else:
        source = world.coco(track_id=None)
    status, said = bring(kind, source, *FRAMES)
    assert status == 2
    assert "Give each object an identity, or add `--link overlap`" in said
    assert bring(kind, source, *FRAMES, "--link", "overlap")[0] == 0
    first = world.objects[0]
    world.objects[:1] = [
        first._replace(masks=[first.masks[0], None, None, None]),
        first._replace(masks=[None, None, *first.masks[2:]]),
    ]
    assert found_in(world.root / "set" / "instances.json") == expected(world)


def test_a_track_of_one_frame_is_taken_as_it_stands_and_told(world, bring, found_in, expected):
    world.objects[1] = world.objects[1]._replace(masks=[None, square(20), None, None])
    status, said = bring("cvat", world.cvat(), *FRAMES)
    assert (status, "note: 1 tracks of b-2 are of one frame" in said) == (0, True)
    assert found_in(world.root / "set" / "instances.json") == expected(world)


def test_masks_without_pixels_are_left_out_and_told(world, bring, found_in, expected):
    world.objects.append(Object("a", 2, "dog", [np.zeros_like(square(1)), None, None, None]))
    status, said = bring("mots", world.mots(text=True), *FRAMES, *NAMED)
    assert (status, "note: 1 masks of a have no pixels and are left out" in said) == (0, True)
    world.objects.pop()
    assert found_in(world.root / "set" / "instances.json") == expected(world)


@pytest.mark.parametrize(("options", "objects"), [((), None), (("--void", "255"), 3), (("--void", "0"), 4)])
def test_whether_255_is_an_object_is_asked(world, bring, found_in, options, objects):
    source = world.davis()
    path = source / "Annotations" / "a" / "00001.png"
    numbers = plane(world.of("a"), 1, lambda each: 1)
    numbers[:3] = 255
    world.save(path, numbers)
    status, said = bring("davis", source, "--category", "cat", *options)
    if objects is None:
        assert status == 2
        assert "Say with --void 255 that it is no object, or with --void 0" in said
    else:
        assert status == 0
        assert len(found_in(world.root / "set" / "instances.json")) == objects
        assert ("note: pixels of a that are no object" in said) == (objects == 3)


def test_a_void_is_no_second_object_of_a_folder(world, bring, found_in, expected):
    source = world.davis(by_object=True)
    for each in world.objects:
        for t in range(LENGTH):
            numbers = plane([each], t, lambda one: 1)
            numbers[:3] = 255
            world.save(source / "Annotations" / each.video / f"{each.number}" / f"{t:05d}.png", numbers)
    status, said = bring("davis", source, "--category", "cat")
    assert (status, "Say with --void 255 that it is no object" in said) == (2, True)
    assert bring("davis", source, "--category", "cat", "--void", "255")[0] == 0
    assert found_in(world.root / "set" / "instances.json") == expected(world, "cat")


def test_videos_without_masks_are_left_out_and_told(world, bring):
    shutil.copytree(world.frames / "a", world.frames / "c")
    assert (
        "note: 1 folders beside the frames have no masks and are left out, as c"
        in bring("coco", world.coco(), *FRAMES)[1]
    )


@pytest.mark.parametrize("name", MADE)
def test_hidden_files_beside_others_are_passed_over(world, bring, copied_by_macos, name):
    kind, write, options, _ = MADE[name]
    source = write(world)
    copied_by_macos()
    status, said = bring(kind, source, *options)
    assert (status, "._" in said) == (0, False), said


def test_an_id_that_coco_does_not_define_is_not_answered_by_the_command_that_was_given(world, bring):
    for field in ("image_id", "category_id"):
        said = bring("coco", world.coco(**{field: 99}), *FRAMES)[1]
        assert f"annotations[0].{field}: expected an id that the annotation file defines, got 99." in said


def test_the_category_of_an_object_is_named_as_the_error_says_brackets_in_its_name_too():
    what = "cats [x1]/1"
    with pytest.raises(UserError, match=r"with --category 'cats \[x1\]/1=NAME', or of all"):
        Categories([]).name(what, "numbers alone")
    assert Categories([f"{what}=cat", "animal"]).name(what, "numbers alone") == "cat"


def test_a_category_without_a_name_is_refused_as_it_was_given(world, bring):
    status, said = bring("davis", world.davis(), "--category", "*=")
    assert (status, said.startswith("ifrvis: Give --category a name")) == (2, True), said


def test_frames_without_masks_are_left_out_only_where_that_is_said(world, bring):
    source = world.davis()
    (source / "Annotations" / "a" / "00002.png").unlink()
    status, said = bring("davis", source, "--category", "cat")
    assert (status, "import davis --annotated-only`: 1 of 4 frames of video a" in said) == (2, True)
    assert bring("davis", source, "--category", "cat", "--annotated-only")[0] == 0
    content = json.loads((world.root / "set" / "instances.json").read_text())
    assert [video["length"] for video in content["videos"]] == [3, 4]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--heldout", "1"), "held out"),
        (("--heldout", "2"), "Choose another --heldout than 2: of 2 videos it holds out 2"),
        (("--heldout", "1", "--group", "?*"), "Choose another --heldout than 1: of 2 videos it holds out 0"),
        (("--group", "?*"), "error, heldout: Change 'heldout' of dataset 'set', or add videos: it leaves no"),
        (("--group", "c*"), "Correct --group c*: no video is called so"),
    ],
)
def test_a_split_is_of_whole_groups_or_none(world, bring, options, says):
    assert says in bring("coco", world.coco(), *FRAMES, *options)[1]


def test_a_set_that_nothing_can_be_held_out_of_is_not_scored_on_its_training_videos(world, bring):
    bring("coco", world.coco(), *FRAMES, "--group", "?*")
    dataset = load_dataset(str(world.root / "set" / "dataset.yaml"), world.root)
    assert len(dataset.split("train").read().videos) == 2
    with pytest.raises(ValueError, match="leaves no video to 'heldout' of 2"):
        dataset.split("heldout").read()


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["sea", "beach_b", "beach_a", "cap"], ("beach[_-]*",)),
        (["clip-2", "clip-10", "sea"], ()),  # so many are called so that it only counts
        (["a[1]_1", "a[1]_2", "b-x", "b-y"], ("a[[]1][_-]*", "b[_-]*")),
        (["00001", "00002", "beach", "beaches", "sand_a"], ()),
    ],
)
def test_videos_that_are_called_as_parts_of_one_are_a_group(names, groups):
    assert _parts_of_one(names) == groups


@pytest.mark.parametrize(("sizes", "draw"), [((1, 1, 8), 2), ((4, 5), 4), ((6, 3, 3), 3), ((400,), 0)])
def test_a_fifth_is_drawn_or_the_smallest_group_at_once_however_many_stay_together(sizes, draw):
    places = [place for place, size in enumerate(sizes) for _ in range(size)]  # names apart, frames called alike
    videos = [Video(k, 8, 8, (f"all/{'abc'[place]}_{k}.jpg",), f"v{k}") for k, place in enumerate(places)]
    began_s = time.process_time()
    rule, _ = _checked_rule(Annotations(Path("gt.json"), (), tuple(videos), ()), HeldOut(), None)
    assert time.process_time() - began_s < 2
    assert rule.draw == draw


def test_parts_of_one_video_are_held_out_together_or_not_at_all(world, bring):
    for name in ("a_1", "a_2", "b-2"):
        shutil.copytree(world.frames / "a", world.frames / name, dirs_exist_ok=True)
    world.objects = [each._replace(video=video) for video in ("a_1", "a_2", "c", "b-2") for each in world.of("a")]
    (world.frames / "a").rename(world.frames / "c")
    status, said = bring("davis", davis_of(world), "--frames", "{frames}", "--category", "x")
    assert (status, "together or not at all, as parts of one video: a[_-]*" in said) == (0, True)
    assert re.search("held out, .*: (c|b-2|a_1, a_2)\n", said)


def davis_of(world):
    for each in world.objects:
        for t in range(LENGTH):
            world.save(world.root / "d" / each.video / f"{t:05d}.png", plane([each], t, lambda one: one.number))
    return world.root / "d"


@pytest.fixture
def own(world):
    """`own(*options)`: a plan of two rows on the world's videos as YouTube-VIS JSON, `mine.json`; status and text."""
    main(["data", "import", "coco", str(world.coco()), "--out", str(world.root / "set"), "--frames", str(world.frames)])
    (world.root / "set" / "instances.json").rename(world.root / "mine.json")
    videos = [{"id": 7, "name": "b-2"}, {"id": 3, "name": "a"}]  # as MMTracking, TAO and `data export` list them
    listed = {"videos": videos} | json.loads((world.root / "coco.json").read_text())
    (world.root / "listed.json").write_text(json.dumps(listed))

    def plan(*options, file="mine.json"):
        rows = "mask2former-r50-ytvis19,ours-r50-ytvis19"
        given = ["--annotations", str(world.root / file), "--data-root", str(world.root / "data")]
        return main(["plan", "table1", "--rows", rows, "--results", str(world.root / "r"), *given, *options])

    return plan


@pytest.mark.parametrize("file", ["mine.json", "coco.json", "listed.json"])
def test_a_file_of_ones_own_is_all_that_rows_need(world, own, capsys, found_in, file):
    capsys.readouterr()
    for _ in range(2):
        assert own("--frames", str(world.frames), file=file) == 0
        said = capsys.readouterr()
        assert said.out.startswith("Profile mini (for videos of your own")
        assert "ours-r50-ytvis19                     0/5  not run, off-spec" in said.out
        assert re.search("held out, with . objects in 1 videos: (a|b-2)\nwarning: numbers of fewer", said.out)
    name = file.partition(".")[0]
    dataset = load_dataset(str(world.root / "data" / "own" / name), world.root)
    assert dataset.name == name
    parts = [dataset.split(role).read() for role in ("train", "heldout")]
    assert [len(each.videos) for each in parts] == [1, 1]
    assert sum(len(each.tracks) for each in parts) == len(world.objects)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "Say with --frames what file names in"),
        (("--frames", "{frames}", "--dataset", "mini19"), "Leave out --dataset or --annotations"),
        (("--frames", "{frames}", "--rows", "nosuch"), "no row 'nosuch'"),
    ],
)
def test_what_a_file_of_ones_own_lacks_is_said_and_nothing_is_left(world, own, capsys, options, says):
    assert own(*(each.format(frames=world.frames) for each in options)) == 2
    assert says in capsys.readouterr().err
    assert not (world.root / "data").exists()


@pytest.mark.parametrize("file", ["mine.json", "coco.json"])
def test_a_wrong_folder_of_frames_is_refused_before_anything_is_written(world, own, capsys, file):
    assert own("--frames", str(world.root), file=file) == 2
    said = capsys.readouterr().err
    assert f"Correct --frames, or put there what is missing: {world.root} has no " in said
    assert not (world.root / "data").exists()
    assert own("--frames", str(world.frames), file=file) == 0


@pytest.mark.parametrize(
    "command",
    [("data", "check"), ("data", "split"), ("plan", "table1", "--rows", "ours-r50-ytvis19", "--dataset")],
)
def test_a_set_of_ones_own_is_found_by_its_name(world, own, capsys, command):
    assert own("--frames", str(world.frames)) == 0
    roots = ["--data-root", str(world.root / "data"), "--results", str(world.root / "r")]
    capsys.readouterr()
    assert main([*command, "mine", *roots]) == 0
    assert "mine" in capsys.readouterr().out
    assert main([*command, "mien", *roots]) == 2
    assert "no dataset 'mien' (did you mean 'mine'?)" in capsys.readouterr().err


@pytest.mark.parametrize("rule", ["videos: [a]", "draw: 1"])
def test_videos_can_be_chosen_in_the_set_that_was_made(world, own, capsys, rule):
    assert own("--frames", str(world.frames)) == 0
    path = world.root / "data" / "own" / "mine" / "dataset.yaml"
    path.write_text(re.sub("heldout:\n  draw: 1", f"heldout: {{{rule}}}", path.read_text()))
    lines, sound = check_own(load_dataset(str(path), world.root))
    assert sound
    assert rule == "draw: 1" or "held out, with 1 objects in 1 videos: a" in lines
    capsys.readouterr()
    assert own("--frames", str(world.frames)) == 0
    assert rule == "draw: 1" or "held out, with 1 objects in 1 videos: a" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["mine.json", "coco.json"])
def test_another_folder_of_frames_is_taken_and_told_and_what_was_edited_in_the_set_stays(world, own, capsys, file):
    assert own("--frames", str(world.frames), file=file) == 0
    path = world.root / "data" / "own" / file.partition(".")[0] / "dataset.yaml"
    held_out = load_dataset(str(path), world.root).split("heldout").read().videos[0].name
    other = {"a": "b-2", "b-2": "a"}[held_out]
    path.write_text(re.sub("heldout:\n  draw: 1", f"heldout:\n  videos: [{other}]", path.read_text()))
    shutil.copytree(world.frames, world.root / "moved")
    capsys.readouterr()
    assert own("--frames", str(world.root / "moved"), file=file) == 0
    moved = f"{path} has its frames in {world.root}/moved now, no more in {world.frames}"
    assert moved in capsys.readouterr().err
    split = load_dataset(str(path), world.root).split("heldout")
    assert (split.frames, [video.name for video in split.read().videos]) == (world.root / "moved", [other])


def other_categories(world):
    text = (world.root / "mine.json").read_text()
    content = json.loads(text)
    content["categories"].append({"id": 9, "name": "bee"})
    (world.root / "mine.json").write_text(json.dumps(content))
    return "mine.json", "made of annotations with 3 categories, and there are 4 now"


def other_masks(world):
    world.objects.pop()
    world.coco()
    return "coco.json", "the set there was made of other annotations"


def other_file(world):
    (world.root / "other").mkdir()
    text = (world.root / "mine.json").read_text().replace('"eel"', '"eel2"')
    (world.root / "other" / "mine.json").write_text(text)
    return "other/mine.json", f"that set was made of other annotations, {world.root}/mine.json"


@pytest.mark.parametrize("change", [other_categories, other_masks, other_file])
def test_other_annotations_of_the_name_are_refused_with_what_differs(world, own, capsys, change):
    for file in ("mine.json", "coco.json"):
        assert own("--frames", str(world.frames), file=file) == 0
    file, says = change(world)
    folder = world.root / "data" / "own" / ("coco" if file == "coco.json" else "mine")
    before = (folder / "dataset.yaml").read_text()
    capsys.readouterr()
    assert own("--frames", str(world.frames), file=file) == 2
    said = capsys.readouterr().err
    assert f"Remove {folder}, or rename {world.root / file}: " in said
    assert says in said
    assert "--out" not in said
    assert (folder / "dataset.yaml").read_text() == before


def test_a_file_that_was_changed_is_taken_and_told_once(world, own, capsys):
    assert own("--frames", str(world.frames)) == 0
    text = (world.root / "mine.json").read_text()
    (world.root / "mine.json").write_text(text.replace('"eel"', '"eel2"'))
    for told in (True, False):
        capsys.readouterr()
        assert own("--frames", str(world.frames)) == 0
        assert ("mine.json was changed since" in capsys.readouterr().err) == told


def only_one_video(world):
    world.objects = world.of("a")
    (world.root / "one.json").write_text(world.coco().read_text())
    content = json.loads((world.root / "one.json").read_text())
    kept = {each["image_id"] for each in content["annotations"]}
    content["images"] = [each for each in content["images"] if each["id"] in kept]
    (world.root / "one.json").write_text(json.dumps(content))
    return "one.json", ["Give at least 2 videos: rows are trained on some and scored on others", "one.json has 1."]


def of_one_name(world):
    content = json.loads((world.root / "mine.json").read_text())
    content["videos"] = [video | {"name": "clip"} for video in content["videos"]]
    (world.root / "one.json").write_text(json.dumps(content))
    return "one.json", ["one.json has 2, which stay together: they have one name"]


def without_identities(world):
    world.coco(track_id=None)
    command = f"`ifrvis data import coco {world.root}/coco.json --frames {world.frames} --link overlap --out DIR`"
    return "coco.json", [command, "then `--dataset DIR`"]


def a_folder(world):
    return "frames", ["Give a regular file for the annotation file", "is a folder"]


def without_a_name(world):
    shutil.copy(world.root / "mine.json", world.root / "视频.json")
    return "视频.json", ["Rename "]


@pytest.mark.parametrize("change", [only_one_video, of_one_name, without_identities, a_folder, without_a_name])
def test_what_no_set_can_be_made_of_is_one_message_and_no_set(world, own, capsys, change):
    file, says = change(world)
    capsys.readouterr()
    assert own("--frames", str(world.frames), file=file) == 2
    said = capsys.readouterr().err
    assert not [each for each in says if each not in said], said
    assert not (world.root / "data").exists()


def test_how_parts_of_one_video_are_told_apart_is_said_as_the_command_can(world, own, capsys):
    content = json.loads((world.root / "mine.json").read_text())
    for video, name in zip(content["videos"], ("sea_a", "sea_b")):
        video["name"] = name
    for name in ("cap", "eel"):
        files = [f"{name}/{t:05d}.jpg" for t in range(LENGTH)]
        content["videos"].append(content["videos"][0] | {"id": name, "name": name, "file_names": files})
        shutil.copytree(world.frames / "a", world.frames / name)
    (world.root / "mine.json").write_text(json.dumps(content))
    assert own("--frames", str(world.frames)) == 0
    said = capsys.readouterr().err
    cure = f"where they are not, edit 'groups' in {world.root}/data/own/mine/dataset.yaml"
    assert f"parts of one video: sea[_-]* ({cure})" in said


def replaced(path, *pairs):
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path.parent


def both(world):
    shutil.copytree(world.davis() / "Annotations" / "a", world.root / "davis" / "Annotations" / "b-2" / "1")
    return world.root / "davis"


def of_a_notebook(world):
    for folder in (source := world.davis() / "Annotations", source / "a"):
        (folder / ".ipynb_checkpoints" / "x").mkdir(parents=True)
    return world.root / "davis"


def without_masks(world):
    for path in (world.davis() / "Annotations" / "a").iterdir():
        path.unlink()
    return world.root / "davis"


def two_resolutions(world):
    source = world.davis("480p")
    (source / "JPEGImages" / "1080p").symlink_to(world.frames)
    return source


def no_masks_of(world, size):
    source = world.davis()
    world.save(source / "Annotations" / "a" / "00001.png", np.zeros(size, np.uint8))
    return source


def coloured(world):
    source = world.davis()
    world.save(
        source / "Annotations" / "a" / "00001.png", np.random.default_rng(0).integers(0, 9, (24, 40, 3), np.uint8), ""
    )
    return source


def two_categories(world):
    cat, dog = world.objects[:2]
    world.objects[:2] = [cat, dog._replace(number=1, masks=[None, square(20), None, None])]
    return world.coco()


def without(frame):
    """Video a lacks an entry."""

    def write(world):
        path = world.cvat() / "a.xml"
        path.write_text(re.sub(f'<mask frame="{frame}"[^>]*/>', "", path.read_text()))
        return path.parent

    return "cvat", write, FRAMES


CVAT, MOTS = ("cvat", lambda world: world.cvat()), ("mots", lambda world: world.mots(text=True))
REFUSED = {  # what is wrong -> format, source, options, what is said
    "no source": ("davis", lambda w: w.root / "absent", (), "Check the path of the masks: there is no file or folder"),
    "an archive": (
        "cvat",
        lambda w: replaced(w.cvat() / "a.xml").rename(w.root / "a.zip"),
        FRAMES,
        "a.zip first, and give what was",
    ),
    "a video for frames": (
        *CVAT,
        ("--frames", "{frames}/a/00000.jpg"),
        "Give --frames a folder of pictures, as `ffmpeg -i",
    ),
    "no category": ("davis", lambda w: w.davis(), (), "Name the category of a/1 with --category a/1=NAME"),
    "no class": (*MOTS, FRAMES, "Name the category of 1 with --category 1=NAME, or of all with --category NAME: MOTS"),
    "no frames of davis": ("davis", lambda w: w.davis() / "Annotations", (), "Say with --frames where the frames are"),
    "no frames of mots": (*MOTS, (), "Say with --frames where the frames are"),
    "no frames of cvat": (*CVAT, (), "Say with --frames where the frames of"),
    "no frames of coco": ("coco", lambda w: w.coco(), (), "Say with --frames what file names are relative to"),
    "frames of none": (*MOTS, (*NAMED, "--frames", "{frames}/a"), "where the frames of video a are: there are none in"),
    "two resolutions": ("davis", two_resolutions, (), "Choose one resolution, as --frames"),
    "masks and folders": ("davis", both, ("--category", "x"), "Leave masks or folders of objects in"),
    "another size": (
        "davis",
        lambda w: no_masks_of(w, (12, 20)),
        ("--category", "x"),
        "it is 20 x 12 pixels, frames are",
    ),
    "colours": ("davis", coloured, ("--category", "x"), "00001.png with one channel"),
    "an empty folder": (
        "davis",
        lambda w: w.frames / "a",
        ("--frames", "{frames}"),
        "Give a folder with Annotations/VIDEO",
    ),
    "text of other fields": (
        "mots",
        lambda w: replaced(w.mots(text=True) / "a.txt", ("0 1001 1", "0 1001")),
        (*FRAMES, *NAMED),
        "a.txt, line 1: expected frame, object, class, height, width, counts, got 5",
    ),
    "class and object differ": (
        "mots",
        lambda w: replaced(w.mots(text=True) / "a.txt", ("0 1001 1", "0 1001 2")),
        (*FRAMES, *NAMED),
        "expected 1000 x class + instance, got 1001 of class 2",
    ),
    "a frame too many": (
        "mots",
        lambda w: replaced(w.mots(text=True) / "a.txt", ("0 1001", "9 1001")),
        (*FRAMES, *NAMED),
        "sequence a has no frame of number 9",
    ),
    "twice in a frame": ("coco", lambda w: w.coco(track_id=1), FRAMES, "it is twice in"),
    "of two categories": ("coco", two_categories, FRAMES, "Correct object 71 of b-2: it is cat and dog"),
    "a box": (
        "cvat",
        lambda w: replaced(w.cvat() / "a.xml", ("<mask", "<box")),
        FRAMES,
        "a box says nothing of an object's pixels",
    ),
    "a gap": (*without(1), "with all frames: track 1"),
    "no end": (*without(3), "End track 1"),
    "other frames": (
        "cvat",
        lambda w: replaced(w.cvat() / "a.xml", ("<size>4", "<size>5")),
        FRAMES,
        "Give the frames of the task",
    ),
    "for images": (
        "cvat",
        lambda w: replaced(w.cvat() / "a.xml", ("<track", "<image/><track")),
        FRAMES,
        "Export 'CVAT for video 1.1'",
    ),
    "of a project": (
        "cvat",
        lambda w: replaced(w.cvat() / "a.xml", ("<task>", "<project>"), ("</task>", "</project>")),
        FRAMES,
        "it is of all tasks of a project",
    ),
    "no masks of a video": (
        "davis",
        lambda w: without_masks(w),
        ("--annotated-only", "--category", "x"),
        "Add masks of video a, or",
    ),
    "entities": (
        "cvat",
        lambda w: replaced(w.cvat() / "a.xml", ("<annotations>", "<!DOCTYPE x><annotations>")),
        FRAMES,
        "Remove the document type",
    ),
    "no XML": ("cvat", lambda w: replaced(w.cvat() / "a.xml", ("</annotations>", "")), FRAMES, "is not valid XML"),
    "runs that do not fill": (
        "cvat",
        lambda w: replaced(w.cvat() / "a.xml", ('width="9"', 'width="8"')),
        FRAMES,
        "expected runs that fill",
    ),
    "a box for a mask": (
        "coco",
        lambda w: w.coco(segmentation=[]),
        FRAMES,
        r"annotations[0].segmentation: expected a mask",
    ),
    "one name of two categories": (
        "coco",
        lambda w: replaced(w.coco(), ("eel", "cat")) / "coco.json",
        FRAMES,
        "two have one name",
    ),
    "a crowd in words": ("coco", lambda w: w.coco(iscrowd="0"), FRAMES, ".iscrowd: expected 0 or 1, got '0'"),
    "an identity with a fraction": (
        "coco",
        lambda w: w.coco(track_id=1.0),
        FRAMES,
        "expected one identity, a whole number",
    ),
    "a list for a video": (
        "coco",
        lambda w: w.coco(video_id=[1]),
        FRAMES,
        "images[0].video_id: expected a whole number",
    ),
    "a number of frames twice": ("coco", lambda w: w.coco(frame_id=1), FRAMES, "have one frame_id"),
    "numbers of frames as text": (
        "coco",
        lambda w: w.coco(frame_id="1"),
        FRAMES,
        "coco.json: frame_ids of video 3: expected whole numbers, got ['1'",
    ),
    "no track by its number": ("coco", lambda w: w.coco(track_id=-1), FRAMES, "Give each object an identity"),
    "no track by its text": ("coco", lambda w: w.coco(track_id=""), FRAMES, "Give each object an identity"),
    "lines alone": ("coco", lambda w: w.coco(segmentation=[[1, 1, 9, 9]]), FRAMES, "masks of at least one object"),
    "another size in coco": (
        "coco",
        lambda w: w.coco(width=39, segmentation=[[1, 1, 9, 1, 9, 9]]),
        FRAMES,
        "frame size",
    ),
    "an option of another format": (*CVAT, (*FRAMES, "--void", "255"), "Leave --void and --annotated-only out"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_or_not_said_is_one_message_and_no_set(world, bring, name):
    kind, write, options, says = REFUSED[name]
    status, said = bring(kind, write(world), *options)
    assert status in (1, 2)
    assert says in said
    if status == 2:
        assert said.startswith("ifrvis: ")
        assert not (world.root / "set" / "dataset.yaml").exists()


@pytest.mark.parametrize("letter", ["\udcff", "\x1b"])
def test_a_folder_that_no_yaml_can_name_is_refused_before_anything_is_written(world, bring, letter):
    world.frames.rename(world.root / f"frames{letter}")
    status, said = bring("coco", world.coco(), "--frames", str(world.root / f"frames{letter}"))
    assert (status, said.startswith("ifrvis: Rename what ")) == (2, True), said
    assert not (world.root / "set").exists()


def test_another_set_is_not_replaced_and_a_name_that_is_taken_is_refused(world, bring):
    bring("coco", world.coco(), *FRAMES)
    world.objects.pop()
    assert "or choose another --out: another set is there" in bring("coco", world.coco(), *FRAMES)[1]
    assert "'ytvis19' is taken" in bring("coco", world.coco(), *FRAMES, "--out", str(world.root / "YTVIS19"))[1]
    assert "folder, by letters a to z" in bring("coco", world.coco(), *FRAMES, "--out", str(world.root / "日"))[1]
