# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page's data and code: packed and back, joined in order, and locked to what was written."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from pageowner.reporters.html.page import asset, bundle, policy, write_page
from pageowner.reporters.html.payload import pack, packed_size

EVIL = "</script><img src=x onerror=alert(1)>\u2028<!--"


def unpack(text: str) -> tuple[dict[str, object], dict[str, list[int]]]:
    """What the page's data.js does."""
    raw = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4 : 4 + length])
    columns = {}
    for name, (width, n, at) in header.pop("columns").items():
        plane = np.frombuffer(raw, np.uint8, width * n, 4 + length + at).reshape(width, n)
        weights = np.array([256**i for i in range(width)], np.uint64)
        columns[name] = (plane.T.astype(np.uint64) * weights).sum(axis=1).tolist()
    return header, columns


@pytest.mark.parametrize("numbers", [[], [0], [255], [256, 1], [1 << 16], [3, 1 << 32], [1 << 51, 0]])
def test_columns_come_back(numbers: list[int]) -> None:
    header, columns = unpack(pack({"name": EVIL}, {"a": np.array(numbers, np.int64), "b": [7]}))
    assert columns == {"a": numbers, "b": [7]} and header == {"name": EVIL}


def test_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="below 0"):
        pack({}, {"a": [-1]})


def test_size_is_about_what_it_takes() -> None:
    columns = {"a": np.arange(100_000) % 977}
    assert 0.5 < packed_size(columns) / len(pack({}, columns)) < 2


def test_modules_are_joined_in_order_and_complete() -> None:
    text = bundle()
    assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE)
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", text, re.MULTILINE)
    assert len(set(names)) == len(names) > 60  # one scope: no name twice
    wanted = set(re.findall(r"from '\./(\w+)\.js'", asset("main.js")))
    assert {"balance", "flame", "treemap", "map"} <= wanted
    assert text.index("class Store") < text.index("class SelectionBar")


def test_nothing_makes_markup_of_data() -> None:
    markup = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|\bFunction\("
    assert not re.search(markup, bundle())
    assert not re.search(r"fetch\(|XMLHttp|WebSocket|https?://|url\(", bundle() + asset("style.css"))


class Elements(HTMLParser):
    """The elements of a page, and what stands in its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.found[-1] if self.found else ("", {})
        if tag in ("script", "style"):
            name = tag if tag == "style" else str(attributes["type"])
            self.inside[name] = self.inside.get(name, "") + data


def written(data: str) -> tuple[str, Elements]:
    out, page = io.BytesIO(), Elements()
    write_page(data, out)
    text = out.getvalue().decode()
    page.feed(text)
    return text, page


def test_a_page_is_one_file_locked_to_its_own_code() -> None:
    text, page = written(pack({"evil": EVIL}, {}))
    assert [tag for tag, _ in page.found].count("script") == 2 and "img" not in dict(page.found)
    assert unpack(page.inside["application/octet-stream"])[0] == {"evil": EVIL}
    content = next(a["content"] for t, a in page.found if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in str(content).split("; "))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data: blob:"
    for name, rule in (("module", "script-src"), ("style", "style-src")):
        digest = base64.b64encode(hashlib.sha256(page.inside[name].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert "unsafe" not in str(content) and policy("a", "b") != policy("a", "c")
    outside = [a.get("src") or a.get("href") for _, a in page.found if a.get("src") or a.get("href")]
    assert not outside and len(text) < 300_000
