"""The page in a browser: Debian's Chromium, driven by Playwright. IFRVIS_AXE is the path of axe-core's script."""

import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from kept_runs import kept, perfect, roots_of, swapped

from ifrvis.cli import main
from ifrvis.datasets.rle import encode, runs_of
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.upkeep.footage import write_scenes
from ifrvis.reporting.web.page import make_page

pytestmark = pytest.mark.slow
OPTIONS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
OPTIONS += " --disable-component-update --disable-sync"
ROWS = ("mask2former-r50-ytvis19", "ours-r50-ytvis19")
SIZES = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 400, "height": 800}}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser tests")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: no browser tests")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=OPTIONS.split())
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """`report all` of two rows with two seeds: Ours as the ground truth, of Mask2Former two tracks swap."""
    folder = tmp_path_factory.mktemp("report")
    request = kept(folder, ("table1", "table3"), ROWS, 2, {"mask2former": swapped, "ours": perfect})
    assert len(write_scenes(make_plan(request))) == 1
    rows = ",".join([*ROWS, "ours-r50-lambda0.3-ytvis19"])
    options = ["--profile", f"{folder}/smoke.yaml", "--rows", rows, "--seeds", "2"]
    assert main(["report", "all", *options, *roots_of(request, folder / "reports")]) == 0
    return folder / "reports" / "smoke" / "index.html"


def wait_for(page, frame):
    """Until the viewer is at a frame."""
    from playwright.sync_api import expect

    expect(page.locator("#at")).to_have_text(re.compile(frame))


@contextmanager
def opened(browser, path, size="wide", scheme="light"):
    """The page in a fresh context, that asks for nothing, complains of nothing and shows no box."""
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    page, seen = context.new_page(), []
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("dialog", lambda dialog: (seen.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: None if request.url.startswith("data:") else seen.append(request.url))
    page.goto(path.as_uri())
    if page.query_selector("#panes"):
        page.wait_for_selector("#panes figure:nth-child(3) canvas")
        wait_for(page, "frame 1 of")
    yield page
    assert seen == [path.as_uri()]
    context.close()


@pytest.fixture
def page(browser, report):
    with opened(browser, report) as page:
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_opens_from_disk_and_fits_its_width(browser, report, size, scheme):
    with opened(browser, report, size, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size]["width"]
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 28)"}[scheme]
        assert page.locator("section").count() == 9  # found, viewer, four tables, figure, cost, provenance
        assert page.locator("#figure4 img").evaluate("image => image.complete && image.naturalWidth > 0")
        number = page.locator(".measured").first.bounding_box()
        assert number["x"] + number["width"] <= SIZES[size]["width"]
        assert number["y"] + number["height"] <= SIZES[size]["height"]


def test_tables_fit_1200_pixels_whole_and_sorting_marks_take_no_line(browser, report):
    with opened(browser, report) as page:
        page.set_viewport_size({"width": 1200, "height": 900})
        wide = page.locator(".wide").evaluate_all("all => all.map(each => [each.scrollWidth, each.clientWidth])")
        assert all(scroll <= client for scroll, client in wide)
        assert len(wide) > 6
        head = page.locator("#table1 thead th:nth-child(2)")
        assert head.evaluate("th => th.clientHeight < 2 * parseFloat(getComputedStyle(th).lineHeight)")
        narrow = page.locator("#table1 tbody td").first
        page.set_viewport_size(SIZES["narrow"])
        assert narrow.evaluate("td => td.getBoundingClientRect().right < innerWidth")


def test_differences_are_drawn_a_dot_a_seed(page):
    article = page.locator("#found article", has_text="Fewer identity switches than Mask2Former")
    drawn = article.locator(".pair svg[role=img]").first
    assert [drawn.locator(each).count() for each in ("circle", "line.mean", "line.zero", "rect.claimed")] == [
        2,
        1,
        1,
        1,
    ]
    value = float(article.locator("b.measured").first.inner_text())
    assert value < 0  # Ours is the ground truth, of Mask2Former two tracks swap
    mean, zero = (drawn.locator(f"line.{each}").bounding_box()["x"] for each in ("mean", "zero"))
    assert mean < zero


