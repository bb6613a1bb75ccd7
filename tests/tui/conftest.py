"""The screen without a terminal and without a child: real tables of the demo, keys by textual's pilot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from pageowner.analyses.filters import Filter
from pageowner.errors import PageownerError
from pageowner.snapshot.rescan import Watched
from pageowner.snapshot.tables import Snapshot
from pageowner.sources.selection import SourceSelection
from pageowner.tui.app import TopApp
from pageowner.tui.pace import Pace
from pageowner.tui.protocol import Answer, Explain, FindPages, Request, Take
from pageowner.tui.session import Session
from pageowner.tui.table import OwnerTable

DEMO = SourceSelection("demo")
PAGE = 4096


@pytest.fixture(scope="session")
def watched() -> Watched:
    source = Watched([DEMO])
    assert source.open() is False
    return source


@pytest.fixture(scope="session")
def demo(watched: Watched) -> Snapshot:
    return watched.take(0)


def grown(snapshot: Snapshot, word: str, owner: str, pages: int) -> Snapshot:
    """*snapshot*, but that owner has so many pages more, from the stack that it has most from."""
    ids = snapshot.owners.filter((pl.col("word") == word) & (pl.col("owner") == owner))["id"]
    assert len(ids) == 1
    row = pl.int_range(pl.len()) == snapshot.usage["id"].index_of(ids[0])
    usage = snapshot.usage.with_columns(pages=pl.col("pages") + pl.when(row).then(pages).otherwise(0))
    mine = pl.col("id") == ids[0]
    owners = snapshot.owners.with_columns(pages=pl.col("pages") + pl.when(mine).then(pages).otherwise(0))
    return replace(snapshot, usage=usage, owners=owners)


@dataclass
class FakeClient:
    """Answers at once: scans from a list (the last again and again), all else from the demo."""

    watched: Watched
    scans: Sequence[Snapshot | str]
    asked: list[Request] = field(default_factory=list)
    cpu_of_dead: float = 0.0
    closed: bool = False

    def ask(self, request: Request) -> Answer:
        self.asked.append(request)
        try:
            return Answer(self._do(request), seconds=0.001, cpu=0.001, memory=1 << 20)
        except PageownerError as error:
            return Answer(error=str(error))

    def _do(self, request: Request) -> Any:
        match request:
            case Take(at, wanted):
                return self._take(at, wanted)
            case FindPages(_, word, owner, stack, wanted):
                return self.watched.pages(0, word, owner, stack, wanted)
            case Explain(_, page, most_places):
                return self.watched.explain(0, page, most_places)

    def _take(self, at: int, wanted: Filter | None) -> Snapshot:
        if wanted is not None:
            return self.watched.take(0, wanted)
        taken = sum(isinstance(one, Take) for one in self.asked)
        scan = self.scans[min(max(at, taken - 1), len(self.scans) - 1)]
        if isinstance(scan, str):
            raise PageownerError(scan)
        return scan

    def close(self) -> None:
        self.closed = True


class Screen:
    """The app under a pilot, and what stands on its screen."""

    def __init__(self, app: TopApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot, self.session = app, pilot, app.session

    async def press(self, *keys: str) -> None:
        """Press keys; wait after each until all is done."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def type(self, text: str) -> None:
        await self.pilot.press(*("space" if c == " " else c for c in text))
        await self.settle()

    async def settle(self) -> None:
        for _ in range(400):
            await self.pilot.pause()
            if self.app.settled:
                await self.pilot.pause()
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the app does not settle")

    async def rescan(self) -> None:
        await self.press("r")

    @property
    def table(self) -> OwnerTable:
        return self.app.table

    @property
    def rows(self) -> list[str]:
        """The lines of the table, titles first."""
        return [self.table.render_line(y).text.rstrip() for y in range(self.table.size.height)]

    def text(self, name: str) -> str:
        """One of the lines above and below it."""
        return str(self.app.screen_stack[0].query_one(f"#{name}", Static).content)

    @property
    def over(self) -> str:
        """The text that is open over the table."""
        return str(self.app.screen.query_one("#text Static", Static).content)


Drive = Callable[..., None]


@pytest.fixture
def drive(watched: Watched, demo: Snapshot) -> Iterator[Drive]:
    """``drive(steps)``: run the app and the coroutine *steps* on it; ``scans``: what scans find, one after
    the other (only the demo if none is given); ``size``: of the screen; ``sources``: how many."""

    def start(
        steps: Callable[[Screen], Awaitable[None]], *, scans: Sequence[Snapshot | str] = (),
        size: tuple[int, int] = (80, 24), live: bool | None = None, sources: int = 1,
    ) -> None:  # fmt: skip
        client = FakeClient(watched, scans or [demo])
        is_live = len(scans) > 1 and sources == 1 if live is None else live
        session = Session(client, (DEMO,) * sources, is_live, Pace(600.0))  # type: ignore[arg-type]

        async def main() -> None:
            app = TopApp(session)
            async with app.run_test(size=size) as pilot:
                screen = Screen(app, pilot)
                await screen.settle()
                await steps(screen)
            assert client.closed

        asyncio.run(main())

    yield start
