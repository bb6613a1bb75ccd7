# SPDX-License-Identifier: LGPL-2.1-or-later
"""The scan: sections stream through, layers claim, every page gets one owner.

Memory is bounded by a section (and by what walks and page tables yield), not by the size of RAM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.memmap import PageLayout, Pages, page_layout, read_pages
from pageowner.kernel.page_owner import NoRecords, PageOwner, Records, read_page_owner
from pageowner.kernel.page_type import any_of
from pageowner.kernel.sections import Section, Sections, read_sections
from pageowner.kernel.target import Kernel
from pageowner.layers.base import Band, Claims, Layer
from pageowner.layers.registry import layer_classes
from pageowner.snapshot.claims import UNCLAIMED, Canvas, Table, Walked, concatenate, is_exclusive
from pageowner.snapshot.left_out import lost_runs, structures_left_out
from pageowner.snapshot.model import Coverage
from pageowner.snapshot.owners import Owners
from pageowner.snapshot.stability import OWN, Stability
from pageowner.snapshot.stability import REASON as CHANGED


class Unknown(Layer):
    """Not a layer of the kernel: pages whose layer failed or was contradicted, with the reason as owner."""

    word = "UNKNOWN_PAGE"
    band = Band.FALLBACK
    line = "UNKNOWN_PAGE ({owner})"

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.reasons: list[str] = []

    def key(self, reason: str) -> int:
        """The key that stands for *reason*."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason)

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return pl.DataFrame({"owner": [self.reasons[k] for k in keys.tolist()]})


@dataclass
class LayerRun:
    """A layer at work in one scan, and what became of it."""

    layer: Layer
    number: int
    owners: Owners
    missing: str | None = None
    """What the target lacks for this layer: it does not take part."""
    failed: str | None = None
    """Why it stopped: its pages are UNKNOWN_PAGE."""
    walked: Walked | None = None
    held: Walked | None = None
    """What its owners merely hold, whatever its band: claimed with the band HELD."""
    stale: int = 0
    """Pages that a walk listed but the page itself says are free or another type's."""
    users: int = 0
    """Pages that it claimed and a stronger layer owns: it uses them, too."""

    @property
    def word(self) -> str:
        return self.layer.word

    @property
    def active(self) -> bool:
        return self.missing is None and self.failed is None


@dataclass
class SectionScan:
    """One section, every page owned: ``layer`` uint8[n], ``claim`` int32[n] row in ``claims[layer]``.

    ``owner[number]`` int32 gives each claim's row in that layer's owners. Pages without a struct page
    have layer 255.
    """

    pages: Pages
    records: Records | None
    """The allocation records; None for a section, or a kernel, without any."""
    layer: npt.NDArray[np.uint8]
    claim: npt.NDArray[np.int32]
    claims: dict[int, Table]
    owner: dict[int, npt.NDArray[np.int32]]
    whole: SectionScan | None = None
    """With all pages owned, where a filter has left only some in this one."""

    def owner_rows(self) -> npt.NDArray[np.int32]:
        """Each page's row in the owners of its layer; -1 without a struct page."""
        # The rows of all layers behind one another: the one of a page is so far behind its layer's first.
        first, rows = np.zeros(256, np.int32), [np.full(1, -1, np.int32)]
        for number, owners in self.owner.items():
            first[number] = sum(map(len, rows))
            rows.append(owners)
        at = first[self.layer] + self.claim
        at[self.layer == UNCLAIMED] = 0
        return np.asarray(np.concatenate(rows)[at])


