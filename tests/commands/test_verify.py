"""`verify`: everything that is kept is as it was written, and a single flipped byte is found and named.

Also tests: ifrvis.harness.store.finding, ifrvis.harness.upkeep.verify, ifrvis.reporting.audit.
"""

import errno
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ifrvis.cli import main
from ifrvis.files import sha256_file
from ifrvis.harness.store.finding import Finding
from ifrvis.harness.store.paths import record_name
from ifrvis.harness.store.records import digest_of
from ifrvis.reporting.output import Manifest

RECOMPUTED = ("record", "Markdown", "LaTeX", "CSV", "JSON")
ROW, LAMBDA = "mask2former-r50-ytvis19", "ours-r50-lambda0.3-ytvis19"

KINDS = {
    "record": "results/records/smoke/*-s0-*.json",
    "videos": "results/records/smoke/*-s0-*.videos.json.gz",
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


def named(said, outcome):
    """The paths and reasons of an outcome, as verify printed them."""
    return [line.removeprefix(outcome).strip() for line in said.splitlines() if line.startswith(f"{outcome} ")]


def test_what_was_written_verifies_and_says_what_was_recomputed(kept, capsys):
    assert kept.run("verify", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    outcomes = {each["path"]: each["outcome"] for each in said["findings"]}
    assert said["counts"] == {each: list(outcomes.values()).count(each) for each in said["counts"]}
    assert (said["counts"]["wrong"], said["counts"]["not kept"]) == (0, 0)
    expected = {str(one(kept, pattern)): kind in RECOMPUTED for kind, pattern in KINDS.items() if kind != "seal"}
    assert {path: outcomes[path] == "recomputed" for path in expected} == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_is_found_and_its_file_named(kept, kind, capsys, monkeypatch, rng: np.random.Generator):
    monkeypatch.setattr(
        "ifrvis.harness.upkeep.verify._verify_scores", lambda record, path, *_: Finding("recomputed", path)
    )
    path = one(kept, KINDS[kind])
    sound = path.read_bytes()
    for position in {0, len(sound) - 1, *rng.integers(0, len(sound), 2).tolist()}:
        for bits in (0x2A, 0xFF):  # 0x2A makes a blank of a line end
            path.write_bytes(sound[:position] + bytes([sound[position] ^ bits]) + sound[position + 1 :])
            assert kept.run("verify") == 1, (position, bits)
            wrong = named(capsys.readouterr().out, "wrong")
            assert any(str(path) in line for line in wrong), (position, bits, wrong)
    path.write_bytes(b"\xef\xbb\xbf" + sound)  # an editor's mark, which reading passes over
    assert kept.run("verify") == 1
    path.write_bytes(sound)
    assert kept.run("verify") == 0


def forge(path, **changes):
    """Change a record, give it a digest that fits, and the name that fits."""
    content = json.loads(path.read_text()) | changes
    path.unlink()
    content["digest"] = digest_of(content)
    forged = path.with_name(record_name(content["name"], content["train_sig"], content["eval_sig"]))
    forged.write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")
    return forged


def renamed(content):
    name = "mask2former-r50-other-ytvis19-s0"
    return {"name": name, "spec": content["spec"] | {"name": name}}


FORGED = [
    (lambda old: {"metrics": old["metrics"] | {"AP": 0.99}}, "its predictions give other metrics"),
    (lambda old: {"metrics": old["metrics"] | {"AP": 0.99}, "files": {}}, "its predictions give other metrics"),
    (lambda old: {"identity": old["identity"] | {"change": 7}, "files": {}}, "its predictions give other identity"),
    (lambda old: {"files": {"predictions": "0" * 64}}, "it was made from others than"),
    (lambda old: {"dataset": "smoke21"}, "profile smoke gives its row the data set smoke19"),
    (lambda old: {"dataset": "nowhere"}, "profile smoke gives its row the data set smoke19"),
    (lambda old: {"profile": "mini", "dataset": "mini19"}, "or move it to mini/"),
    (renamed, "its run is mask2former-r50-ytvis19-s0"),
    (lambda old: {"seed": 1}, "seed is not that of its spec"),
    (lambda old: {"schema": 0}, "its schema is 0"),
]


@pytest.mark.parametrize(("change", "why"), FORGED, ids=[why for _, why in FORGED])
def test_a_forged_record_with_a_fitting_digest_is_named(kept, change, why, capsys):
    path = one(kept, KINDS["record"])
    forged = forge(path, **change(json.loads(path.read_text())))
    assert kept.run("verify") == 1
    assert any(line.startswith(str(forged)) and why in line for line in named(capsys.readouterr().out, "wrong"))


def test_a_copy_under_another_name_is_named(kept, capsys):
    path = one(kept, KINDS["record"])
    copy = path.with_name(f"Copy of {path.name}")
    copy.write_bytes(path.read_bytes())
    assert kept.run("verify") == 1
    (line,) = named(capsys.readouterr().out, "wrong")
    assert line.startswith(str(copy))


def test_a_training_that_ran_under_two_names_is_sound_under_both(kept, capsys):
    """As of one's own set that was renamed: a signature knows no name."""
    run = one(kept, KINDS["specification"]).parent
    other = run.with_name(run.name.replace(ROW, f"z{ROW}"))
    shutil.copytree(run, other)
    (other / "spec.json").write_text((run / "spec.json").read_text().replace(f'"{ROW}', f'"z{ROW}'))
    assert kept.run("verify") == 0, capsys.readouterr().out


def test_what_is_not_kept_is_said_and_a_record_without_predictions_was_not_recomputed(kept, capsys):
    one(kept, KINDS["predictions"]).unlink()
    one(kept, KINDS["LaTeX"]).unlink()
    assert kept.run("verify", "--all") == 0
    said = capsys.readouterr().out
    assert len(named(said, "not kept")) == 2
    assert f"{one(kept, KINDS['record'])} (its predictions are not here)" in named(said, "from videos")


@pytest.mark.parametrize("lost", ["the ground truth", "the runs"])
def test_without_what_it_takes_nothing_is_recomputed(kept, lost, capsys, tmp_path):
    if lost == "the runs":
        (tmp_path / "results" / "runs").rename(tmp_path / "purged")
    kept.roots[0] = f"--data-root={tmp_path}/nothing"
    assert kept.run("verify", "--all") == 0
    said = capsys.readouterr().out
    why = "its ground truth is" if lost == "the ground truth" else "its predictions are"
    assert sum(f"({why} not here)" in line for line in named(said, "from videos")) == 2
    assert not any("/records/" in line for line in named(said, "recomputed"))
    assert "2 from videos" in said.splitlines()[-1]


def tampered(path):
    """Change what lies beside a record."""
    beside = path.with_suffix(".videos.json.gz")
    content = json.loads(gzip.decompress(beside.read_bytes()))
    content["detections"][0]["scores"][0] += 0.001  # which changes no order, hence no number
    beside.write_bytes(gzip.compress(json.dumps(content).encode()))
    return {"videos": sha256_file(beside)}


def test_in_a_bare_clone_a_record_is_the_sum_of_its_videos_wherever_it_was_moved(kept, capsys, tmp_path):
    (tmp_path / "clone").mkdir()
    (tmp_path / "results" / "records").rename(tmp_path / "clone" / "records")
    kept.roots[:2] = [f"--data-root={tmp_path}/nothing", f"--results={tmp_path}/clone"]
    path = one(kept, "clone/records/smoke/*-s0-*.json")
    assert kept.run("verify", "--all") == 0
    assert str(path) in " ".join(named(capsys.readouterr().out, "from videos"))
    content = json.loads(path.read_text())
    tracked = content["tracking"]["top10"]
    for change, other in (
        ({"metrics": content["metrics"] | {"AP": 0.99}}, "metrics"),
        ({"metrics": content["metrics"] | {"AP": 0.99}, "files": {}}, "metrics"),
        ({"metrics": content["metrics"] | {"HOTA": 0.99}}, "metrics"),
        (
            {"tracking": content["tracking"] | {"top10": tracked | {"metrics": tracked["metrics"] | {"IDs": 7}}}},
            "tracking",
        ),
        ({"by_iou": content["by_iou"] | {"AP": content["by_iou"]["AR100"][::-1]}}, "by_iou"),
        ({"identity": content["identity"] | {"change": 7}}, "identity"),
    ):
        forge(path, **content | change)
        assert kept.run("verify") == 1
        assert f"gives other {other})" in " ".join(named(capsys.readouterr().out, "wrong"))
    forge(path, **content)
    path.with_suffix(".videos.json.gz").unlink()
    assert kept.run("verify", "--all") == 0
    said = capsys.readouterr().out
    assert f"{path} (its predictions are not here)" in named(said, "digest only")
    assert any(".videos.json.gz" in line for line in named(said, "not kept"))


def test_other_videos_than_the_predictions_give_are_named_and_so_are_those_without_a_record(kept, capsys):
    path = one(kept, KINDS["record"])
    forge(path, files=json.loads(path.read_text())["files"] | tampered(path))
    assert kept.run("verify") == 1
    assert "its predictions give other mask2former" in " ".join(named(capsys.readouterr().out, "wrong"))
    path.unlink()
    kept.run("verify", "--all")
    assert any(".videos.json.gz (the record" in line for line in named(capsys.readouterr().out, "not kept"))


@pytest.mark.parametrize("options", [["--jobs", "0"], ["--profile", "smok"]])
def test_a_mistyped_option_verifies_nothing(kept, options, capsys):
    assert kept.run("verify", *options) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert ("Give --profile one of smoke: " in said.err) == ("--profile" in options)


def test_a_deleted_or_changed_record_demotes_its_cells_and_fails_verify(kept, capsys):
    report = ["report", "table1", "--profile", str(kept.reports.parent / "smoke.yaml"), "--rows", ROW, "--seeds", "2"]
    path = one(kept, KINDS["record"])
    sound = path.read_text()
    assert kept.run("verify") == 0
    for broken in (None, sound.replace('"seed": 0', '"seed": 00', 1), sound.replace("heldout", "server")):
        path.unlink() if broken is None else path.write_text(broken)
        assert kept.run("verify") == 1
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("wrong") and "table1.md" in line and "record" in line for line in lines)
        written = one(kept, KINDS["Markdown"]).read_text()
        assert kept.run(*report) == 0
        told = "all of which `ifrvis verify` names: 1, as this: Re" in capsys.readouterr().err
        assert told == (broken is not None)
        assert "| 1/2 |" in one(kept, KINDS["Markdown"]).read_text()
        path.write_text(sound)
        assert kept.run(*report) == 0
        assert one(kept, KINDS["Markdown"]).read_text() == written
    assert kept.run("verify") == 0


def test_reports_of_records_that_lie_elsewhere_say_so(kept, capsys, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert main(["verify", *kept.roots, "--results", str(tmp_path / "elsewhere")]) == 1
    wrong = named(capsys.readouterr().out, "wrong")
    assert wrong
    assert all(f"is in {tmp_path}/elsewhere/records/smoke; --results says where" in line for line in wrong)


def test_reports_whose_manifest_is_lost_are_named(kept, capsys):
    manifest = one(kept, KINDS["manifest"])
    manifest.unlink()
    assert kept.run("verify") == 1
    (line,) = named(capsys.readouterr().out, "wrong")
    assert line.startswith(f"{manifest} (without it nothing says")


def test_tables_and_pages_that_no_manifest_knows_are_named(kept, capsys):
    folder = kept.reports / "smoke"
    for name in ("table1.md", "table1.csv"):  # as of another store's reports that were copied into these
        (folder / name.replace("1", "2")).write_bytes((folder / name).read_bytes())
    (folder / "index.html").write_text("AP 99.9")
    (folder / "notes.md").write_text("mine")
    assert kept.run("verify") == 1
    lines = named(capsys.readouterr().out, "wrong")
    assert [line.split("/")[-1].split(" ")[0] for line in lines] == ["index.html", "table2.md"]


def test_hidden_files_beside_others_are_neither_records_nor_runs(kept, capsys):
    assert kept.run("verify", "--json") == 0
    sound = capsys.readouterr().out
    for path in list(kept.reports.parent.rglob("*")):  # as macOS leaves them
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7Mac OS X\xff")
    assert kept.run("verify", "--json") == 0
    assert capsys.readouterr().out == sound


def test_records_that_cannot_be_listed_are_not_taken_for_none(kept, capsys, monkeypatch):
    folder, iterdir = kept.request.store.records("smoke"), Path.iterdir

    def refuse(path):
        if path == folder:  # as of a colleague
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    table = ["table1", "--profile", str(kept.reports.parent / "smoke.yaml")]
    for command in (["verify"], ["report", *table], ["status", *table]):
        assert kept.run(*command) == 2
        assert f"Correct the path or its permissions: '{folder}'" in capsys.readouterr().err


def test_a_figure_is_verified_by_its_data_and_a_page_by_what_it_shows(kept, capsys):
    report = ["report", "--profile", str(kept.reports.parent / "smoke.yaml"), "--rows", f"{ROW},{LAMBDA}"]
    assert kept.run(*report, "all", "--seeds", "2") == 0
    capsys.readouterr()
    assert kept.run("verify", "--json") == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    found = {each["path"].rpartition("/")[2]: each["outcome"] for each in findings}
    assert {found[name] for name in ("figure4.pdf", "figure4.png", "figure4.svg", "index.html")} == {"digest only"}
    manifest = one(kept, KINDS["manifest"])
    content = json.loads(manifest.read_text())
    content["reports"]["figure4"]["outputs"]["figure4.json"] = "0" * 64
    manifest.write_text(Manifest.model_validate_json(json.dumps(content)).text())
    assert kept.run("verify") == 1
    lines = [line.split("/")[-1] for line in named(capsys.readouterr().out, "wrong")]
    made_of_it = {"figure4.json", "figure4.pdf", "figure4.png", "figure4.svg", "index.html"}
    assert {line.split(" ")[0] for line in lines} == made_of_it
    assert kept.run(*report, "all", "--seeds", "2") == 0
    assert kept.run(*report, "table1", "--seeds", "1", "--rows", ROW) == 0
    assert kept.run("verify") == 1
    assert "index.html (what it shows was made again" in capsys.readouterr().out


def test_only_what_is_wrong_is_listed_with_what_the_counts_mean_and_of_the_profile_alone(kept, capsys):
    assert kept.run("verify") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == ["recomputed", "digest only"]
    assert "which is fine" in lines[1]
    spec = one(kept, KINDS["specification"])
    spec.write_bytes(spec.read_bytes() + b" ")
    for profile, wrong in (("smoke", 1), ("mini", 0)):
        (kept.reports / profile).mkdir(exist_ok=True)
        (kept.reports / "mini").mkdir(exist_ok=True)
        (kept.reports / "mini/manifest.json").write_text(Manifest().text())
        assert kept.run("verify", "--profile", profile) == wrong
        assert len(named(capsys.readouterr().out, "wrong")) == wrong
