"""`compare`: rows, runs, records and results files side by side, in words and in numbers."""

import json
import re
from dataclasses import replace

import kept_runs
import pytest
from made_records import made_record, made_train

from ifrvis.analysis.comparison import PAPERS, tables_of
from ifrvis.cli import main
from ifrvis.datasets.catalog import load_dataset
from ifrvis.evaluation.bootstrap import difference_intervals
from ifrvis.evaluation.predictions import results_of
from ifrvis.evaluation.videos import read_videos
from ifrvis.harness.store.records import publish_record

ROWS = OURS, M2F = "ours-r50-ytvis19", "mask2former-r50-ytvis19"


@pytest.fixture
def request_of_rows(smoke_data, tmp_path, monkeypatch):
    """Two rows with two seeds: Ours is the ground truth, of Mask2Former two tracks swap and one is lost at the end."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("ifrvis.evaluation.bootstrap.LEAST_VIDEOS", 4)
    predict = {"ours": kept_runs.perfect, "mask2former": kept_runs.swapped}
    return kept_runs.kept(tmp_path, ["table3"], ROWS, 2, predict, data_root=smoke_data)


@pytest.fixture
def compare(request_of_rows, tmp_path, capsys):
    """The command: its status and what it said."""

    def call(*arguments):
        roots = kept_runs.roots_of(request_of_rows, tmp_path / "reports")
        status = main(["compare", "--profile", f"{tmp_path}/smoke.yaml", *roots, *map(str, arguments)])
        said = capsys.readouterr()
        return status, json.loads(said.out) if "--json" in arguments else "".join(said)

    return call


@pytest.fixture
def truth(request_of_rows, tmp_path):
    """The path of the ground truth, and what writes a results file of it by what is predicted of a video."""
    split = load_dataset("smoke19", request_of_rows.data_root).split("heldout")
    annotations = split.read()

    def write(name, predict):
        results = results_of(predict(video, annotations) for video in annotations.videos)
        (tmp_path / name).write_text(json.dumps([each.to_json() for each in results]))
        return tmp_path / name

    return split.annotation, write


def dropped(video, annotations):
    """The ground truth without the first third of the frames."""
    found = kept_runs.perfect(video, annotations)
    first = video.length // 3
    for number, masks in found.masks.items():
        found.masks[number] = (*[None] * first, *masks[first:])
    return found


def test_who_swaps_identities_and_who_drops_frames_is_told_apart_in_words(compare, truth):
    gt, write = truth
    swaps, drops = write("swaps.json", kept_runs.swapped), write("drops.json", dropped)
    for given, (swapper, dropper) in (((swaps, drops), "AB"), ((drops, swaps), "BA")):
        status, said = compare(*given, "--gt", gt, "--md")
        assert status == 0
        assert f"- {swapper} changes identities more often: " in said
        assert "- tracking and identity by protocol all: every entry" in said
        assert f"{dropper} 0.00; more by " in said
        assert f"- {dropper} misses more: " in said
        assert not {f"- {swapper} misses more", f"- {dropper} changes identities"} & set(said.split(":"))
    status, found = compare(swaps, drops, "--gt", gt, "--json")
    changes = next(each for each in found["habits"] if each["habit"] == "changes")
    assert changes["over_videos"][0] > 0 == changes["b"]
    assert found["equal_recall"] == pytest.approx(2 / 3, abs=0.1)
    assert [each["category"] for each in found["categories"]] != []
    assert {each["video"] for each in found["videos"]} == {"00000", "00001", "00002", "00003"}


def test_rows_are_compared_over_the_seeds_and_over_the_videos_that_both_have(compare, tmp_path):
    status, found = compare(*ROWS, "--json")
    metrics = {each["metric"]: each for each in found["metrics"]}
    assert (status, found["a"]["seeds"], found["seeds_pair"], found["same_videos"]) == (0, [0, 1], True, True)
    assert {found["units"][name] for name in metrics if "errors" in name} == {"per object-frame tracked"}
    assert found["units"].keys() == {*metrics, "num_errors"} > {*found["videos"][0]} - {"id", "video"}
    idf1 = metrics["IDF1"]
    assert idf1["a"] == [1.0, 1.0]
    assert idf1["difference"] == pytest.approx(1 - sum(idf1["b"]) / 2)
    beside = [
        [read_videos(each) for each in sorted((tmp_path / "results/records/smoke").glob(f"{row}-s*.videos.json.gz"))]
        for row in ROWS
    ]
    assert idf1["over_videos"] == list(difference_intervals(*beside, dataset="smoke19")["IDF1"])
    assert metrics["errors_at_equal_recall"]["difference"] < 0
    assert found["differs"]["recipe"]["model.track_head.type"] == [["IFRHead"], ["Mask2FormerVISHead"]]
    assert found["differs"].keys() == {"recipe"}
    status, said = compare(*ROWS, "--seed", 1)
    assert (status, f"A: {OURS}, seed 1\n" in said) == (0, True)
    assert "B changes identities more often" in " ".join(said.split())
    both = " ".join(compare(*ROWS)[1].split())
    assert f"A: {OURS}, seeds 0, 1 B: " in both
    assert "percent; IDs a count, identity errors per hundred" in both


def test_the_papers_metrics_and_those_that_differ_are_printed_and_all_if_asked(compare):
    printed = [compare(*ROWS, "--md", *more)[1].partition("## AP by category")[0] for more in ([], ["--all"])]
    shown, every = ({*re.findall(r"^\| (\w.*?)[↑↓]? \|", each, re.M)} - {"Metric"} for each in printed)
    beyond = {
        each["metric"].replace("_", " ")
        for each in compare(*ROWS, "--json")[1]["metrics"]
        for ends in (each.get("over_videos"), each.get("over_seeds"))
        if ends and not ends[0] <= 0 <= ends[1]
    }
    assert shown == {*PAPERS, *beyond} > {*PAPERS}
    assert every > shown
    assert f"--all: {len(every - shown)} more" in printed[0]


def test_runs_and_records_are_what_their_row_is_and_a_lost_seed_is_said(compare, tmp_path, truth):
    records = sorted((tmp_path / "results/records/smoke").glob(f"{M2F}-s*[0-9a-f].json"))
    by_row = compare(*ROWS, "--json", "--seed", 0)[1]
    for a, b in ((f"{OURS}-s0", f"table3/{M2F}"), (f"{OURS}-s0", records[0])):
        found = compare(a, b, "--json", *(["--seed", 0] if b is not records[0] else []))[1]
        assert found["metrics"] == by_row["metrics"]
        assert found["said"] == by_row["said"]
    again = compare(*ROWS, "--json", "--seed", 0, "--gt", truth[0])[1]
    numbers = [(each["metric"], each["a"], each["b"], each["difference"]) for each in again["metrics"]]
    assert numbers == [(each["metric"], each["a"], each["b"], each["difference"]) for each in by_row["metrics"]]
    records[0].unlink()
    status, said = compare(*ROWS)
    assert (status, f"A: {OURS}, seed 1 (0 left out: the other side has no such seed)" in said) == (0, True)
    records[1].with_suffix(".videos.json.gz").unlink()
    assert "No interval over videos" in compare(*ROWS)[1]


def test_what_a_seed_lacks_is_a_dash_on_its_side_and_a_mean_on_the_other():
    """Errors at half, where a run never tracks half: what the first seed alone has is no side's number."""
    metric = {"metric": "errors_at_half", "a": [0.05, None], "b": [0.05, 0.07], "difference": None}
    content = {"seeds_pair": True, "metrics": [metric], "categories": [], "videos": [], "differs": {}}
    assert tables_of(content)[0].lines == [("errors at half↓", "–", "6.00 ± 1.41", *["–"] * 4)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((OURS, OURS), "Give two different things"),
        ((OURS, f"table3/{OURS}"), f"to compare: {OURS} and table3/{OURS} are the same records."),
        ((OURS, "swaps.json"), "Give --gt, the ground truth, to compare results files"),
        ((OURS, "absent.json"), "Check the path: there is no file absent.json"),
        ((OURS, "ours-swin-l-ytvis19"), "Run ours-swin-l-ytvis19 first"),
        ((OURS, "mask2fromer-r50-ytvis19"), "did you mean 'mask2former-r50-ytvis19'?"),
        ((f"{OURS}-s0", M2F, "--seed", "1"), f"Run {OURS}-s0 first, or correct --results"),
        ((OURS, M2F, "--seed", "4"), f"Run {OURS} first: there is no record of it with seed 4, but with 0, 1 under"),
        ((OURS, "RECORD", "--seed", "0"), "Leave out --seed, or give 1: that is the seed of"),
        (("swaps.json", "TRUTH", "--gt", "TRUTH", "--seed", "0"), "Leave out --seed: results files"),
    ],
)
def test_what_cannot_be_compared_is_said(given, message, compare, truth, tmp_path):
    paths = {"swaps.json": truth[1]("swaps.json", kept_runs.swapped), "TRUTH": truth[0]}
    paths["RECORD"] = next(tmp_path.glob(f"results/records/smoke/{M2F}-s1-*.json"))
    status, said = compare(*(paths.get(each, each) for each in given))
    assert (status, message in said) == (2, True), said


