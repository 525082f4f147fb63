"""`verify`: everything that is kept is as it was written, and a single flipped byte is found and named."""

import json

import numpy as np
import pytest

from ifrvis.harness.records import digest_of, record_text
from ifrvis.harness.verify import Finding

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
    "summary": "reports/smoke/table1-summary.csv",
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
    monkeypatch.setattr("ifrvis.harness.verify._verify_scores", lambda record, path, *_: Finding("verified", path))
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
    path.write_text(record_text({**record, "digest": digest_of(record)}))
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


def test_a_report_whose_record_is_gone_cannot_be_made_again(kept, capsys):
    one(kept, KINDS["record"]).unlink()
    assert kept.run("verify") == 0
    assert "not made again" in capsys.readouterr().out