@dataclass
class Scan:
    """A kernel under scan. Make one with :func:`open_scan`; then iterate :meth:`run`."""

    kernel: Kernel
    sections: Sections
    layout: PageLayout
    runs: list[LayerRun]
    unknown: LayerRun
    page_owner: PageOwner | NoRecords
    coverage: Coverage = field(default_factory=Coverage)
    stopped: str | None = None
    """The user ended it before all pages were read: how many were."""
    _walked: bool = False
    _stability: Stability | None = None

    def by_number(self, number: int) -> LayerRun:
        return self.runs[number] if number < len(self.runs) else self.unknown

    @property
    def all_runs(self) -> list[LayerRun]:
        return [*self.runs, self.unknown]

    @property
    def partial(self) -> bool:
        """Whether the result lacks something that a whole source would have given (exit status 4)."""
        lacks = self.coverage.unreadable or self.coverage.structures
        ended = self.kernel.partial or self.stopped is not None
        return ended or bool(lacks) or any(run.failed for run in self.runs)

    def run(self, first: int = 0, last: int = 1 << 52) -> Iterator[SectionScan]:
        """All sections that hold PFNs *first* … *last*, in order."""
        sections = self.sections.between(first, last)
        if self.kernel.live:
            self._stability = Stability(self.kernel, self.layout, sections)
        self.walk()
        done, total = 0, sum(section.n for section in sections)
        for section in sections:
            if self.kernel.watch.stops():
                self.stopped = f"interrupted: {done} of {total} pages were read"
                return
            yield self.section(section)
            done += section.n
            self.kernel.watch.at("pages", done, total)

    def walk(self) -> None:
        """Let the layers enumerate their owners (once)."""
        if self._walked:
            return
        self._walked = True
        for run in self.runs:
            if run.active:
                self._walk_one(run)

    def _walk_one(self, run: LayerRun) -> None:
        pieces: list[Claims] = []
        try:
            pieces.extend(run.layer.walk())  # what came before a failure stays
        except Exception as error:  # a layer may be anybody's code: it must not cost the report
            run.failed = _why(error)
        owned, held = [p for p in pieces if not p.held], [p for p in pieces if p.held]
        run.walked = Walked(owned) if owned else None
        run.held = Walked(held) if held else None

    def section(self, section: Section) -> SectionScan:
        """Read and own one section."""
        pages, records = self.read(section)
        self.coverage.scanned += int(pages.valid.sum())
        self.coverage.unreadable += pages.unreadable
        self.coverage.torn += pages.torn
        self.coverage.structures += structures_left_out(self.kernel, pages)
        painted = self.paint(pages, records)
        if self._stability is not None:
            self._disown_changed(painted, self._stability.changed(section, pages.rows))
        return painted

    def _disown_changed(self, painted: SectionScan, changed: npt.NDArray[np.bool_]) -> None:
        """Live: a page that was not the same before, while and after it was told whose it is, is nobody's."""
        changed &= painted.layer != UNCLAIMED
        if not changed.any():
            return
        own = np.zeros(len(changed), np.bool_)
        if self.kernel.own_pages is not None:
            own = changed & np.isin(painted.pages.pfn, self.kernel.own_pages())
        self._repaint(painted, changed & ~own, CHANGED)
        self._repaint(painted, own, OWN)
        self.coverage.changed += int(changed.sum() - own.sum())

    def _repaint(self, painted: SectionScan, pages: npt.NDArray[np.bool_], why: str) -> None:
        """Make *pages* unknown for the reason *why*."""
        unknown, section = self.unknown, painted.pages.section
        assert isinstance(unknown.layer, Unknown)
        if not pages.any():
            return
        before = painted.claims.get(unknown.number, Table.empty())
        whole = Table(
            np.array([section.start], np.int64),
            np.array([section.n], np.int64),
            np.array([unknown.layer.key(why)], np.uint64),
        )
        painted.claims[unknown.number] = concatenate([before, whole])
        painted.layer[pages] = unknown.number
        painted.claim[pages] = len(before.pfn)
        painted.owner[unknown.number] = unknown.owners.rows(painted.claims[unknown.number].key)

    def read(self, section: Section) -> tuple[Pages, Records | None]:
        """The struct pages of one section, and its allocation records if there are any."""
        pages = read_pages(self.kernel, self.layout, section)
        records = self.page_owner.records(section) if isinstance(self.page_owner, PageOwner) else None
        if records is not None:
            _set_handles(pages, records)
        return pages, records

    def paint(self, pages: Pages, records: Records | None, only: LayerRun | None = None) -> SectionScan:
        """Give each of *pages* to the layer that owns it; or show what *only* one layer claims of them."""
        return _Painter(self, pages, records).paint(only)


def _set_handles(pages: Pages, records: Records) -> None:
    """Tell the heads which stack allocated them: the last evidence of who a page's user is."""
    at = pages.heads.pfn - pages.section.start
    local = np.flatnonzero(at >= 0)
    row = at[local]
    pages.heads.recorded[local] = records.allocated[row]
    pages.heads.handle[local] = records.handle[row]


