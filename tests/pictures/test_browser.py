# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page in a real browser: it draws, it says what ``summary --json`` says, and nothing leaves it."""

from __future__ import annotations

import io
import json
import random
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pageowner.commands import main
from pageowner.reporters.html.document import Request, document
from pageowner.reporters.html.page import write_page
from pageowner.snapshot.keys import owner_key
from pageowner.snapshot.store import load_snapshot, save_snapshot
from pageowner.snapshot.tables import Snapshot
from tests.conftest import Capture
from tests.pictures.browser import Page, browser, executable
from tests.snapshots.make import snapshot, table

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not executable(), reason="no Chromium here")]
Text = pytest.CaptureFixture[str]
EVIL = "</script><img src=x onerror=alert(1)>"
# How many colours each canvas has, the share of the commonest, and a number that differs with every pixel.
COLORS = """(() => {
  const out = {};
  for (const canvas of document.querySelectorAll('section canvas')) {
    const {width, height} = canvas, colors = new Map(), copy = new OffscreenCanvas(width, height);
    const context = copy.getContext('2d', {willReadFrequently: true});
    context.drawImage(canvas, 0, 0);
    const data = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
    let sum = 0;
    for (const color of data) {
      colors.set(color, (colors.get(color) ?? 0) + 1);
      sum = (Math.imul(sum, 31) + color) | 0;
    }
    out[canvas.closest('section').id] = [colors.size, Math.max(...colors.values()) / data.length, sum];
  }
  return out;
})()"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def shown(capture: Capture, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a fixture's core, opened anew."""
    path = tmp_path_factory.mktemp("html") / "memory.html"
    assert main(["html", "-c", str(capture.core), "-o", str(path)]) == 0
    page.open(path)
    return page


def quiet(page: Page) -> bool:
    """Whether nothing was complained of and nothing asked for but the page itself."""
    outside = [url for url in page.requests if not url.startswith(("file://", "data:", "blob:"))]
    files = [url for url in page.requests if url.startswith("file://")]
    return not page.messages and not outside and len(files) == 1


