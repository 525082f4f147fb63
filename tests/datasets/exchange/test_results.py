"""Results of other programs are scored as they are, whatever their format: the same tracks give the same numbers."""

import json
import shutil

import pytest
from PIL import Image

from ifrvis.cli import main
from ifrvis.reporting.style import UNDEFINED

KINDS = ("--category", "1=cat", "--category", "2=dog")
BY_OBJECT = ("--category", "*/1=cat", "--category", "*/2=dog")


def trackeval_masks(world):
    data = world.root / "tracker" / "data"
    shutil.move(world.mots(text=True), data)
    return data.parent


def trackeval_list(world):
    (world.root / "tracker" / "data").mkdir(parents=True)
    shutil.copy(world.root / "pred.json", world.root / "tracker" / "data" / "results.json")
    return world.root / "tracker"


def davis(world):
    world.davis()
    return world.root / "davis" / "Annotations"


MADE = {  # format -> what writes it, its options of `evaluate ap`
    "a list": (lambda w: w.root / "pred.json", ()),
    "davis": (davis, BY_OBJECT),
    "davis by object": (lambda w: w.davis(by_object=True) / "Annotations", BY_OBJECT),
    "mots text": (lambda w: w.mots(text=True), KINDS),
    "a tracker's masks": (trackeval_masks, KINDS),
    "a tracker's list": (trackeval_list, ()),
}


@pytest.fixture
def evaluate(world, capsys):
    """`evaluate(metric, pred, *options)`: status and text; the truth lacks one object and one mask."""
    main(["data", "import", "coco", str(world.coco()), "--out", str(world.root / "set"), "--frames", str(world.frames)])
    content = json.loads((world.root / "set" / "instances.json").read_text())
    entries = [{**each, "score": 1.0} for each in content["annotations"]]
    (world.root / "pred.json").write_text(json.dumps(entries))
    content["annotations"][0]["segmentations"][0] = None
    content["annotations"].pop()
    (world.root / "gt").mkdir()
    (world.root / "gt" / "truth.json").write_text(json.dumps(content))

    def run(metric, pred, *options):
        capsys.readouterr()
        status = main(["evaluate", metric, "--gt", str(world.root / "gt"), "--pred", str(pred), *options])
        return status, "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize("name", MADE)
def test_every_format_gives_the_numbers_of_the_list(world, evaluate, name):
    write, options = MADE[name]
    pred = write(world)
    for metric, more in (("ap", options), ("tracking", ()), ("identity", ())):
        status, said = evaluate(metric, pred, *more, "--json")
        assert status == 0, said
        assert json.loads(said) == json.loads(evaluate(metric, world.root / "pred.json", "--json")[1])


def test_counts_units_protocol_and_categories_by_name_are_said(world, evaluate):
    said = evaluate("ap", world.root / "pred.json")[1].splitlines()
    assert said[0] == "ground truth: 2 videos, 2 tracks; predictions: 2 videos, 3 tracks"
    assert said[1].startswith("protocol: of YouTube-VIS' evaluator")
    assert said[1].endswith("; percent")
    rows = {line.split()[0]: line.split()[1:] for line in said[-3:]}
    assert rows.keys() == {"cat", "dog", "eel"}
    assert rows["eel"] == ["0", *UNDEFINED * 5]
    assert evaluate("tracking", world.root / "pred.json")[1].splitlines()[2] == "percent; IDs a count"


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        (lambda w, folder: folder.joinpath("a.txt").rename(folder / "c.txt"), KINDS, "has no video 'c'"),
        (lambda w, folder: None, ("--category", "1=cap", *KINDS[2:]), "it has no 'cap' (did you mean 'cat'?)"),
        (lambda w, folder: None, (), "Name the category of 1 with --category"),
        (lambda w, folder: [each.unlink() for each in folder.iterdir()], (), "has none"),
        (lambda w, folder: [folder.joinpath(f"{n}.json").write_text("[]") for n in "xy"], (), "Give one file"),
        (lambda w, folder: folder.joinpath("a.txt").write_text("9 1001 1 24 40 x"), KINDS, "has no frame of number 9"),
    ],
)
def test_what_does_not_fit_the_ground_truth_is_refused(world, evaluate, change, options, says):
    change(world, folder := world.mots(text=True))
    status, said = evaluate("ap", folder, *options)
    assert (status, says in said) == (2, True), said


@pytest.mark.parametrize("name", MADE)
def test_hidden_files_beside_others_are_passed_over(world, evaluate, copied_by_macos, name):
    write, options = MADE[name]
    pred = write(world)
    copied_by_macos()
    status, said = evaluate("ap", pred, *options)
    assert status == 0, said


def gone(folder):
    folder.joinpath("a/00001.png").unlink()


def renamed(folder):
    folder.joinpath("a/00001.png").rename(folder / "a/000001.png")


def smaller(folder):
    Image.new("L", (3, 2)).save(folder / "a/00001.png")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (gone, "Add masks, empty ones where no object is"),
        (renamed, "Rename mask 000001 in"),
        (smaller, "Give masks of the frames' size, or the frames that they are of"),
    ],
)
def test_masks_that_do_not_fit_are_answered_without_options_that_only_an_import_has(world, evaluate, change, says):
    change(folder := davis(world))
    status, said = evaluate("ap", folder, *BY_OBJECT)
    assert (status, says in said, "--frames" in said) == (2, True, False), said


def test_what_is_no_results_file_is_shown_in_a_few_words(world, evaluate):
    whole = {"schema": 1, "videos": [{"masks": [[1] * 9] * 9, "names": {str(n): [n] for n in range(9)}}] * 9}
    (world.root / "run.json").write_text(json.dumps(whole))
    status, said = evaluate("ap", world.root / "run.json")
    assert (status, "expected a list of predicted tracks, got {" in said) == (2, True)
    assert len(said) < 300 + len(str(world.root)), said


@pytest.mark.parametrize(("kind", "name"), [("videos", "a"), ("categories", "cat")])
def test_names_that_two_have_in_the_ground_truth_are_refused(world, evaluate, kind, name):
    truth = world.root / "gt" / "truth.json"
    content = json.loads(truth.read_text())
    for each in content[kind]:
        each["name"] = name
    truth.write_text(json.dumps(content))
    status, said = evaluate("ap", world.mots(text=True), *KINDS)
    assert (status, f"Rename {kind} of the ground truth" in said, f"{name!r}" in said) == (2, True, True), said
