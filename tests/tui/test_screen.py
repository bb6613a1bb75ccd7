"""The screen itself: small ones, without colour, with the mouse, and names that try to be more than text."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from textual.widgets import Footer

from pageowner.snapshot.tables import Snapshot
from tests.tui.conftest import Drive, Screen

HOSTILE = (
    "[bold red]comm[/]", "[@click=app.quit]x[/]", "\x1b[2J\x1b[31mred", "\x9b31mc1", "a\nb\tc",
    "\u202egnp.exe", "\u200b", "\U0010ffa0", "x" * 5000, "$(reboot)", "",
    "👩‍👩‍👧 wide " + "漢字" * 20,
)  # fmt: skip


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (79, 19), (40, 11), (20, 5), (5, 2), (1, 1)])
def test_every_size(drive: Drive, demo: Snapshot, size: tuple[int, int]) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press(
            "r", "g", "o", "down", "enter", "enter", "enter", "escape", "question_mark", "escape"
        )
        await screen.press("slash", "escape", "s", "escape", "e", "escape")
        await screen.pilot.resize_terminal(80, 24)
        await screen.settle()
        assert len(screen.rows) >= 14 and all(len(row) <= 80 for row in screen.rows)
        await screen.pilot.resize_terminal(*size)
        await screen.settle()
        assert screen.table.size.width == size[0]
        assert all(len(row) <= size[0] for row in screen.rows)

    drive(steps, scans=[demo, demo], size=size)


def test_what_80_columns_show(drive: Drive, demo: Snapshot) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("r", "g", "o")
        assert screen.rows[0].split() == ["▼SIZE", "CHANGE", "RATE", "%", "KIND", "OWNER"]
        assert len(screen.text("title")) == 80 and screen.text("title").rstrip().endswith("10 min")
        footer = screen.app.query_one(Footer)
        last = max((key.region for key in footer.children), key=lambda region: region.right)
        assert last.right <= 80  # all keys fit
        assert len(screen.text("cost")) <= 80 and screen.text("cost").startswith("own cost: ")

    drive(steps, scans=[demo, demo])


def test_wide_screens_show_a_trend(drive: Drive, demo: Snapshot) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("r")
        assert "TREND" not in screen.rows[0]
        await screen.pilot.resize_terminal(140, 30)
        await screen.settle()
        assert "TREND" in screen.rows[0] and "▁▁" in screen.rows[1]

    drive(steps, scans=[demo, demo])


def test_the_mouse(drive: Drive) -> None:
    async def steps(screen: Screen) -> None:
        await screen.pilot.click("#table", offset=(30, 4))
        await screen.settle()
        assert screen.table.cursor == 3 and not screen.session.view.steps
        await screen.pilot.double_click("#table", offset=(30, 2))
        await screen.settle()
        assert len(screen.session.view.steps) == 1
        await screen.pilot.click("#table", offset=(6, 0))
        await screen.settle()
        assert not screen.session.view.descending
        footer = screen.app.query_one(Footer)
        help_key = footer.children[0]
        await screen.pilot.click(help_key)
        await screen.settle()
        assert "Enter" in screen.over

    drive(steps)


def named(demo: Snapshot, names: tuple[str, ...]) -> Snapshot:
    """*demo*, its first owners, first stacks and all processes with *names*."""
    count = len(names)
    owners = demo.owners.with_columns(owner=pl.Series([*names, *demo.owners["owner"][count:]]))
    stacks = demo.stacks.with_columns(functions=pl.Series([*names, *demo.stacks["functions"][count:]]))
    processes = demo.groupings["process"]
    commands = [f"pid {i} ({names[i % count]})" for i in range(processes.height)]
    groupings = {**demo.groupings, "process": processes.with_columns(process=pl.Series(commands))}
    return replace(demo, owners=owners, stacks=stacks, groupings=groupings, remarks=list(names))


@pytest.mark.parametrize("letter", ["o", "p", "s"])
def test_hostile_names_are_text(drive: Drive, demo: Snapshot, letter: str) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("g", letter)
        seen = ""
        for _ in HOSTILE:
            seen += "\n".join(
                [*screen.rows, screen.text("detail"), screen.text("where"), screen.text("message")]
            )
            await screen.press("down")
        assert seen.replace("\n", "").isprintable()
        assert "[bold red]comm" in seen and "\\033[2J" in seen
        await screen.press("home", "enter", "enter", "d", "escape", "escape")
        assert screen.app.is_running

    drive(steps, scans=[named(demo, HOSTILE)], size=(160, 40))


def test_names_in_the_title(drive: Drive, demo: Snapshot) -> None:
    async def steps(screen: Screen) -> None:
        assert "\\033]0;x" in screen.text("title")

    drive(steps, scans=[replace(demo, about={"release": "\x1b]0;x\x07"})], size=(120, 30))