def center(page: Page, selector: str, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
    """A point of an element, in the window."""
    page.eval(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
    left, top, wide, high = page.eval(
        f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
        "return [b.x, b.y, b.width, b.height]; })()"
    )
    return left + wide * x, top + high * y


def data(page: Page, selector: str) -> dict[str, str]:
    return dict(page.eval(f"({{...document.querySelector({json.dumps(selector)}).dataset}})"))


def search(page: Page, text: str) -> dict[str, str]:
    page.eval(
        "(() => { const i = document.querySelector('#flame input[type=search]');"
        f"i.value = {json.dumps(text)}; i.dispatchEvent(new Event('input')); }})()"
    )
    return data(page, "#flame-found")


def test_every_view_draws_and_nothing_leaves(shown: Page) -> None:
    colors = shown.eval(COLORS)
    assert set(colors) == {"balance", "flame", "treemap", "map"}
    assert all(number > 8 and most < 0.9 for number, most, _ in colors.values()), colors
    assert quiet(shown), (shown.messages, shown.requests)
    assert float(shown.eval("document.documentElement.dataset.ready")) < 2000 or pytest.skip("a busy machine")


def test_figures_are_those_of_summary(capture: Capture, shown: Page, capfd: Text) -> None:
    assert main(["summary", "--json", "-c", str(capture.core)]) == 0
    told = json.loads(capfd.readouterr().out)
    kinds = [(name, number(pages)) for name, pages, *_ in cells(shown, "#kinds")]
    assert kinds == [(kind["word"], kind["pages"]) for kind in told["kinds"]]
    table = cells(shown, "#counters")
    counters = [(name, *map(number, numbers), formula) for name, *numbers, formula in table]
    names = ("name", "kernel", "ours", "unexplained", "formula")
    assert counters == [tuple(counter[name] for name in names) for counter in told["counters"]]
    assert {k: int(v) for k, v in data(shown, "#coverage").items()} == told["coverage"]
    assert shown.eval("document.querySelector('#balance .head').innerText").replace(",", "").find(
        f"{told['totals']['struct_pages']} struct pages = {told['totals']['holes']} holes") >= 0  # fmt: skip


def cells(page: Page, table: str) -> list[list[str]]:
    """The texts on screen of a table's rows."""
    rows = f"[...document.querySelectorAll('{table} tbody tr')]"
    return list(page.eval(f"{rows}.map(row => [...row.cells].map(cell => cell.innerText))"))


def number(text: str) -> int:
    return int(text.replace(",", ""))


def pick(word: str) -> str:
    """Clicks on the row of a kind."""
    return f"document.querySelector('#kinds tr[data-word={word}]').click()"


def test_search_says_what_share_matches(capture: Capture, shown: Page, capfd: Text) -> None:
    name = "shmem_get_folio_gfp"
    assert main(["summary", "--json", "--function", name, "-c", str(capture.core)]) == 0
    pages = sum(kind["pages"] for kind in json.loads(capfd.readouterr().out)["kinds"])
    found = search(shown, "^shmem_get_folio_gfp$")
    assert int(found["pages"]) == pages > 0 and 0 < float(found["share"]) < 1 and int(found["nodes"]) >= 1
    assert int(search(shown, "no such function")["pages"]) == 0
    assert int(search(shown, "([")["nodes"]) == 0  # no regular expression: these very letters
    search(shown, "")
    assert shown.eval("document.querySelector('#flame-found').textContent") == ""


def test_flames_zoom_select_and_come_back(shown: Page) -> None:
    before = data(shown, "#flame canvas")
    high = shown.eval("document.querySelector('#flame canvas').clientHeight")
    shown.click(*center(shown, "#flame canvas", 0.5, (high - 25) / high))
    zoomed = data(shown, "#flame canvas")
    assert zoomed["zoom"] != before["zoom"] == "all but free memory"
    command = shown.eval("document.querySelector('#selection code').textContent")
    assert f"--function {zoomed['zoom']}" in command or "--kind" in command
    shown.eval("[...document.querySelectorAll('#flame button')][0].click()")
    assert data(shown, "#flame canvas") == before
    shown.eval("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    shown.eval("document.querySelector('#flame input[type=checkbox]').click()")
    assert int(data(shown, "#flame canvas")["boxes"]) > 20
    shown.eval("document.querySelector('#flame input[type=checkbox]').click()")
    assert shown.eval("document.querySelector('#selection').hidden") and quiet(shown)


def test_a_selection_is_seen_everywhere_and_its_command_gives_its_rows(
    shown: Page, capfd: Text
) -> None:
    plain = shown.eval(COLORS)
    shown.eval(pick("SLAB_PAGE"))
    picked = shown.eval(COLORS)
    assert all(plain[view] != picked[view] for view in ("balance", "flame", "treemap", "map"))
    pages = int(data(shown, "#selection [data-pages]")["pages"])
    assert rows_of(shown, capfd) == pages == int(data(shown, "#kinds tr.selected")["pages"])
    shown.eval("document.querySelector('#selection .what button').click()")
    assert shown.eval(COLORS) == plain


def test_treemap_opens_down_to_stacks(shown: Page, capfd: Text) -> None:
    point = center(shown, "#treemap canvas", 0.12, 0.06)
    shown.click(point[0], point[1] - 0.05)
    name = "document.querySelector('#treemap canvas').dataset.at"
    shown.click(*center(shown, "#treemap canvas", 0.02, 0.012))  # the title of the first kind
    assert shown.eval(name).endswith("_PAGE")
    shown.eval("document.querySelector('#treemap .crumbs button').click()")
    assert shown.eval(name) == "all memory"
    shown.eval("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    # Down to a stack, whose command is SQL.
    shown.click(*center(shown, "#treemap canvas", 0.3, 0.8), times=2)
    assert shown.eval(name) != "all memory"
    shown.eval("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    shown.click(*center(shown, "#treemap canvas", 0.1, 0.5))
    assert rows_of(shown, capfd) == int(data(shown, "#selection [data-pages]")["pages"])
    shown.eval("document.querySelector('#treemap .crumbs button').click()")
    shown.eval("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")


def rows_of(page: Page, capfd: Text) -> int:
    """The pages that the last command of the selection gives."""
    command = page.eval("[...document.querySelectorAll('#selection code')].pop().textContent")
    program, *words = shlex.split(command)
    assert program == "pageowner"
    capfd.readouterr()
    assert main([*words, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    rows: list[dict[str, Any]] = told["kinds"] if "kinds" in told else told["rows"]
    return sum(int(row["pages"]) for row in rows)


def test_map_zooms_to_pages_that_explain_knows(shown: Page, capfd: Text) -> None:
    shown.eval("document.querySelector('#blockers tbody tr').click()")
    assert int(data(shown, "#map canvas")["side"]) >= 4
    shown.eval(
        "(() => { const i = document.querySelector('#map input[type=search]');"
        "i.value = '0x2092'; i.dispatchEvent(new Event('change')); })()"
    )
    here = shown.eval("document.querySelector('#ground-scroll').scrollTop")
    shown.click(*center(shown, "#map canvas", 0.05, 0.5))
    commands = shown.eval("[...document.querySelectorAll('#selection code')].map(c => c.textContent)")
    assert commands[0].startswith("pageowner explain 0x") and here >= 0
    label = shown.eval("document.querySelector('#selection b').textContent")
    assert main([*shlex.split(commands[0])[1:], "--json"]) == 0
    assert label.split()[0] in capfd.readouterr().out
    shown.eval("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    shown.move(*center(shown, "#map canvas", 0.05, 0.5))
    assert "PFN 0x" in shown.eval("document.querySelector('#tip').innerText")
    ways = shown.eval("[...document.querySelectorAll('#map select option')].map(o => o.value)")
    assert {"mobility", "process", "kind"} <= set(ways)
    for way in ways[1:]:
        before = shown.eval(COLORS)["map"]
        shown.eval(
            "(() => { const s = document.querySelector('#map select');"
            f"s.value = '{way}'; s.dispatchEvent(new Event('change')); }})()"
        )
        assert shown.eval(COLORS)["map"] != before
    shown.eval("[...document.querySelectorAll('#map button')].find(b => b.textContent === 'all').click()")
    assert quiet(shown)


def test_dark_and_light_differ(capture: Capture, shown: Page) -> None:
    light = shown.eval("getComputedStyle(document.body).backgroundColor")
    shown.eval("document.querySelector('#theme').click()")
    assert shown.eval("getComputedStyle(document.body).backgroundColor") != light
    shown.eval("document.querySelector('#theme').click()")
    assert shown.eval("getComputedStyle(document.body).backgroundColor") == light


def odd_names(count: int) -> list[str]:
    """Names that users could choose, none of them kind."""
    rng = random.Random(7)
    letters = "<>&\"'`\\/{}()[]$%*?-;:\u202e\u2028\ufeff\x01\x1b\x7f\n\té字🙂 ab"
    odd = ["".join(rng.choices(letters, k=rng.randint(1, 30))) + f"{i}" for i in range(count)]
    return [EVIL, "{{script}}", "-rf *", *odd]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, list[str]]:
    names = odd_names(10_000)
    rows = [
        ("SLAB_PAGE" if i % 2 else "ANON_PAGE", name, f"fn_{i % 90} < {EVIL} < top", 2 + i % 5)
        for i, name in enumerate(names)
    ]
    pfn, pages = 0, []
    for word, name, _, n in rows:
        pages.append((pfn, n, word, name, owner_key(word, name) & 0xFFFF))
        pfn += n
    return snapshot(rows, pages=table("pages", pages), about={"release": EVIL, "host": "<b>host</b>"}), names


def test_odd_names_are_text(page: Page, tmp_path: Path, odd: tuple[Snapshot, list[str]]) -> None:
    made, names = odd
    path = tmp_path / "odd.html"
    with path.open("wb") as out:
        write_page(document(made, Request(source=shlex.quote(EVIL), since=made, since_name=EVIL)), out)
    page.open(path)
    assert quiet(page) and page.eval("document.querySelectorAll('img').length") == 0
    assert EVIL in page.eval("document.querySelector('#machine').textContent")
    shown = page.eval("document.querySelector('#unseen, #kinds').closest('.columns').textContent")
    assert "SLAB_PAGE" in shown
    assert search(page, "img src=x")["pages"] == str(made.usage["pages"].sum())
    labels = []
    for x in (0.3, 0.45, 0.8, 0.95):
        page.click(*center(page, "#treemap canvas", x, 0.5))
        labels.append(page.eval("document.querySelector('#selection b').textContent"))
        page.move(*center(page, "#treemap canvas", x, 0.55))
        assert page.eval("document.querySelector('#tip').textContent.length") > 5
    assert len([label for label in labels if label.partition(" ")[2] in names]) >= 2, labels
    assert quiet(page) and page.eval("document.querySelectorAll('img, b:not(#selection b)').length") == 0


def test_commands_of_odd_names_give_their_rows(
    page: Page, tmp_path: Path, odd: tuple[Snapshot, list[str]], capfd: Text
) -> None:
    made, _ = odd
    target = tmp_path / "it's a snapshot"
    save_snapshot(made, target)
    path = tmp_path / "odd.html"
    assert main(["html", str(target), "-o", str(path)]) == 0
    page.open(path)
    for x in (0.03, 0.3, 0.6, 0.9):
        page.click(*center(page, "#treemap canvas", x, 0.4))
        command = page.eval("[...document.querySelectorAll('#selection code')].pop().textContent")
        pages = int(data(page, "#selection [data-pages]")["pages"])
        assert rows_of(page, capfd) >= pages > 0, command
        page.eval("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    assert load_snapshot(target).owners.height == made.owners.height and quiet(page)


@pytest.mark.parametrize(
    ("command", "views"),
    [("flamegraph", ["flame"]), ("treemap", ["treemap"]), ("map", ["map"])],
)
def test_single_views(page: Page, tmp_path: Path, command: str, views: list[str]) -> None:
    path = tmp_path / "one.html"
    assert main([command, "--demo", "-o", str(path)]) == 0
    page.open(path, dark=True)
    assert page.eval("[...document.querySelectorAll('section')].map(s => s.id)") == views
    number, most, _ = page.eval(COLORS)[views[0]]
    assert number > 8 and most < 0.9 and quiet(page)


def test_commands_of_a_part_keep_to_it(page: Page, tmp_path: Path, capfd: Text) -> None:
    path = tmp_path / "part.html"
    assert main(["html", "--demo", "--kind", "slab", "--kind", "anon", "--node", "1", "-o", str(path)]) == 0
    page.open(path)
    page.eval(pick("SLAB_PAGE"))
    pages = int(data(page, "#selection [data-pages]")["pages"])
    assert rows_of(page, capfd) == pages == int(data(page, "#kinds tr.selected")["pages"]) and quiet(page)


def test_growth_is_red_and_shrinkage_blue(page: Page, tmp_path: Path) -> None:
    old = snapshot([("SLAB_PAGE", "a", "grows < top", 10), ("SLAB_PAGE", "b", "shrinks < top", 90)])
    new = snapshot([("SLAB_PAGE", "a", "grows < top", 80), ("SLAB_PAGE", "b", "shrinks < top", 20)])
    path = tmp_path / "growth.html"
    with path.open("wb") as out:
        write_page(document(new, Request(("flame",), "new", old, "old")), out)
    page.open(path)
    left, right = (at_flame(page, x) for x in (0.2, 0.9))  # the wider is to the left
    assert left[2] > left[0] and right[0] > right[2] and quiet(page)


def at_flame(page: Page, x: float) -> list[int]:
    return list(page.eval(
        "(() => { const c = document.querySelector('#flame canvas'),"
        "o = new OffscreenCanvas(c.width, c.height), k = o.getContext('2d', {willReadFrequently: true});"
        "k.drawImage(c, 0, 0);"
        f"return [...k.getImageData(c.width * {x}, 14, 1, 1).data]; }})()"
    ))  # fmt: skip


@pytest.fixture
def big(request: pytest.FixtureRequest) -> Path:
    path: Path | None = request.config.getoption("--big")
    return path or pytest.skip("no --big core given")


def test_the_first_picture_of_a_big_core_is_quick(page: Page, tmp_path: Path, big: Path) -> None:
    path = tmp_path / "big.html"
    assert main(["html", "-c", str(big), "-o", str(path)]) == 0
    page.open(path)
    ready = float(page.eval("document.documentElement.dataset.ready"))
    print(f"{path.stat().st_size} bytes, first picture after {ready:.0f} ms")
    assert ready < 2000 and path.stat().st_size < 5_000_000 and quiet(page)


def test_a_page_is_the_same_every_time() -> None:
    made = snapshot([("SLAB_PAGE", "a", "f < g", 3), ("ANON_PAGE", "pid 1 (x)", "", 2)])
    first, second = io.BytesIO(), io.BytesIO()
    for out in (first, second):
        write_page(document(made, Request()), out)
    assert first.getvalue() == second.getvalue()
