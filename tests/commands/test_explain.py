"""`explain`: a cause planted in a run, a checkpoint or a results file, beside harmless differences, comes first.

Also tests: ifrvis.analysis.causes, ifrvis.evaluation.symptoms, ifrvis.training.examine.
"""

import json
from dataclasses import replace

import kept_runs
import numpy as np
import pytest
import torch
from made_records import PROVENANCE, asked, record_of
from PIL import Image

from ifrvis.cli import main
from ifrvis.datasets.catalog import Part, load_dataset
from ifrvis.datasets.rle import decode, encode
from ifrvis.evaluation.predictions import results_of
from ifrvis.harness.plan.plan import Request
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.spec.compose import choose_inference
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.signatures import TrainSpec, train_signature
from ifrvis.harness.spec.tables import load_table
from ifrvis.harness.store.attempts import claim
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.provenance import pinned_versions
from ifrvis.harness.store.records import NotLoaded, publish_record
from ifrvis.training.build import build_model

ROW = "mask2former-r50-ytvis19"
FULL = "name: full\ntitle: the official recipe on made clips\ndatasets: {ytvis19: smoke19, ytvis21: smoke21}\n"
ELSEWHERE = PROVENANCE.model_copy(
    update={
        "versions": pinned_versions(),
        "hardware": PROVENANCE.hardware.model_copy(update={"processor": "another"}),
    }
)
CLIPS = {"inference.mode": "clips", "inference.clip_frames": 5}


def merged(own, changes):
    """A value with changes at any depth."""
    if not isinstance(changes, dict):
        return changes
    return own | {key: merged(own[key], each) for key, each in changes.items()}


class Plant:
    """A run of a row with harmless differences: seed, processor, workers, and the name of the set."""

    def __init__(self, folder, data_root, profile):
        self.folder, self.store = folder, Store(folder / "results")
        load_dataset("smoke19", data_root).make("heldout")
        self.roots = [f"--results={self.store.root}", f"--data-root={data_root}", "--profile", profile]
        self.request = Request(
            (load_table("table3"),), load_profile(profile), (ROW,), data_root=data_root, store=self.store
        )
        (planned,) = make_plan(self.request).rows
        self.evaluation = planned.evaluations[3]
        self.model = self.evaluation.training.spec.model

    def run(self, train=None, inference=None, part=None, **said):
        """Keep the run and its record; its name. `train` changes values within mappings, too."""
        training, split = self.evaluation.training, self.evaluation.split
        own = training.spec.model_dump()
        spec = TrainSpec(**own | {key: merged(own[key], each) for key, each in (train or {}).items()})
        training = replace(training, name="mask2former-r50-renamed-s3", spec=spec, sig=train_signature(spec))
        if part:
            split = replace(split, part=part, fingerprint=part.fingerprint(split.fingerprint))
        evaluation = replace(self.evaluation, training=training, split=split)
        if inference:
            evaluation.inference = choose_inference(evaluation.inference, inference)
        run = training.run(self.store)
        run.write_spec(spec)
        claim(run, asked(workers=3))
        changes = {"profile": self.request.profile.name, "off_spec": True, "dataset": "renamed"}
        publish_record(self.store, record_of(training, evaluation, **changes | {"provenance": ELSEWHERE} | said))
        return run.folder.name

    def checkpoint(self, change):
        """A checkpoint that has trained, but for what `change` does to it."""
        weights = build_model(self.model, seed=0).state_dict()
        weights = {name: each + 0.01 if each.is_floating_point() else each for name, each in weights.items()}
        torch.save({"state_dict": change(weights)}, self.folder / "given.pth")
        return ["--checkpoint", str(self.folder / "given.pth")]

    def results(self, change):
        """A results file of the ground truth, but for what `change` does to each entry."""
        annotations = self.evaluation.split.read()
        results = results_of(kept_runs.perfect(video, annotations) for video in annotations.videos)
        entries = [change(each.to_json()) for each in results]
        (self.folder / "given.json").write_text(json.dumps(entries))
        return ["--pred", str(self.folder / "given.json")]


