"""Named weights are taken for what their description says, and what is missing is said with how to get it."""

import json

import pytest

from ifrvis.cli import main
from ifrvis.errors import UserError
from ifrvis.files import read_yaml, sha256_file
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.plan.status import plan_lines
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.tables import load_tables
from ifrvis.harness.spec.weights import given_weights, named_weights
from ifrvis.packed import packed

NAME = "mask2former_r50_coco_instance"


@pytest.fixture
def weights(tmp_path):
    """Write weights that say they are something else, or nothing."""

    def write(said):
        path = tmp_path / "weights" / f"{NAME}.pth"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weights")
        if said is not None:
            path.with_suffix(".json").write_text(json.dumps({"sha256": sha256_file(path)} | said))
        return path

    return write


def test_weights_that_are_what_the_recipe_names_are_taken(weights, tmp_path):
    path = weights({"name": NAME})
    assert named_weights(NAME, tmp_path) == (path, sha256_file(path), "")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (None, "nothing that is known"),
        ({"name": "imagenet_r50"}, "imagenet_r50"),
        ({"name": "mask2former_r50_coco_panoptic"}, "mask2former_r50_coco_panoptic"),
        ({"name": NAME, "sha256": "0" * 64}, "nothing that is known"),  # replaced after it was described
        ({}, "None"),
    ],
)
def test_other_weights_are_refused_with_how_to_get_the_right_ones(weights, tmp_path, said, shown):
    path = weights(said)
    found, digest, text = named_weights(NAME, tmp_path)
    assert (found, digest) == (path, None)
    assert text.startswith(f"Move {path} (and its .json) away and convert ")  # which replaces nothing
    assert f"it holds {shown}, not {NAME}. Download https://" in text
    assert text.endswith(f"run `ifrvis weights convert model_final_3c8ec9.pkl {path}`.")


@pytest.mark.parametrize(
    ("said", "file", "name"),
    [
        (None, "mine.pth", "mine.pth"),
        ({"name": "imagenet_r50"}, "mine.pth", "imagenet_r50"),
        ({"name": "imagenet_r50"}, f"weights/{NAME}.pth", "imagenet_r50"),
        ({"name": NAME}, f"weights/{NAME}.pth", NAME),
        ({"name": NAME}, "a copy.pth", NAME),
        ({"name": "pretraining"}, f"weights/{NAME}.pth", f"{NAME}.pth"),  # no file's name
    ],
)
def test_init_takes_any_weights_and_only_others_than_the_recipes_are_off_spec(
    weights, make_request, tmp_path, said, file, name
):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(weights(said).read_bytes())
    given = given_weights(tmp_path / file, tmp_path)
    rows = ("mask2former-r50-ytvis19", "mask2former-r101-ytvis19")
    plan = make_plan(make_request(profile="paper", init=given, rows=rows))
    assert given.name == name
    assert [each.off_spec for each in plan.rows] == [name != NAME, True]
    assert {each.init_name for each in plan.trainings} == {name}
    assert all("initial weights" not in text for text in plan.data_missing)


@pytest.mark.parametrize(("said", "shown"), [({"class head": 2}, "2 x class head"), ("odd", None), (None, None)])
def test_a_plan_repeats_what_a_description_says_of_chance(weights, make_request, tmp_path, said, shown):
    path = weights({"name": NAME, "random": said})
    plan = make_plan(make_request(profile="paper", init=given_weights(path, tmp_path)))
    lines = [line for line in plan_lines(plan) if "at random" in line]
    assert lines == ([f"starts from {NAME} ({path}); at random: {shown}"] if shown else [])


def test_weights_of_which_nothing_is_known_are_called_as_their_file_which_is_not_called_as_known_ones(
    make_request, tmp_path
):
    (tmp_path / NAME).write_bytes(b"weights")
    with pytest.raises(UserError, match=rf"^Rename {tmp_path}/{NAME} to end in \.pth"):
        given_weights(tmp_path / NAME, tmp_path)
    absent = given_weights(tmp_path / "absent.pth", tmp_path)
    missing = make_plan(make_request(profile="paper", init=absent)).data_missing
    assert f"Check the path that --init gives: {tmp_path}/absent.pth does not exist." in missing


def test_every_named_weights_of_the_tables_have_a_source(make_request):
    profile = load_profile("paper")
    rows = [row for table in load_tables(["all"], profile) for row in table.rows if not row.quoted]
    from ifrvis.harness.spec.compose import compose_row

    named = {compose_row(row, profile, {}, num_classes=40).train["init"] for row in rows}
    assert named == set(read_yaml(packed("experiments", "weights", "sources.yaml")))


def test_an_empty_data_root_is_told_all_to_download_each_once_before_anything_starts(tmp_path, capsys):
    root = tmp_path / "X"
    arguments = ["all", "--profile", "paper", "--data-root", str(root), "--results", str(tmp_path / "results")]
    assert main(["plan", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(set(lines)) == 12
    for year, file in ((2019, "train.json"), (2021, "train/instances.json")):
        (line,) = (each for each in lines if f"YouTube-VIS {year}" in each)
        assert f"{root}/ytvis{year}/{file} does not exist" in line
        assert f"unpack train.zip as ytvis{year}/train (JPEGImages/<video>/<frame>.jpg" in line
    for backbone in ("r50", "r101", "swin-t", "swin-s", "swin-b", "swin-l"):
        (line,) = (each for each in lines if f"mask2former_{backbone}_coco_instance.pth does not exist" in each)
        assert f"{root}/weights/mask2former_{backbone}_coco_instance.pth`." in line
    for backbone in ("r50", "r101", "swin-l"):
        path, file = (
            f"{root}/weights/seqformer_{backbone}_coco.pth",
            f"{backbone.replace('swin-l', 'swinL')}_weight.pth",
        )
        (line,) = (each for each in lines if f"{path} does not exist" in each)
        assert "Download https://drive.google.com/file/d/" in line
        assert line.endswith(f"/view as {file} and run `ifrvis weights convert {file} {path}`.")
    assert sum("Put COCO 2017 where it is expected" in each for each in lines) == 1
    assert main(["run", *arguments]) == 2
    assert not (tmp_path / "results").exists()
    assert not root.exists()


def test_a_pointer_of_git_lfs_is_no_start(tmp_path):
    (tmp_path / "w.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(UserError, match=r"^Run `git lfs pull` .*which stands for the initial weights\.$"):
        given_weights(tmp_path / "w.pth", tmp_path)
