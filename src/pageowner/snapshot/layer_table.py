# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every layer with what it claims, what it needs, and what became of it on one source."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import polars as pl

from pageowner.layers.base import Layer
from pageowner.snapshot.scan import LayerRun, Scan

SCHEMA: dict[str, Any] = {
    "word": pl.String,
    "claims": pl.String,
    "needs": pl.List(pl.String),
    "from": pl.String,
    "ok": pl.Boolean,
    "why": pl.String,
    "pages": pl.Int64,
    "stale": pl.Int64,
    "users": pl.Int64,
}


def layers_at_work(scan: Scan) -> pl.DataFrame:
    """Scan everything; one row per layer, strongest first.

    :returns: ``word``; ``claims``: :func:`what_it_claims`; ``needs``; ``from``: its module;
        ``ok``, and ``why`` not; ``pages`` that it owns; ``stale`` ones, that its walk listed though they are
        free or another type's; ``users``: pages that it claims and a stronger layer owns.
    """
    pages = np.zeros(256, np.int64)
    for section in scan.run():
        pages += np.bincount(section.layer, minlength=256)
    rows = [_row(run, int(pages[run.number])) for run in scan.runs]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _row(run: LayerRun, pages: int) -> tuple[object, ...]:
    cls, needs = type(run.layer), run.layer.needs
    wanted = [need.replace("|", " or ") for need in (*needs.members, *needs.globals)]
    why = run.failed or run.missing
    says, module = what_it_claims(cls), cls.__module__
    return (run.word, says, wanted, module, run.active, why, pages, run.stale, run.users)


def what_it_claims(cls: type[Layer]) -> str:
    """One line, without the full stop: what the module's docstring says after ``WORD:``, else the class's."""
    of_module = _first_line(getattr(sys.modules.get(cls.__module__), "__doc__", None))
    of_class = _first_line(cls.__dict__.get("__doc__"))
    prefix = f"{cls.word}: "
    text = of_module if of_module.startswith(prefix) else of_class
    return text.removeprefix(prefix)


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0].strip().removesuffix(".")