def test_print_has_the_light_colours_and_no_controls(browser, report):
    with opened(browser, report, scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.locator("#viewer, nav, .tools").first.is_visible()


def test_columns_sort_both_ways_with_states_last(page):
    table = page.locator("#table3 table.report")
    head = table.locator("thead th:nth-child(2)")

    def column():
        return [float(text.split(" ")[0]) for text in table.locator("td:nth-child(2) button").all_inner_texts()]

    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column() == sorted(column(), reverse=True)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column() == sorted(column())
    table.locator("thead th button").first.click()
    assert table.locator("th[aria-sort]").count() == 1
    assert [text.split()[0] for text in table.locator("tbody th").all_inner_texts()] == ["Mask2Former", "Ours"]


def test_a_cell_opens_its_records_and_gives_the_focus_back(page, report):
    cell = page.locator("#table1 tr[data-row=ours-r50-ytvis19] td button").first
    cell.click()
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    files = dialog.locator("tbody code").all_inner_texts()
    assert len(files) == 2
    assert all((report.parents[2] / "results" / "records" / "smoke" / name).is_file() for name in files)
    assert "over 2 seeds" in dialog.inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert cell.evaluate("button => button === document.activeElement")


def test_seeds_are_shown_on_demand(page):
    button = page.locator("#table1 button.seeds")
    assert page.locator("#table1 td ol").count() == 0
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    lists = page.locator("#table1 td ol")
    assert lists.count() == 10
    assert lists.first.locator("li").count() == 2
    button.click()
    assert lists.count() == 0


def test_masks_are_decoded_as_the_program_does(page, rng):
    shapes = [(1, 1), (7, 5), (64, 96), (300, 400)]
    masks = [encode(rng.random(shape) < share) for shape in shapes for share in (0.0, 0.02, 0.5, 1.0)]
    blocks = np.zeros((300, 400), bool)
    blocks[50:250, 40:399] = True  # long runs: several digits, and differences of both signs
    for mask in [*masks, encode(blocks)]:
        assert page.evaluate("counts => runsOf(counts)", mask["counts"]) == runs_of([mask]).lengths.tolist()


def test_masks_are_drawn_over_the_frame_in_the_colours_of_their_identities(page):
    right, all_pixels = page.evaluate("""async () => {
        const video = data.scenes[0].videos[0], { width, height } = video;
        const frame = Object.assign(new Image(), { src: `data:image/jpeg;base64,${video.frames[0]}` });
        await frame.decode();
        const plain = new OffscreenCanvas(width, height).getContext('2d');
        plain.drawImage(frame, 0, 0);
        const wanted = plain.getImageData(0, 0, width, height).data;
        for (const track of video.panes[0].tracks) {
          let place = 0;
          (track.masks[0] === null ? [] : runsOf(track.masks[0])).forEach((run, i) => {
            for (let p = place; i % 2 && p < place + run; p++) for (const channel of [0, 1, 2]) {
              const at = 4 * ((p % height) * width + Math.floor(p / height)) + channel;
              const colour = data.colours.identity[track.identity].slice(1 + 2 * channel, 3 + 2 * channel);
              wanted[at] = 0.45 * wanted[at] + 0.55 * parseInt(colour, 16);
            }
            place += run;
          });
        }
        const canvas = document.querySelector('#panes canvas'), zoom = canvas.width / width;
        const shown = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let right = 0;
        for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
          const at = 4 * (Math.floor((y + 0.5) * zoom) * canvas.width + Math.floor((x + 0.5) * zoom));
          const same = (c) => Math.abs(shown[at + c] - wanted[4 * (y * width + x) + c]) < 3;
          right += [0, 1, 2].every(same);
        }
        return [right, width * height];
    }""")
    assert right / all_pixels > 0.96  # the identities' numbers cover the rest


def test_it_plays_in_step_and_stops(page):
    before = [canvas.screenshot() for canvas in page.locator("#panes canvas").all()]
    page.click("#play")
    wait_for(page, "frame [2-6] of")
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Play"
    at = page.inner_text("#at")
    page.wait_for_timeout(400)
    assert page.inner_text("#at") == at
    canvases = page.locator("#panes canvas").all()
    assert all(canvas.screenshot() != old for canvas, old in zip(canvases, before))
    labels = [canvas.get_attribute("aria-label") for canvas in canvases]
    assert len({label.split(", ")[1].split(":")[0] for label in labels}) == 1


def test_it_jumps_to_errors_by_mark_button_and_key(page):
    mark = page.locator("#timeline button[aria-label^=switch]").first
    mark.click()
    assert page.inner_text("#at") == "frame 4 of 6"
    assert "Mask2Former ResNet-50: switch, objects 1 and 2: tracks 1 and 2 swap" in page.inner_text("#status")
    page.locator("#viewer").focus()
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#at") == "frame 3 of 6"
    page.keyboard.press("n")
    assert page.inner_text("#at") == "frame 4 of 6"
    page.locator("#frame").fill("0")
    page.click("#next")
    assert page.inner_text("#status") != ""
    page.select_option("#video", "1")
    wait_for(page, "frame 1 of")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing(browser, report, size, scheme):
    if "IFRVIS_AXE" not in os.environ:
        pytest.skip("IFRVIS_AXE is not set: axe-core is not here")
    source = Path(os.environ["IFRVIS_AXE"]).read_text(encoding="utf-8")
    with opened(browser, report, size, scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        page.click("#table1 button.seeds")
        page.evaluate(source)
        for step in (lambda: None, lambda: page.locator("td button").first.click()):
            step()
            found = page.evaluate("axe.run().then(({violations, passes}) => ({violations, passes: passes.length}))")
            told = [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]]
            assert told == []
            assert found["passes"] > 10


def test_hostile_text_in_every_field_changes_nothing(browser, make_report, hostile_copy, tmp_path):
    report, pages = make_report("table1", {ROWS[0]: {0: 0.2, 1: 0.4}, ROWS[1]: {0: 0.3, 1: 0.5}}), []
    for text in ("plain", HOSTILE):
        path = tmp_path / f"{len(pages)}.html"
        path.write_text(make_page([hostile_copy(report, text)], {}, []), encoding="utf-8")
        with opened(browser, path) as page:
            page.locator("td button").first.click()
            assert text in page.inner_text("dialog")
            page.keyboard.press("Escape")
            page.locator("th button").first.click()
            pages.append([page.evaluate("document.querySelectorAll('*').length"), page.locator("script").count()])
    assert pages[0] == pages[1]