class _Painter:
    """Paints one section: strongest claims first, then names, then what is wrong with the names."""

    def __init__(self, scan: Scan, pages: Pages, records: Records | None) -> None:
        self.scan, self.pages, self.records = scan, pages, records
        self.canvas = Canvas.of(pages)
        self.claims: dict[int, list[Table]] = {}
        self.type = np.append(pages.heads.type, np.uint8(0))[pages.head]

    def paint(self, only: LayerRun | None = None) -> SectionScan:
        if only is None:
            self._of_all()
        else:
            self._of_run(only)
            self._walked(only, only.held)
        if only is None and self.pages.lost.any():
            self._lost()
        claims = {number: concatenate(tables) for number, tables in self.claims.items()}
        owner = self._owners(claims)
        return SectionScan(self.pages, self.records, self.canvas.layer, self.canvas.claim, claims, owner)

    def _of_all(self) -> None:
        strong = [run for run in self.scan.runs if run.layer.band < Band.HELD]
        for run in strong:
            self._of_run(run)
        for run in self.scan.runs:
            self._walked(run, run.held)
        for run in self.scan.runs[len(strong) :]:
            self._of_run(run)
        self._leftovers()

    def _of_run(self, run: LayerRun) -> None:
        if run.layer.types:
            self._typed_walk(run)
        self._walked(run, run.walked)
        self._selected(run)

    def _put(
        self, run: LayerRun, table: Table, closed: npt.NDArray[np.bool_] | None = None
    ) -> int:
        """Paint the claims; pages that they did not get come back, as from :meth:`Canvas.paint`."""
        tables = self.claims.setdefault(run.number, [])
        first = sum(len(t.pfn) for t in tables)
        tables.append(table)
        return self.canvas.paint(run.number, table, first, closed)

    def _others(self, run: LayerRun) -> npt.NDArray[np.bool_]:
        """Pages whose type is another layer's alone, whatever its band: no walk of *run* can have them."""
        codes = {code for r in self.scan.runs if r is not run for code in r.layer.types}
        return any_of(self.type, codes - set(run.layer.types))

    def _reach(self, walked: Walked | None) -> Table | None:
        if walked is None:
            return None
        section = self.pages.section
        table = walked.between(section.start, section.start + section.n - 1)
        return table if len(table.pfn) else None

    def _typed_walk(self, run: LayerRun) -> None:
        """A walked claim on a page of the layer's own type says more than the type: it goes first."""
        table = self._reach(run.walked)
        if table is None:
            return
        at = table.pfn - self.pages.section.start
        local = (at >= 0) & (at < self.pages.section.n)
        head = np.where(local, self.pages.head[np.where(local, at, 0)], -1)
        own = (head >= 0) & any_of(self.pages.heads.type[head], run.layer.types)
        if own.any():
            columns = {k: v[own] for k, v in table.columns.items()}
            self._put(run, Table(table.pfn[own], table.n[own], table.key[own], columns))

    def _walked(self, run: LayerRun, walked: Walked | None) -> None:
        table = self._reach(walked)
        if table is None:
            return
        if self._put(run, table, self._others(run)):
            self._count_lost(run, table)

    def _count_lost(self, run: LayerRun, table: Table) -> None:
        """Pages that the walk listed but did not get: stale if free or typed, else merely shared."""
        probe = Canvas.of(self.pages)
        probe.paint(0, table)
        listed = probe.layer == 0
        strong = np.zeros(256, np.bool_)
        strong[[r.number for r in self.scan.runs if r is not run and is_exclusive(r.layer)]] = True
        stale = int((listed & strong[self.canvas.layer]).sum())
        other = int((listed & ~strong[self.canvas.layer] & (self.canvas.layer != run.number)).sum())
        run.stale += stale
        run.users += other
        self.scan.coverage.stale += stale

    def _selected(self, run: LayerRun) -> None:
        heads = self.pages.heads
        if run.missing is not None and not run.layer.types:
            return  # the target has no such thing
        rows = np.empty(0, np.intp)
        try:
            free = self.canvas.free_heads()
            # Most layers have nothing in most sections, and behind the stronger ones little is left.
            mine = run.layer.domain(heads) if free.any() else free
            rows = np.flatnonzero(mine & free) if mine.any() else rows
            if not len(rows):
                return
            if not run.active:
                return self._fail_rows(rows, f"{run.word}: {run.failed or run.missing}")
            chosen = run.layer.select(heads, rows)
        except Exception as error:  # a layer may be anybody's code: it must not cost the report
            run.failed = run.failed or _why(error)
            return self._fail_rows(rows, f"{run.word}: {run.failed}")
        if chosen is not None and len(chosen.rows):
            table = Table(
                heads.pfn[chosen.rows], heads.n[chosen.rows], chosen.key.astype(np.uint64), chosen.columns
            )
            self._put(run, table)

    def _fail_rows(self, rows: npt.NDArray[np.intp], reason: str) -> None:
        heads = self.pages.heads
        unknown = self.scan.unknown
        assert isinstance(unknown.layer, Unknown)
        key = np.full(len(rows), unknown.layer.key(reason), np.uint64)
        self._put(unknown, Table(heads.pfn[rows], heads.n[rows], key))

    def _leftovers(self) -> None:
        """No page is left without a word: what not even a fallback took is said to be so."""
        heads = np.flatnonzero(self.canvas.free_heads())
        if len(heads):
            self._fail_rows(heads, "no layer took it")

    def _lost(self) -> None:
        """Pages whose struct page cannot be read: nothing else is known of them."""
        runs, unknown = lost_runs(self.scan.kernel, self.scan.layout, self.pages), self.scan.unknown
        assert isinstance(unknown.layer, Unknown)
        keys = np.array([unknown.layer.key(why) for why in runs.why], np.uint64)
        tables = self.claims.setdefault(unknown.number, [])
        first = sum(len(t.pfn) for t in tables)
        tables.append(Table(runs.pfn, runs.n, keys))
        self.canvas.layer[self.pages.lost] = unknown.number
        self.canvas.claim[self.pages.lost] = np.repeat(np.arange(len(keys), dtype=np.int32) + first, runs.n)
        self.scan.coverage.excluded += runs.excluded

    def _owners(self, claims: dict[int, Table]) -> dict[int, npt.NDArray[np.int32]]:
        owner = {}
        for number in [n for n in claims if n != self.scan.unknown.number]:
            run = self.scan.by_number(number)
            try:
                owner[number] = run.owners.rows(claims[number].key)
            except Exception as error:  # a layer may be anybody's code: it must not cost the report
                run.failed = run.failed or _why(error)
                self._disown(
                    claims, number, np.ones(len(claims[number].pfn), np.bool_), [f"{run.word}: {run.failed}"]
                )
                owner[number] = np.full(len(claims[number].pfn), -1, np.int32)
                continue
            self._problems(claims, number, run, owner[number])
        if self.scan.unknown.number in claims:
            owner[self.scan.unknown.number] = self.scan.unknown.owners.rows(
                claims[self.scan.unknown.number].key
            )
        return owner

    def _problems(
        self, claims: dict[int, Table], number: int, run: LayerRun, rows: npt.NDArray[np.int32]
    ) -> None:
        """Keys that the layer itself does not believe cost their own pages only."""
        problems = run.owners.problems
        if not problems:
            return
        bad = np.isin(rows, list(problems))
        if bad.any():
            self._disown(claims, number, bad, [problems[int(r)] for r in rows[bad]])

    def _disown(
        self, claims: dict[int, Table], number: int, bad: npt.NDArray[np.bool_], reasons: list[str]
    ) -> None:
        unknown = self.scan.unknown
        assert isinstance(unknown.layer, Unknown)
        layer, table = unknown.layer, claims[number]
        hit = (self.canvas.layer == number) & bad[np.where(self.canvas.layer == number, self.canvas.claim, 0)]
        if not hit.any():
            return
        reason = np.array([layer.key(r) for r in reasons], np.uint64)
        keys = np.broadcast_to(reason, int(bad.sum())) if len(reason) == 1 else reason
        fresh = Table(table.pfn[bad], table.n[bad], np.asarray(keys, np.uint64))
        self.canvas.reopen(hit)
        before = claims.get(unknown.number, Table.empty())
        self.canvas.paint(unknown.number, fresh, len(before.pfn))
        claims[unknown.number] = concatenate([before, fresh])