@pytest.mark.parametrize(
    ("options", "score", "tracks"),
    [
        ((), 0.3, 3),  # protocol `all` counts every entry
        (("--protocol", "common"), 0.3, 0),  # it counts those from .5
        (("--protocol", "third.yaml"), 0.3, 0),
        (("--protocol", "third.yaml"), 0.4, 3),
    ],
)
def test_the_page_plays_the_tracks_that_the_numbers_count(options, score, tracks, compare, truth, tmp_path):
    third = tmp_path / "third.yaml"
    third.write_text("{name: third, title: from a third, tracks: entries, threshold: 0.33}")
    files = truth[1]("swaps.json", kept_runs.swapped), truth[1]("drops.json", dropped)
    for path in files:
        path.write_text(json.dumps([each | {"score": score} for each in json.loads(path.read_text())]))
    options = [str(third) if each == third.name else each for each in options]
    page = tmp_path / "page.html"
    assert compare(*files, "--gt", truth[0], "--html", page, *options)[0] == 0
    panes = [video["panes"][1:] for video in scene_of(page)["videos"]]
    assert [[bool(pane["tracks"]) for pane in each] for each in panes] == [[tracks > 0] * 2] * len(panes)


def test_other_videos_pair_nothing(compare, tmp_path, request_of_rows):
    other = made_record({"AP": 0.5}, train=made_train(0), profile="smoke")
    publish_record(request_of_rows.store, other)
    path = request_of_rows.store.record("smoke", other.name, other.train_sig, other.eval_sig)
    status, said = compare(OURS, path, "--seed", 0)
    assert (status, "A and B were measured on different videos" in said) == (0, True)
    assert "No interval over videos" not in said


