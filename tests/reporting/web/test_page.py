"""The page: nothing from outside, nothing from data that runs, and all that stands behind a cell."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ifrvis.reporting.web.page import make_page, table_html

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
def state(make_state):
    return make_state("table1", {ROW: {0: 0.2, 1: 0.4}, OURS: {0: 0.3}}, states={OURS: "running"})


def hostile_copy(value):
    """The same with hostile text in the place of every text."""
    if isinstance(value, dict):
        return {key: hostile_copy(each) for key, each in value.items()}
    if isinstance(value, list):
        return [hostile_copy(each) for each in value]
    return HOSTILE if isinstance(value, str) else value


@pytest.fixture
def hostile(state):
    """Records and table with hostile text everywhere but in the protocol, without which no record counts."""
    rows = []
    for each in state.rows:
        row = each.row.model_copy(update=dict.fromkeys(("label", "group", "data", "note"), HOSTILE))
        records = {seed: hostile_copy(record) | {"protocol": "heldout"} for seed, record in each.records.items()}
        rows.append(replace(each, row=row, records=records))
    claim = state.table.claims[0].model_copy(update=dict.fromkeys(("text", "note", "place"), HOSTILE))
    table = state.table.model_copy(update={"title": HOSTILE, "place": HOSTILE, "notes": (HOSTILE,), "claims": (claim,)})
    return replace(state, table=table, rows=tuple(rows))


def test_policy_lets_nothing_in_but_its_own_style_and_script(state):
    page = make_page([state], {}, [])
    seen = Seen(page)
    (policy,) = (attributes["content"] for tag, attributes in seen.elements if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag, kind, text in seen.texts:
        if kind is None:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy


def test_page_names_no_other_place(state, make_state):
    figure = make_state("figure4", {"ours-r50-lambda0.3-ytvis19": {0: 0.2, 1: 0.3}})
    seen = Seen(make_page([figure, state], {"figure4.png": b"png"}, []))
    assert sum(tag == "img" for tag, _ in seen.elements) == 1
    places = [value for _, attributes in seen.elements for key, value in attributes.items() if key in ("src", "href")]
    assert all(re.match(r"#|data:image/|(table1|figure4)\.(md|tex|csv|json)$", place) for place in places)
    assert not [attributes for _, attributes in seen.elements if any(key.startswith("on") for key in attributes)]


def test_hostile_text_adds_no_element_and_stays_text(state, hostile):
    plain, page = make_page([state], {}, []), make_page([hostile], {}, [])
    names = {"script", "img", "style", "iframe", "a", "form"}
    counts = [[tag for tag, _ in Seen(text).elements if tag in names] for text in (plain, page)]
    assert counts[0] == counts[1]
    assert "{{ 1 + 1 }}" in page
    assert data_of(page)["tables"]["table1"]["title"] == HOSTILE
    assert [tag for tag, _ in Seen(table_html(hostile)).elements if tag in names] == []


def test_hostile_scenes_cannot_leave_their_block(state):
    scene = {"dataset": HOSTILE, "seed": 0, "rows": [HOSTILE], "videos": [{"name": HOSTILE}]}
    page = make_page([state], {}, [scene])
    assert data_of(page)["scenes"] == [scene]
    assert page.count("<script") == 2


def test_every_cell_leads_to_its_records(state):
    data = data_of(make_page([state], {}, []))
    row = next(row for row in data["tables"]["table1"]["rows"] if row["id"] == ROW)
    assert row["cells"]["AP"]["seeds"] == {"0": 0.2, "1": 0.4}
    assert [data["records"][row["records"][seed]]["digest"] for seed in ("0", "1")] == [f"{0:064x}", f"{1:064x}"]


def test_cells_without_complete_records_say_what_is_missing(state):
    assert table_html(state).count(">1/2<") == 5


def test_overview_cost_and_provenance_are_of_the_records(state):
    page = make_page([state], {}, [])
    assert "1 complete</span>" in page
    assert "1 running</span>" in page
    cells = re.findall(r"<tr><td>mask2former</td>(.*?)</tr>", page)
    assert re.findall(r">([^<]*)</td>", cells[0]) == ["r50", "mini19", "2", "0.40", "0.200", "2", "3.00"]
    assert f"commit {'c' * 40}" in page


@pytest.mark.parametrize("broken", [{"attempts": ["x", {"seconds": "x"}]}, {"provenance": {"code": 1, "versions": []}}])
def test_records_that_no_worker_wrote_make_no_page_fail(state, broken):
    rows = [replace(each, records={seed: {**r, **broken} for seed, r in each.records.items()}) for each in state.rows]
    assert "</html>" in make_page([replace(state, rows=tuple(rows))], {}, [])
