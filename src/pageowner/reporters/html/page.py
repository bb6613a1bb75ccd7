# SPDX-License-Identifier: LGPL-2.1-or-later
"""One HTML file out of the assets: no file, host or network is needed to look at it.

The modules are ES modules that import each other; at writing they are joined to one, in order of their
imports, since a browser imports nothing from ``file://``. The policy in the page lets nothing but these very
bytes run, and nothing be requested from anywhere: data cannot become code, and nothing leaves the page.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import BinaryIO

_IMPORT = re.compile(r"^import \{[^}]*\} from '\./([a-z_]+\.js)';\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_START = "main.js"


def write_page(data: str, out: BinaryIO) -> None:
    """Write the page that draws *data* (of :func:`pageowner.reporters.html.payload.pack`) to *out*."""
    script, style = bundle(), asset("style.css")
    values = {  # in the order of the page
        "policy": policy(script, style),
        "style": style,
        "data": data,
        "script": script,
    }
    text = asset("page.html")
    for name, value in values.items():
        before, mark, after = text.partition("{{" + name + "}}")
        assert mark, name
        out.write(before.encode() + value.encode())
        text = after
    out.write(text.encode())


@cache
def bundle() -> str:
    """All modules as one, each after those that it imports."""
    joined: list[str] = []
    seen: set[str] = set()

    def add(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        text = asset(name)
        for needed in _IMPORT.findall(text):
            add(needed)
        joined.append(_EXPORT.sub("", _IMPORT.sub("", text)).strip())

    add(_START)
    return "\n" + "\n\n".join(joined) + "\n"


def policy(script: str, style: str) -> str:
    """The page's Content-Security-Policy."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


@cache
def asset(name: str) -> str:
    """The text of one file of the page."""
    return (files("pageowner.reporters.html") / "assets" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
