"""The page: nothing from outside, nothing from data that runs, and all that stands behind a cell.

Also tests: ifrvis.reporting.web.differences.
"""

import base64
import hashlib
import json
import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser

import pytest

from ifrvis.harness.store.playback import Scene
from ifrvis.reporting.web.differences import drawings, pair_name
from ifrvis.reporting.web.page import make_page, played

ROW, OURS = "mask2former-r50-ytvis19", "ours-r50-ytvis19"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`${1}&amp;{{ 1 + 1 }}"


class Seen(HTMLParser):
    """Elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.cdata_elem:  # inside a script or a style
            self.texts.append((self.cdata_elem, self.elements[-1][1].get("type"), data))


def data_of(page):
    return json.loads(next(text for tag, kind, text in Seen(page).texts if kind == "application/json"))


@pytest.fixture
def report(make_report):
    return make_report("table1", {ROW: {0: 0.2, 1: 0.4}, OURS: {0: 0.3}})


@pytest.fixture
def hostile(report, hostile_copy):
    return hostile_copy(report, HOSTILE)


def test_policy_lets_nothing_in_but_its_own_style_and_script(report):
    page = make_page([report], {}, [])
    seen = Seen(page)
    (policy,) = (attributes["content"] for tag, attributes in seen.elements if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag, kind, text in seen.texts:
        if kind is None:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy


def test_page_names_no_other_place(report, make_report):
    figure = make_report("figure4", {"ours-r50-lambda0.3-ytvis19": {0: 0.2, 1: 0.3}})
    seen = Seen(make_page([figure, report], {"figure4.png": b"png"}, []))
    assert sum(tag == "img" for tag, _ in seen.elements) == 1
    places = [value for _, attributes in seen.elements for key, value in attributes.items() if key in ("src", "href")]
    assert all(re.match(r"#|data:image/|(table1|figure4)\.(md|tex|csv|json)$", place) for place in places)
    assert not [attributes for _, attributes in seen.elements if any(key.startswith("on") for key in attributes)]


def test_hostile_text_adds_no_element_and_stays_text(report, hostile):
    plain, page = make_page([report], {}, []), make_page([hostile], {}, [])
    names = {"script", "img", "style", "iframe", "a", "form"}
    counts = [[tag for tag, _ in Seen(text).elements if tag in names] for text in (plain, page)]
    assert counts[0] == counts[1]
    assert "{{ 1 + 1 }}" in page
    assert data_of(page)["tables"]["table1"]["title"] == HOSTILE


def test_hostile_scenes_cannot_leave_their_block(report):
    scene = Scene.model_construct(dataset=HOSTILE, seed=0, rows=(HOSTILE, HOSTILE), records=("", ""), videos=())
    page = make_page([report], {}, [scene])
    assert data_of(page)["scenes"][0]["rows"] == [HOSTILE, HOSTILE]
    assert page.count("<script") == 2


def test_every_cell_leads_to_its_records(report):
    data = data_of(make_page([report], {}, []))
    row = next(row for row in data["tables"]["table1"]["rows"] if row["id"] == ROW)
    assert row["cells"]["AP"]["seeds"] == {"0": 0.2, "1": 0.4}
    assert [data["records"][row["records"][seed]]["digest"] for seed in ("0", "1")] == [f"{0:064x}", f"{1:064x}"]


def test_cells_without_complete_records_say_what_is_missing(report):
    assert make_page([report], {}, []).count(">1/2<") == 5


def test_scenes_are_played_whose_records_are_behind_the_page_the_best_rows_and_the_first_seed_first(make_report):
    report = make_report("table1", {ROW: {0: 0.2, 1: 0.4}, OURS: {0: 0.3, 1: 0.3}})
    one, other = (
        Scene.model_construct(dataset="mini19", seed=seed, rows=(ROW, OURS), records=(f"{seed:064x}",) * 2, videos=())
        for seed in (0, 1)
    )
    lost = one.model_copy(update={"records": ("f" * 64, f"{0:064x}")})
    assert played([report], [other, lost, one]) == [one]
    assert played([report], [other, lost]) == [other]
    assert played([report], [lost]) == []


def test_cost_and_provenance_are_of_the_records(report):
    page = make_page([report], {}, [])
    cells = re.findall(r"<tr><td>mask2former</td>(.*?)</tr>", page)
    assert re.findall(r">([^<]*)</td>", cells[0]) == ["r50", "mini19", "2", "0.40", "0.200", "2", "3.00"]
    assert f"commit {'c' * 40}" in page


def test_differences_come_first_rows_without_numbers_are_folded_and_the_papers_are_no_comparison(make_report):
    whole = {row: {0: 0.2, 1: 0.4} for row in (ROW, "mask2former-r101-ytvis19")}
    report = make_report("table1", {**whole, OURS: {0: 0.3, 1: 0.5}, "ours-r101-ytvis19": {0: 0.3}})
    page = make_page([report], {}, [])
    places = [page.index(f'id="{name}"') for name in ("found", "viewer", "table1", "cost")]
    assert places == sorted(places)
    found, table = page[places[0] : places[1]], page[places[2] : places[3]]
    assert "not a comparison" in found
    drawn, folded = found.split("1 of 2 differences without numbers</summary>")[:2]
    assert ">Ours − Mask2Former, ResNet-50, Y</span>" in drawn
    assert "Ours − Mask2Former, ResNet-101, Y: undecided (1/2)" in folded
    whole, folded = table.split("1 of 4 rows without numbers")
    assert [each.count("<tr data-row") for each in (whole, folded)] == [3, 1]
    assert ">30.0 <i>± 14.1</i></span><small>46.4 ± 0.8</small>" in whole
    assert ">1/2</span>" in folded


def test_what_the_paper_has_far_away_is_marked_at_the_edge(make_report):
    rows = {name: {seed: 0.3 + 0.001 * seed for seed in (0, 1)} for name in (ROW, OURS)}
    report = make_report("table1", rows)
    (judged,) = [each for each in report.claims if "higher AP than Mask2Former" in each.claim.text]
    pair = judged.pairs[0]
    for paper, mark, at in ((0.1, "◇", None), (90.0, "▷", 100.0), (-90.0, "◁", 0.0)):
        (drawn,) = drawings(report, replace(judged, pairs=(replace(pair, paper=paper),)))
        (line,) = drawn["lines"]
        assert line["paper"] == (line["paper"][0] if at is None else at, mark)
        assert len(line["drawn"]["seeds"]) == 2
        assert drawn["claimed"] == (drawn["zero"], 100.0)
    (drawn,) = drawings(report, judged)
    assert all(0 <= place <= 100 for place, _ in drawn["ticks"])
    assert 3 <= len(drawn["ticks"]) <= 7


def test_a_difference_is_named_by_what_its_rows_do_not_share(make_report):
    ids = ROW, "mask2former-r50-ytvis21", OURS, "ours-swin-l-ytvis19", "ours-swin-l-q200-ytvis19"
    named = partial(pair_name, make_report("table3", {row: {} for row in ids}))
    assert named((OURS, ROW)) == "Ours − Mask2Former, ResNet-50, YTVIS19"
    assert named((OURS, "mask2former-r50-ytvis21")) == "Ours YTVIS19 − Mask2Former YTVIS21, ResNet-50"
    assert named((OURS, ROW, OURS, ROW)) == "(Ours − Mask2Former) − (Ours − Mask2Former), ResNet-50, YTVIS19"
    swin = "ours-swin-l-ytvis19", "ours-swin-l-q200-ytvis19"
    assert named(swin) == "Swin-L − Swin-L (200), Ours, YTVIS19"