@pytest.fixture
def plant(smoke_data, tmp_path, monkeypatch):
    """What makes a `Plant`: of the full recipe, or of a model small enough to build."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    (tmp_path / "full.yaml").write_text(FULL)

    def make(small=False):
        profile = kept_runs.without_pretraining(tmp_path) if small else str(tmp_path / "full.yaml")
        return Plant(tmp_path, smoke_data, profile)

    return make


@pytest.fixture
def explain(capsys):
    """The command with `--json`."""

    def call(*arguments):
        assert main(["explain", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def check_harmless(found):
    said = "; ".join(found["does_not_matter"])
    assert "seed 3" in said
    assert "name renamed" in said
    assert "processor another" in said
    assert "workers 3" in said


@pytest.mark.parametrize(
    ("what", "planted", "yours", "effect"),
    [
        ("batch", {"train": {"global_batch": 2}}, "global_batch 2", "of one of 8 GPUs"),
        ("batch", {"train": {"global_batch": 128}}, "global_batch 128", "16 on each of 8 GPUs"),
        ("association", {"inference": CLIPS}, "mode clips", "Table 4"),
        ("starting weights", {"init": "mask2former_r50_coco_panoptic"}, "panoptic", "size not known"),
        ("starting weights", {"init": "imagenet_r50"}, "imagenet", "about 6 AP"),
        ("precision", {"train": {"precision": "fp32"}}, "fp32", "size not known"),
        ("resolution in training", {"train": {"pipeline": {"sides": [360]}}}, "sides [360]", "size not known"),
        ("iterations", {"train": {"iterations": 3000}}, "3000", "never falls: it would at 4000"),
        ("outputs of a video", {"inference": {"inference.topk": 3}}, "topk 3", "size not known"),
        ("protocol", {"part": Part(frames=2)}, "frames 2", "12.1 AP"),
        ("protocol", {"part": Part(videos=("00000",))}, "00000", "something else"),
        (
            *("starting weights", {"not_loaded": NotLoaded(missing=9, reasons={"backbone: of another shape": 9})}),
            *("random: 9 x backbone", "size not known"),
        ),
    ],
)
def test_a_cause_in_the_recipe_is_named_first(what, planted, yours, effect, plant, explain):
    ours = plant()
    found = explain(ours.run(**planted), *ours.roots)
    first = found["causes"][0]
    assert (first["rank"], first["what"]) == (1, what)
    assert yours in first["yours"]
    assert yours not in first["row"] + first["paper"]
    assert effect in first["effect"]
    check_harmless(found)
    assert found["row"].endswith(ROW)


def without_head(weights):
    return {name: each for name, each in weights.items() if "cls_embed" not in name}


def of_80_classes(weights):
    return {name: torch.zeros(81, *each.shape[1:]) if "cls_embed" in name else each for name, each in weights.items()}


def without_decoder(weights):
    return {name: each for name, each in weights.items() if "transformer_decoder" not in name}


def at_network_size(entry):
    def resized(mask):
        picture = Image.fromarray(decode(mask)).resize((48, 32))
        return encode(np.asarray(picture))

    return entry | {"segmentations": [mask and resized(mask) for mask in entry["segmentations"]]}


def one_frame_each(entry):
    masks = entry["segmentations"]
    kept = next(place for place, mask in enumerate(masks) if mask)
    return entry | {"segmentations": [mask if place == kept else None for place, mask in enumerate(masks)]}


@pytest.mark.parametrize(
    ("what", "kind", "change", "yours"),
    [
        ("class head", "checkpoint", without_head, "not in it"),
        ("class head", "checkpoint", of_80_classes, "81 outputs"),
        ("weights", "checkpoint", without_decoder, "lacking, as track_head.transformer_decoder"),
        ("trained tensors", "checkpoint", None, "as at the start"),
        ("size of masks", "results", at_network_size, "[32, 48]"),
        ("categories", "results", lambda entry: entry | {"category_id": entry["category_id"] - 1}, "counted from 0"),
        (
            "categories",
            "results",
            lambda entry: entry | {"category_id": entry["category_id"] % 4 + 1},
            "on an object are +1",
        ),
        ("categories", "results", lambda entry: entry | {"category_id": 1}, "1 alone"),
        ("scores", "results", lambda entry: entry | {"score": 100 * entry["score"]}, "to 90"),
        ("frames of a track", "results", one_frame_each, "1 of 6 with a mask"),
    ],
)
def test_a_cause_that_only_a_file_shows_is_named_first(what, kind, change, yours, plant, explain):
    ours = plant(small=True)
    name = ours.run()
    never_trained = lambda _: build_model(ours.model, seed=7).state_dict()  # noqa: E731
    given = getattr(ours, kind)(change or never_trained)
    found = explain(name, *given, *ours.roots)
    assert found["causes"][0]["what"] == what
    assert yours in found["causes"][0]["yours"]
    check_harmless(found)


def test_files_are_looked_at_beside_a_row_or_alone_and_those_of_a_run_without_being_named(plant, explain, tmp_path):
    ours, row = plant(small=True), f"table3/{ROW}"
    for given, what in (
        (ours.checkpoint(without_head), "class head"),
        (ours.results(at_network_size), "size of masks"),
    ):
        found = explain(row, *given, *ours.roots)
        assert (found["causes"][0]["what"], found["row"]) == (what, row)
    request = kept_runs.kept(
        tmp_path, ["table3"], (ROW,), 1, {"mask2former": one_class}, data_root=ours.request.data_root
    )
    (folder,) = request.store.run_folders()
    found = explain(str(folder), "--profile", f"{tmp_path}/smoke.yaml", f"--data-root={request.data_root}")
    assert found["causes"][0]["yours"] == "1 alone"


def one_class(video, annotations):
    found = kept_runs.perfect(video, annotations)
    scored = tuple(each._replace(category_id=1) for each in found.by_class)
    return replace(found, by_class=scored, by_query=scored)


def test_a_run_without_a_difference_and_sound_files_are_said_to_be_so(plant, explain, capsys):
    ours = plant(small=True)
    name = ours.run(off_spec=False)
    sound = [*ours.checkpoint(dict), *ours.results(lambda entry: entry)]
    found = explain(name, *ours.roots)
    assert found["causes"] == []
    assert "Nothing that decides a number differs from the row's" in found["said"][-1]
    check_harmless(found)
    # The ground truth has fewer tracks than a model puts out.
    assert [each["what"] for each in explain(name, *sound, *ours.roots)["causes"]] == ["tracks of a video"]
    assert main(["explain", name, *ours.roots]) == 0
    said = capsys.readouterr().out
    assert "does not matter" in said
    assert "Where the row itself is not the paper's: profile smoke" in said


def test_larger_known_effects_come_before_smaller_and_unknown_ones_and_versions_last(plant, explain):
    ours = plant()
    changed = {"model": {"track_head": {"copy_image_decoder": False}}, "global_batch": 2, "iterations": 12000}
    old = {"torch": "1.13.0+cu117", "scipy": None}
    code = ELSEWHERE.code.model_copy(update={"uncommitted": "0" * 64})
    ours.run(changed, part=Part(frames=2), provenance=ELSEWHERE.model_copy(update={"versions": old, "code": code}))
    (record,) = ours.store.records("full").glob("*.json")
    causes = explain(str(record), "--row", f"table3/{ROW}", *ours.roots)["causes"]
    assert [each["what"] for each in causes] == [
        *("protocol", "decoder at the start", "iterations", "batch", "versions", "code")
    ]
    assert causes[4]["yours"] == "torch 1.13.0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["given.json"], "it is not a record"),
        (["table3/mask2former-swin-l-q200-ytvis19"], "there is no record of"),
        (["mask2fromer-r50-ytvis19"], "did you mean 'mask2former-r50-ytvis19'?"),
        (["RECORD", "--seed", "9"], "Leave out --seed, or give 3"),
        (["RUN", "--gt", "gt.json"], "Leave out --gt: there are no predictions"),
        ([ROW, "--pred", "broken.json"], "expected a list of predicted tracks"),
        ([ROW, "--pred", "hostile.json"], "hostile.json: [0].score"),
    ],
)
def test_what_cannot_be_explained_is_said(arguments, message, plant, tmp_path, monkeypatch, capsys):
    ours = plant(small=True)
    ours.results(dict)
    entry = {"video_id": 0, "category_id": 1, "segmentations": [], "score": 10**400}
    (tmp_path / "broken.json").write_text("{}")
    (tmp_path / "hostile.json").write_text(json.dumps([entry]))
    monkeypatch.chdir(tmp_path)
    paths = {"RUN": ours.run(), "RECORD": str(next(tmp_path.glob("results/records/*/*.json")))}
    assert main(["explain", *(paths.get(each, each) for each in arguments), *ours.roots]) == 2
    assert message in capsys.readouterr().err
