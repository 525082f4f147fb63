"""`show`: a row's whole recipe, each value with what gives it; and what a run was trained as."""

import json
from pathlib import Path

import pytest
from made_records import made_run

from ifrvis.cli import main
from ifrvis.harness.store.paths import Store


@pytest.mark.parametrize(
    ("row", "more", "key", "value", "source"),
    [
        ("ours-r50-ytvis19", [], "model.track_head.lambda_e", 0.3, "methods/ours.py"),
        ("ours-r50-ytvis19", [], "model.track_head.oversample_ratio", 3.0, "methods/mask2former.py"),
        ("ours-r50-ytvis19", [], "model.backbone.depth", 50, "backbones/r50.py"),
        ("ours-r50-ytvis19", [], "train.iterations", 4, "profile smoke"),
        ("ours-r50-ytvis19", ["--set", "train.iterations=3"], "train.iterations", 3, "--set"),
        ("ours-r50-ytvis19", [], "model.track_head.num_classes", 4, "data set smoke19"),
        (
            *("table1/ours-swin-l-q200-ytvis19", [], "model.track_head.num_queries", 24),
            "row ours-swin-l-q200-ytvis19, 200 at the scale of profile smoke",
        ),
        (
            *("seqformer-r50-coco-ytvis19", ["--profile", "paper"], "train.init", "seqformer_r50_coco"),
            "methods/seqformer.py for r50",
        ),
    ],
)
def test_every_value_of_a_row_is_shown_with_what_gives_it_last(row, more, key, value, source, capsys, roots):
    assert main(["show", row, *["--profile", "smoke"] * ("--profile" not in more), *more, *roots, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["recipe"][key] == {"value": value, "from": source}
    assert [key for key, each in shown["recipe"].items() if not each["from"]] == []
    assert ("off_spec" in shown) == ("--set" in more)


def test_a_row_is_shown_as_text_and_a_run_as_it_was_trained(capsys, roots, tmp_path):
    assert main(["show", "ours-r50-ytvis19", "--profile", "smoke", *roots]) == 0
    said = capsys.readouterr().out
    assert "dataset: smoke19\n" in said
    assert [" ".join(line.split()) for line in said.splitlines() if "lambda_e" in line] == [
        "model.track_head.lambda_e 0.3 methods/ours.py"
    ]
    (results,) = (each.partition("=")[2] for each in roots if each.startswith("--results="))
    run = made_run(Store(Path(results)))
    assert main(["show", run.name, *roots]) == 0
    said = capsys.readouterr().out
    assert f"train_sig: {run.train_sig}\n" in said
    assert "optimizer.lr" in said
    assert main(["show", run.name, "--set", "train.iterations=3", *roots]) == 2
    assert "Leave out --set: a run is shown as it was trained" in capsys.readouterr().err
    row = {"id": "theirs", "method": "x", "backbone": "r50", "dataset": "ytvis19", "quoted": True, "protocol": "server"}
    row |= {"published": {"AP": [40.0, None]}, "source": "their Table 2"}
    table = {"name": "mine", "title": "", "protocol": "heldout", "seeds": [0], "metrics": ["AP"], "rows": [row]}
    (tmp_path / "mine.yaml").write_text(json.dumps(table))
    assert main(["show", f"{tmp_path}/mine.yaml/theirs", *roots]) == 0
    said = capsys.readouterr().out
    assert "quoted: true\n" in said
    assert "source: their Table 2\n" in said


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("model.track_head.lambda", "did you mean 'model.track_head.lambda_e'?"),
        ("lambda", "did you mean 'model.track_head.lambda_e'?"),
        ("lambda_e", "did you mean 'model.track_head.lambda_e'?"),
        ("train.lr", "did you mean 'train.optimizer.lr'?"),
        ("model.track_head.dropout", "recipes of other methods have it"),
    ],
)
def test_a_key_that_does_not_exist_names_the_one_that_was_meant(key, said, capsys, roots):
    for row in ("ours-r50-ytvis19", "mask2former-r50-ytvis19"):
        assert main(["show", row, "--profile", "smoke", "--set", f"{key}=1", *roots]) == 2
        assert said in capsys.readouterr().err
