"""The page that labels without a kernel, over HTTP and as a file: what it keeps, shows and gives back."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading

import pytest
from hostile import hostile_texts
from labeller_hand import ASPECTS, GUARD, PLAN, Hand, complaints, every_kind, facts, fits
from playwright.sync_api import expect

from mmbook.feedback import Feedback, read_log
from mmbook.feedback.page import save_page

NARROW = {"width": 375, "height": 740}
WIDE = {"width": 1000, "height": 900}


def write_page(folder, items, name="page.html", **more):
    feedback = Feedback(items, folder / "log.jsonl", "writer", seed=7)
    feedback.aspects = ASPECTS
    return save_page(feedback, folder / name, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_page(folder, every_kind())
    return folder


@pytest.fixture(scope="module")
def bases(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    ) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield {"http": f"http://127.0.0.1:{running.server_port}", "file": folder.as_uri()}
        running.shutdown()


class Reader:
    """A browser of its own, and what its pages asked for and complained about."""

    def __init__(self, browser, base, **options):
        self.context = browser.new_context(viewport=WIDE, **options)
        self.base, self.told = base, []
        self.context.on("request", self.asked)

    def asked(self, request):
        if not request.url.startswith((f"{self.base}/page.html", "data:", "blob:")):
            self.told.append(request.url)

    def open(self, name="page.html", labeller=True):
        page = self.context.new_page()
        page.on("console", lambda m: self.told.append(m.text))
        page.on("pageerror", lambda e: self.told.append(str(e)))
        page.goto(f"{self.base}/{name}")
        if labeller:
            page.locator(".mmb").wait_for()
            page.locator(".mmb").focus()
        return page

    def close(self):
        self.context.close()
        asked = [line for line in self.told if not line.endswith("/favicon.ico") and "favicon" not in line]
        assert asked == []


@pytest.fixture(params=["http", "file"])
def reader(request, browser, bases):
    reader = Reader(browser, bases[request.param])
    yield reader
    reader.close()


def download(page, path):
    """Press the button; the records of the file that comes, and what is wrong in it."""
    with page.expect_download() as coming:
        page.locator("button[data-act=download]").click()
    assert re.fullmatch(r"labels-[0-9a-f]{12}\.jsonl", coming.value.suggested_filename)
    coming.value.save_as(path)
    return read_log(path)


def count(page, n, of=13):
    expect(page.locator(".mmb-count")).to_have_text(f"{n} of {of} judged")


def test_every_kind_is_kept_over_a_reload_and_comes_back_in_the_download(reader, tmp_path):
    page = reader.open()
    assert page.locator(".mmb-list").is_hidden()
    hand = Hand(page)
    hand.work(PLAN[:6])
    hand.undo("click")
    hand.undo("key")
    hand.work(PLAN[4:9])
    page.reload()
    count(page, 9)
    hand.root.focus()
    hand.work(PLAN[9:12])
    hand.judge("key", "skip")
    expect(hand.root.locator(".mmb-prompt")).to_contain_text("All items are judged")
    assert hand.focused() and page.locator("button[data-act=download]").is_enabled()
    count(page, 13)
    records, problems = download(page, tmp_path / "labels.jsonl")
    assert problems == []
    hand.check(records)

    # Whoever gets the file can work with it: the items are whole, with their scenes and pictures.
    items = every_kind()
    feedback = Feedback.from_log(tmp_path / "labels.jsonl")
    assert [
        {k: v for k, v in got.items() if k in item} for got, item in zip(feedback.items, items, strict=True)
    ] == items
    events = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert [event["op"] for event in events] == ["items", *["label"] * 6, *["undo"] * 2, *["label"] * 9]
    assert len({record["annotator"] for record in records}) == 1 and "writer" not in str(records)
    resumed = Feedback(items, tmp_path / "labels.jsonl", records[0]["annotator"], seed=7)
    assert resumed.records == records  # the file is the log of these items, and can be gone on with


def test_two_tabs_stay_in_step(reader, tmp_path):
    pages = a, _ = reader.open(), reader.open()
    hands = [Hand(page) for page in pages]
    for n, (_, via, answer) in enumerate(PLAN[:4]):
        hands[n % 2].meant = [*hands[1 - n % 2].meant]
        hands[n % 2].judge(via, answer)
        for page in pages:
            count(page, n + 1)
        assert hands[0].item() == hands[1].item() == PLAN[n + 1][0]

    # At the same moment in both, on the same items; a half of them taken back at the same moment, too.
    keys = [("4", "3"), ("5", "1"), ("s", "s"), ("s", "s"), ("u", "u"), ("s", "u"), ("s", "s")]
    together = """([key, at]) => {
      const code = /\\d/.test(key) ? `Digit${key}` : "";
      const event = new KeyboardEvent("keydown", { key, code, bubbles: true });
      setTimeout(() => document.querySelector(".mmb").dispatchEvent(event), at - Date.now());
    }"""
    for pair in keys:
        a.wait_for_timeout(GUARD)
        at = a.evaluate("Date.now() + 100")
        for page, key in zip(pages, pair, strict=True):
            page.evaluate(together, [key, at])
        a.wait_for_timeout(200)
    for page in pages:
        page.wait_for_timeout(GUARD)
    said = [page.locator(".mmb-head").inner_text().split("\n") for page in pages]
    assert said[0] == said[1] and hands[0].item() == hands[1].item()
    logs = [download(page, tmp_path / f"{n}.jsonl") for n, page in enumerate(pages)]
    assert logs[0] == logs[1] and logs[0][1] == []
    ids = [record["id"] for record in logs[0][0]]
    assert len(ids) == len(set(ids)), "an item judged in both tabs at once has one label"
    count(a, len(ids))
    assert [facts(record) for record in logs[0][0]][:4] == hands[1].meant
    a.reload()
    count(a, len(ids))


def test_what_two_tabs_wrote_at_once_is_one_label_in_the_download(reader, tmp_path):
    page = reader.open()
    hand = Hand(page)
    hand.work(PLAN[:2])
    hand.undo()
    twin = """() => { for (const key of Object.keys(localStorage).filter((key) => /:\\d{6}$/.test(key))) {
      const other = key.replace(/[^:]+(:\\d+:\\d{6})$/, "ffffffffffff$1");
      localStorage.setItem(other, localStorage.getItem(key));
    } }"""
    page.evaluate(twin)  # another tab that saw none of this wrote the same at the same moments
    page.reload()
    count(page, 1)
    hand.root.focus()
    records, problems = download(page, tmp_path / "labels.jsonl")
    assert problems == [] and [record["id"] for record in records] == ["pair-text"]


def test_other_items_do_not_see_these_labels(reader, folder):
    page = reader.open()
    hand = Hand(page)
    hand.work(PLAN[:2])
    changed = every_kind()
    changed[0] = {**changed[0], "id": "another", "responses": ["one", "two"]}
    write_page(folder, changed, "page.html-changed.html")
    other = reader.open("page.html-changed.html")
    count(other, 0)
    other.wait_for_timeout(GUARD)
    other.keyboard.press("1")
    count(other, 1)
    count(page, 2)
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator(".mmb-history summary").click()
    page.locator("button[data-act=forget]").click()
    count(page, 0)
    page.reload()
    count(page, 0)
    count(other, 1)


FULL = """const set = Storage.prototype.setItem; let left = 4;
Storage.prototype.setItem = function (key, value) {
  if (key.startsWith("mmbook:") && left-- <= 0) throw new DOMException("full", "QuotaExceededError");
  set.call(this, key, value);
};"""
BLOCKED = """Object.defineProperty(window, "localStorage",
  { get() { throw new DOMException("no", "SecurityError"); } });"""


@pytest.mark.parametrize("script, says", [(FULL, "storage is full"), (BLOCKED, "keeps nothing")])
def test_a_browser_that_keeps_nothing_says_so_and_loses_nothing_before_the_download(
    browser, bases, tmp_path, script, says
):
    reader = Reader(browser, bases["http"])
    reader.context.add_init_script(script)
    page = reader.open()
    hand = Hand(page)
    hand.work(PLAN[:7])
    expect(page.locator(".mmb-trouble")).to_contain_text(says)
    records, problems = download(page, tmp_path / "labels.jsonl")
    assert problems == []
    hand.check(records)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)
    page.wait_for_timeout(500)
    assert asked == ["beforeunload"]  # leaving has to be meant
    reader.close()


def said_in(items):
    return [said for item in items for said in item["responses"] if isinstance(said, str)]


@pytest.mark.parametrize("how", ["no JavaScript", "print"])
def test_the_items_read_without_javascript_and_in_print(reader, browser, how):
    if how == "print":
        page = reader.open()
        Hand(page).work(PLAN[:1])
        page.emulate_media(media="print")
        assert page.locator(".mmb").is_hidden()
        place = page
    else:
        context = browser.new_context(java_script_enabled=False, viewport=NARROW)
        place = context.new_page()
        place.goto(f"{reader.base}/page.html")
        assert place.locator(".mmb").count() == 0
    rows = place.locator(".mmb-list > ol > li")
    assert rows.count() == 13 and all(row.is_visible() for row in rows.all())
    text = place.locator(".mmb-list").inner_text()
    assert all(said in text for said in said_in(every_kind()))
    for image in place.locator(".mmb-list img").all():
        assert image.is_visible() and image.bounding_box()["width"] > 40
    if how != "print":
        assert place.locator(".mmb-list audio").count() == 3  # each sound once
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_kind_is_accessible_and_fits_a_phone(browser, bases, scheme):
    reader = Reader(browser, bases["file"], color_scheme=scheme)
    page = reader.open()
    hand, found = Hand(page), []
    for name, via, answer in [*PLAN, (None, "", None)]:
        if name is None:
            page.locator(".mmb-history summary").click()
            page.locator(".mmb-taste summary").click()
            expect(page.locator(".mmb-history li")).to_have_count(13)
        found += [f"{name}: {line}" for line in complaints(page, "html")]
        if scheme == "light":
            for size in (NARROW, WIDE):
                page.set_viewport_size(size)
                fits(hand, size is NARROW)
                assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        if name:
            hand.judge(via, answer)
    assert found == []
    reader.close()


def test_axe_sees_a_button_without_a_name(browser, bases):
    reader = Reader(browser, bases["file"])
    page = reader.open()
    page.locator("button[data-act=tie]").evaluate("button => { button.textContent = ''; }")
    assert [line.split(":")[0] for line in complaints(page)] == ["button-name"]
    reader.close()


def test_forced_colours_and_reduced_motion(browser, bases):
    reader = Reader(browser, bases["file"], forced_colors="active", reduced_motion="reduce")
    page = reader.open()
    hand = Hand(page)
    borders = "nodes => new Set(nodes.map(node => getComputedStyle(node).borderTopColor)).size"
    assert page.locator(".mmb button:enabled").evaluate_all(borders) == 1  # the system's, not ours
    for name, via, answer in PLAN:
        if name.startswith("ranking"):
            page.wait_for_timeout(GUARD)
            page.keyboard.press("2")
            widths = page.locator("button[data-act=rank]").evaluate_all(
                "cards => cards.map(card => getComputedStyle(card).borderTopWidth)"
            )
            assert widths[1] != widths[0]  # what is picked shows without its colour
            assert "place 1" in hand.button("rank", 2).inner_text()
            page.keyboard.press("u")
        hand.judge(via, answer)
        assert page.evaluate("document.getAnimations().length") == 0
    reader.close()


def test_the_clock_stands_still_while_the_page_is_hidden(browser, bases, tmp_path):
    reader = Reader(browser, bases["http"])
    page = reader.open()
    hide = """hidden => {
      const seen = { hidden: () => hidden, visibilityState: () => (hidden ? "hidden" : "visible") };
      for (const name in seen) Object.defineProperty(document, name, { get: seen[name], configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.wait_for_timeout(GUARD)
    page.evaluate(hide, True)
    page.wait_for_timeout(1500)
    page.evaluate(hide, False)
    page.wait_for_timeout(100)
    page.keyboard.press("1")
    page.wait_for_timeout(1500)
    page.keyboard.press("1")
    records, _ = download(page, tmp_path / "labels.jsonl")
    reader.close()
    assert 250 <= records[0]["ms"] < 1300 and 1400 <= records[1]["ms"] < 3000


def test_a_thousand_hostile_captions_are_shown_as_text(browser, bases, folder):
    said = hostile_texts(1000, large=1)
    shared = {
        "prompt": said[0],
        "image": None,
        "model": said[1],
        "temperature": None,
        "seed": None,
        "round": 0,
    }
    items = [
        {"id": f"<b>{n}", "kind": "ranking", **shared, "responses": said[50 * n : 50 * (n + 1)]}
        for n in range(20)
    ]
    write_page(folder, items, "page.html-hostile.html", title=said[2])
    reader = Reader(browser, bases["http"])
    reader.context.add_init_script("let now = 0; performance.now = () => (now += 1000);")
    page = reader.open("page.html-hostile.html")
    page.on("dialog", lambda dialog: (reader.told.append(dialog.type), dialog.dismiss()))
    captions = "[...document.querySelectorAll('.mmb-body .mmb-caption')]"
    shown = (
        f"JSON.stringify({captions}.map(node => node.textContent))"  # half a surrogate pair comes as \\ud800
    )
    for item in items:
        got = json.loads(page.evaluate(shown))
        assert sorted(got) == sorted(item["responses"])
        page.keyboard.press("1")
        page.keyboard.press("d")
    count(page, 20, 20)
    page.locator(".mmb-history summary").click()
    page.locator(".mmb-taste summary").click()
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None
    dangerous = "script, style, iframe, object, svg, link, meta, base, a, img:not(.mmb-picture)"
    dangerous = f":is(.mmb, .mmb-list) :is({dangerous})"
    assert page.locator(dangerous).count() == 0
    listed = page.locator(".mmb-list li p").all_inner_texts()
    assert len(listed) == 20 * 51
    reader.close()


def test_the_book_labels_without_a_kernel(browser, built_book, tmp_path):
    with_labeller = [
        path
        for path in sorted(built_book.glob("book/**/*.html"))
        if 'class="mmb-static"' in path.read_text("utf-8")
    ]
    assert built_book / "book" / "quickstart.html" in with_labeller
    context = browser.new_context(viewport=WIDE)
    asked = []
    context.on("request", lambda r: asked.append(r.url))
    for path in with_labeller:
        page = context.new_page()
        page.goto(path.as_uri())
        page.locator(".mmb").first.wait_for()
        hand = Hand(page, page.locator(".mmb").first, aspects=())
        assert hand.root.evaluate(
            "root => [...root.querySelectorAll('img')].every(i => !i.src || i.naturalWidth > 0)"
        )
        hand.root.focus()
        hand.judge(
            "key",
            {"pair": 0, "rating": [4], "ranking": [1, 0]}.get(hand.root.get_attribute("data-kind"), "skip"),
        )
        hand.judge("key", "skip")
        page.reload()
        hand.saved()
        with page.expect_download() as coming:
            hand.button("download").click()
        coming.value.save_as(tmp_path / "labels.jsonl")
        hand.check(read_log(tmp_path / "labels.jsonl")[0])
        assert complaints(page) == []
        page.close()
    context.close()
    assert [url for url in asked if not url.startswith(("file://", "data:", "blob:"))] == []


def test_every_labeller_of_the_chapter_takes_an_answer_that_a_log_can_hold(browser, built_book, tmp_path):
    page = browser.new_page(viewport=WIDE)
    page.goto((built_book / "book" / "rlhf" / "feedback.html").as_uri())
    page.locator(".mmb").first.wait_for()
    kinds = []
    for root in page.locator(".mmb").all():
        kinds.append(root.get_attribute("data-kind"))
        root.focus()
        page.wait_for_timeout(GUARD)
        rows = max(1, root.locator(".mmb-aspect").count())
        for slider in root.locator("input[type=range]").all():
            slider.fill("1.5")
        for key in {"pair": "1", "rating": "4" * rows, "ranking": "1d"}.get(kinds[-1], ""):
            page.keyboard.press(key)
        if kinds[-1] == "edit":
            page.keyboard.press("Control+Enter")
        expect(root.locator(".mmb-saved")).to_have_text("1 saved")
        with page.expect_download() as coming:
            root.locator("button[data-act=download]").click()
        coming.value.save_as(tmp_path / "labels.jsonl")
        records, problems = read_log(tmp_path / "labels.jsonl")
        assert problems == [] and [r["kind"] for r in records] == kinds[-1:]
    assert {*kinds} == {"pair", "rating", "edit", "ranking"} and len(kinds) >= 6
    page.close()


def test_what_is_typed_outlives_a_judgement_of_the_same_item_in_another_tab(browser, tmp_path):
    path = write_page(tmp_path, [item for item in every_kind() if item["id"] == "edit-text"])
    context = browser.new_context(viewport=WIDE)
    one, two = context.new_page(), context.new_page()
    for page in (one, two):
        page.goto(path.as_uri())
        page.locator(".mmb").wait_for()
    one.locator("textarea").fill("typed with care")
    two.locator(".mmb").focus()
    two.wait_for_timeout(GUARD)
    two.keyboard.press("s")
    count(one, 1, of=1)
    expect(one.locator("textarea")).to_have_value("typed with care")
    one.locator("textarea").focus()
    one.keyboard.press("Control+Enter")
    expect(one.locator(".mmb-prompt")).to_contain_text("All items are judged")
    records, problems = download(one, tmp_path / "labels.jsonl")
    assert problems == [] and [r.get("edit") for r in records] == ["typed with care"]
    context.close()