def open_scan(kernel: Kernel, extra: tuple[type[Layer], ...] = ()) -> Scan:
    """Get ready to scan *kernel* with all layers, and *extra* ones."""
    sections = kernel.memo(read_sections)
    layout = page_layout(kernel, sections)
    runs = [_layer_run(cls, kernel, number) for number, cls in enumerate(layer_classes(extra))]
    unknown = Unknown(kernel)
    unknown_run = LayerRun(unknown, len(runs), Owners(unknown))
    return Scan(kernel, sections, layout, runs, unknown_run, kernel.memo(read_page_owner))


def _layer_run(cls: type[Layer], kernel: Kernel, number: int) -> LayerRun:
    layer = cls(kernel)
    return LayerRun(layer, number, Owners(layer), missing=_missing(kernel, layer))


def _missing(kernel: Kernel, layer: Layer) -> str | None:
    """What of the layer's needs the target lacks, in words, or None."""
    for need in layer.needs.members:
        choices = [choice.strip().rpartition(".") for choice in need.split("|")]
        if not any(kernel.has_member(type_name, member) for type_name, _, member in choices):
            return f"the kernel has no {need.replace('|', ' or ')}"
    for need in layer.needs.globals:
        if all(kernel.address(name.strip()) is None for name in need.split("|")):
            return f"the kernel has no variable {need.replace('|', ' or ')}"
    return None


def _why(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"failed ({text})"
