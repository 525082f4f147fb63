"""`verify`: everything that is kept is as it was written, and a single flipped byte is found and named."""

import json

import numpy as np
import pytest

from ifrvis.harness.store.records import digest_of
from ifrvis.harness.upkeep.verify import Finding
from ifrvis.reporting.output import Manifest

ROW, LAMBDA = "mask2former-r50-ytvis19", "ours-r50-lambda0.3-ytvis19"

KINDS = {
    "record": "results/records/smoke/*-s0-*.json",
    "predictions": "results/runs/*-s0-*/predictions/*/predictions.json.gz",
    "weights": "results/runs/*-s0-*/weights.pth",
    "curve": "results/runs/*-s0-*/curve.json",
    "specification": "results/runs/*-s0-*/spec.json",
    "checkpoint": "results/runs/*-s0-*/attempts/0001/checkpoints/iter_000004.pth",
    "seal": "results/runs/*-s0-*/attempts/0001/checkpoints/iter_000004.json",
    "manifest": "reports/smoke/manifest.json",
    "Markdown": "reports/smoke/table1.md",
    "LaTeX": "reports/smoke/table1.tex",
    "CSV": "reports/smoke/table1.csv",
    "JSON": "reports/smoke/table1.json",
}


def one(kept, pattern):
    (path,) = kept.reports.parent.glob(pattern)
    return path


def test_what_was_written_verifies_and_is_scored_again(kept, capsys):
    assert kept.run("verify", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["outcome"] for each in found} == {"verified"}
    assert sum(each["why"] == "scored again" for each in found) == 2
    paths = {each["path"] for each in found}
    assert all(str(one(kept, pattern)) in paths for kind, pattern in KINDS.items() if kind != "seal")


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_is_found_and_its_file_named(kept, kind, capsys, monkeypatch, rng: np.random.Generator):
    monkeypatch.setattr(
        "ifrvis.harness.upkeep.verify._verify_scores", lambda record, path, *_: Finding("verified", path)
    )
    path = one(kept, KINDS[kind])
    sound = path.read_bytes()
    for position in {0, len(sound) - 1, *rng.integers(0, len(sound), 2).tolist()}:
        for bits in (0x2A, 0xFF):  # 0x2A makes a blank of a line end
            path.write_bytes(sound[:position] + bytes([sound[position] ^ bits]) + sound[position + 1 :])
            assert kept.run("verify") == 1, (position, bits)
            named = [line for line in capsys.readouterr().out.splitlines() if line.startswith("CHANGED")]
            assert any(str(path) in line for line in named), (position, bits, named)
    path.write_bytes(sound)
    assert kept.run("verify") == 0


def test_a_record_whose_digest_was_made_again_does_not_pass_for_its_predictions(kept, capsys):
    path = one(kept, KINDS["record"])
    record = json.loads(path.read_text())
    record["metrics"]["AP"] = 0.99
    path.write_text(json.dumps({**record, "digest": digest_of(record)}, sort_keys=True, indent=1) + "\n")
    assert kept.run("verify") == 1
    assert "its predictions give other metrics" in capsys.readouterr().out


def test_what_is_not_kept_is_said_and_is_no_change(kept, capsys):
    one(kept, KINDS["predictions"]).unlink()
    one(kept, KINDS["LaTeX"]).unlink()
    assert kept.run("verify") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not kept")]
    assert len(lines) == 2


def test_without_ground_truth_nothing_is_scored_again(kept, capsys, tmp_path):
    kept.roots[1] = str(tmp_path / "nothing")
    assert kept.run("verify") == 0
    assert capsys.readouterr().out.count("its ground truth is not here") == 2


def test_a_deleted_or_changed_record_demotes_its_cells_and_fails_verify(kept, capsys):
    report = ["report", "table1", "--profile", str(kept.reports.parent / "smoke.yaml"), "--rows", ROW, "--seeds", "2"]
    path = one(kept, KINDS["record"])
    sound = path.read_text()
    assert kept.run("verify") == 0
    for broken in (None, sound.replace('"seed": 0', '"seed": 00', 1), sound.replace("heldout", "server")):
        path.unlink() if broken is None else path.write_text(broken)
        assert kept.run("verify") == 1
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("CHANGED") and "table1.md" in line and "record" in line for line in lines)
        written = one(kept, KINDS["Markdown"]).read_text()
        assert kept.run(*report) == 0
        assert "| 1/2 |" in one(kept, KINDS["Markdown"]).read_text()
        path.write_text(sound)
        assert kept.run(*report) == 0
        assert one(kept, KINDS["Markdown"]).read_text() == written
    assert kept.run("verify") == 0


def test_a_figure_is_verified_by_its_data_and_a_page_by_what_it_shows(kept, capsys):
    report = ["report", "--profile", str(kept.reports.parent / "smoke.yaml"), "--rows", f"{ROW},{LAMBDA}"]
    assert kept.run(*report, "all", "--seeds", "2") == 0
    capsys.readouterr()
    assert kept.run("verify", "--json") == 0
    found = {each["path"].rpartition("/")[2]: each["outcome"] for each in json.loads(capsys.readouterr().out)}
    assert {found[name] for name in ("figure4.pdf", "figure4.png", "figure4.svg", "index.html")} == {"verified"}
    manifest = one(kept, KINDS["manifest"])
    content = json.loads(manifest.read_text())
    content["reports"]["figure4"]["outputs"]["figure4.json"] = "0" * 64
    manifest.write_text(Manifest.model_validate_json(json.dumps(content)).text())
    assert kept.run("verify") == 1
    lines = [line.split("/")[-1] for line in capsys.readouterr().out.splitlines() if line.startswith("CHANGED")]
    made_of_it = {"figure4.json", "figure4.pdf", "figure4.png", "figure4.svg", "index.html"}
    assert {line.split(" ")[0] for line in lines} == made_of_it
    assert kept.run(*report, "all", "--seeds", "2") == 0
    assert kept.run(*report, "table1", "--seeds", "1", "--rows", ROW) == 0
    assert kept.run("verify") == 1
    assert "index.html (what it shows was made again" in capsys.readouterr().out
