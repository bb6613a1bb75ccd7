# SPDX-License-Identifier: LGPL-2.1-or-later
"""Screenshots: ``python -m tests.pictures.shots DIR [CORE]``, for `make pictures`.

Every view of the demo core, light and dark, and of CORE, if one is given, in DIR/big.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path

from pageowner.commands import main
from tests.pictures.browser import Page, browser
from tests.pictures.smallpng import smaller

WIDE, HIGH = 1180, 1500
VIEWS = ("balance", "flame", "treemap", "map")


def shoot(page: Page, path: Path, target: Path, prefix: str = "") -> None:
    """Every view of the page at *path*, light and dark."""
    for dark in (False, True):
        page.open(path, WIDE, HIGH, dark)
        for view in VIEWS:
            name = f"{prefix}{view}-{'dark' if dark else 'light'}.png"
            page.eval(f"document.querySelector('#{view}').scrollIntoView()")
            save(page, target / name, f"#{view}")


def save(page: Page, path: Path, selector: str = "") -> None:
    path.write_bytes(smaller(page, page.screenshot(selector)))
    print(f"{path} {path.stat().st_size} bytes")


def more(page: Page, path: Path, target: Path) -> None:
    """What the views do: a selection that all show, the mobility of blocks, a search."""
    page.open(path, WIDE, 1240, dark=False)
    page.eval("document.querySelector('#kinds tr[data-word=SLAB_PAGE]').click()")
    page.eval("document.querySelector('#flame').scrollIntoView()")
    save(page, target / "selection-light.png")
    page.open(path, WIDE, HIGH, dark=True)
    page.eval(
        "(() => { const s = document.querySelector('#map select'); s.value = 'mobility';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    page.eval("document.querySelector('#map').scrollIntoView()")
    save(page, target / "mobility-dark.png", "#map")


def terminal(page: Page, target: Path) -> None:
    """``pageowner map`` as a terminal shows it."""
    from rich.console import Console
    from rich.text import Text

    os.environ |= {"COLUMNS": "110", "COLORTERM": "truecolor"}
    written = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(written):
        main(["map", "--demo", "--color", "always"])
    written.seek(0)
    lines = re.split(r"(?=a cell is)", written.read())[0]
    console = Console(record=True, width=110, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(lines), no_wrap=True)
    form = (
        '<!DOCTYPE html><html data-ready="1"><meta charset="utf-8"><body style="margin:0">'
        '<pre id="t" style="font:13px/15px DejaVu Sans Mono;margin:0;padding:10px 14px;background:#14171b;'
        'color:#dfe3e8;display:inline-block"><code style="font-family:inherit">{code}</code></pre>'
    )
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "terminal.html"
        path.write_text(console.export_html(inline_styles=True, code_format=form))
        page.open(path, WIDE, 600)
        save(page, target / "terminal.png", "#t")


def run(target: Path, core: Path | None) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, browser() as page:
        path = Path(home) / "demo.html"
        main(["html", "--demo", "-o", str(path)])
        shoot(page, path, target)
        more(page, path, target)
        terminal(page, target)
        if core is not None:
            (target / "big").mkdir(exist_ok=True)
            path = Path(home) / "big.html"
            main(["html", "-c", str(core), "-o", str(path)])
            shoot(page, path, target / "big")


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
