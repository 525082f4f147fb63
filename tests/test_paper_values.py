"""The paper's values in the tables' YAML against a second transcription, read from the paper apart from the YAML."""

import csv
from pathlib import Path

from ifrvis.files import read_yaml

ROOT = Path(__file__).parents[1]
NAMES = ("table1", "table2", "table3", "table4", "figure4")
TABLES = {name: read_yaml(ROOT / "experiments" / "tables" / f"{name}.yaml") for name in (*NAMES, "ablation", "length")}
CHANGES = {  # what a row sets, and what its id has for it
    ("copy_image_decoder", False): "random",
    ("copy_image_decoder", True): "copied",
    ("temporal_keys", "all"): "allkeys",
    ("cross_residual", True): "sum",
    ("class_loss", "focal"): "focal",
    ("class_loss", "softmax"): "softmax",
    ("key_positions", "2d"): "2d",
    ("num_frames", 4): "t4",
    ("recurrence", False): "static",
    ("num_queries", 200): "q200",
}


def number(text):
    return float(text) if text else None


def transcribed():
    with (ROOT / "tests" / "data" / "paper.csv").open(newline="") as stream:
        return [
            (line["table"], line["row_id"], line["metric"], number(line["mean"]), number(line["std"]))
            for line in csv.DictReader(stream)
        ]


def declared():
    return [
        (name, row["id"], metric, *row["published"][metric])
        for name in NAMES
        if name != "figure4"
        for row in TABLES[name]["rows"]
        for metric in TABLES[name]["metrics"]
    ]


def test_every_value_of_every_table_is_the_papers():
    assert declared() == transcribed()


def test_figure_has_no_published_height():
    heights = [pair for row in TABLES["figure4"]["rows"] for pair in row["published"].values()]
    assert heights == [[None, None]] * 25


def test_ids_say_what_the_row_is():
    for table in TABLES.values():
        for row in table["rows"]:
            changes, inference = row.get("set", {}), row.get("inference", {})
            parts = [row["method"], row["backbone"]]
            short = {key.rpartition(".")[2]: value for key, value in changes.items()}
            parts += [CHANGES[change] for change in short.items() if change[0] != "lambda_e"]
            parts += ["coco"] if row.get("data", "Y") == "Y + COCO" else []
            if "model.track_head.lambda_e" in changes:
                parts += [f"lambda{changes['model.track_head.lambda_e']}".replace("lambda0.0", "lambda0")]
            parts += ["statictest"] if inference.get("recurrence") is False else []
            parts += ["tta"] if "tta" in inference else []
            parts += [f"clip{inference['clip_frames']}"] if "clip_frames" in inference else []
            parts += [f"frames{row['frames']}"] if "frames" in row else []
            assert row["id"] == "-".join([*parts, row["dataset"]])


def test_a_row_of_two_tables_is_the_same_row():
    seen = {}
    for table in TABLES.values():
        for row in table["rows"]:
            definition = [row.get(key) for key in ("method", "backbone", "dataset", "set", "inference", "frames")]
            assert seen.setdefault(row["id"], definition) == definition