def test_a_page_plays_the_videos_that_differ_most(compare, truth, tmp_path):
    page, (gt, write) = tmp_path / "page.html", truth
    assert compare(*ROWS, "--html", page)[0] == 0
    scene = scene_of(page)
    assert (scene["rows"], scene["seed"], scene["dataset"], len(scene["videos"])) == ([*ROWS], 0, "smoke19", 3)
    titles = [pane["title"] for pane in scene["videos"][0]["panes"]]
    assert titles == ["Ground truth", f"A: {OURS}", f"B: {M2F}"]
    assert "B changes identities more often" in page.read_text()
    files = write("swaps.json", kept_runs.swapped), write("drops.json", dropped)
    assert compare(*files, "--gt", gt, "--html", page)[0] == 0
    grey = scene_of(page)
    assert grey["rows"] == ["swaps.json", "drops.json"]
    assert "seed" not in grey
    frames = load_dataset("smoke19", gt.parents[1]).split("heldout").frames
    assert compare(*files, "--gt", gt, "--html", page, "--frames", frames)[0] == 0
    assert len(set(scene_of(page)["videos"][0]["frames"])) > len(set(grey["videos"][0]["frames"])) == 1
    next((tmp_path / "results/runs").glob(f"{OURS}-s0-*/predictions/*/predictions.json.gz")).write_bytes(b"")
    status, said = compare(*ROWS, "--html", page)
    assert (status, f"the predictions behind a record of {OURS} are not there" in said) == (2, True)
    status, said = compare(*ROWS, "--html", page, "--data-root", tmp_path / "nowhere")
    assert (status, "Leave out --html, or give --gt" in said) == (2, True)


def scene_of(page):
    """The one that a page plays."""
    (scene,) = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])["scenes"]
    return scene


@pytest.mark.parametrize("protocol", ["all", "top10", "matched"])
def test_files_are_tracked_by_a_protocol_that_is_named_with_the_numbers_of_evaluate(compare, truth, protocol, capsys):
    gt, write = truth
    asked = ["--protocol", protocol] * (protocol != "all")

    def crowded(video, annotations):
        """Twelve times the ground truth, the first track once again."""
        found = kept_runs.perfect(video, annotations)
        tracks = [(masks, found.by_class[query]) for query, masks in found.masks.items()] * 12
        masks = {number: masks for number, (masks, _) in enumerate(tracks)}
        scored = tuple(
            each._replace(query=number, score=0.9 - 0.01 * number) for number, (_, each) in enumerate(tracks)
        )
        return replace(found, masks=masks, by_class=scored)

    files = write("many.json", crowded), write("drops.json", dropped)
    found = compare(*files, "--gt", gt, *asked, "--json")[1]
    metrics = {each["metric"]: (*each["a"], *each["b"]) for each in found["metrics"]}
    assert found["protocol"] == protocol
    entries = [len(json.loads(path.read_text())) for path in files]
    assert found["differs"]["file"]["entries"] == [[each] for each in entries]
    for kind, names in {"ap": ["AP", "AR10"], "tracking": ["IDF1", "MOTA", "HOTA", "IDs"]}.items():
        for side, path in enumerate(files):
            options = ["--gt", str(gt), "--pred", str(path), *(asked if kind == "tracking" else [])]
            assert main(["evaluate", kind, *options, "--json"]) == 0
            scores = json.loads(capsys.readouterr().out)
            assert {name: metrics[name][side] for name in names} == {
                name: pytest.approx(scores[name]) for name in names
            }
    assert compare(*ROWS, "--protocol", "all")[0] == 2
