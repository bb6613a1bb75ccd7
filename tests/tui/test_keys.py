"""Keys: what they do to the screen, and that its figures are those of ``summary --json``."""

from __future__ import annotations

import json
import re

import pytest

from pageowner.commands import main
from pageowner.reporters.sizes import human_size
from pageowner.snapshot.tables import Snapshot
from pageowner.tui.keys import KEYS
from pageowner.tui.protocol import Explain, FindPages, Take
from tests.tui.conftest import PAGE, Drive, Screen, grown


@pytest.fixture
def summary(capsysbinary: pytest.CaptureFixture[bytes]) -> dict[str, list[dict[str, object]]]:
    assert main(["summary", "--json", "-n", "100000", "--demo"]) == 0
    document: dict[str, list[dict[str, object]]] = json.loads(capsysbinary.readouterr().out)
    return document


def test_kinds_are_those_of_summary(drive: Drive, summary: dict[str, list[dict[str, object]]]) -> None:
    async def steps(screen: Screen) -> None:
        shown = dict(screen.table.frame.select("name", "pages").iter_rows())
        assert shown == {kind["word"]: kind["pages"] for kind in summary["kinds"]}
        first = summary["kinds"][0]
        size = human_size(int(str(first["bytes"])))
        assert screen.rows[1].strip().startswith(f"{size} ") and str(first["word"]) in screen.rows[1]
        await screen.press("u", "u")
        assert screen.rows[1].split()[0] == str(first["pages"])

    drive(steps)


def test_owners_are_those_of_summary(drive: Drive, summary: dict[str, list[dict[str, object]]]) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("g", "o")
        table = screen.table.frame.filter(~screen.table.frame["kind"].is_in(["FREE_PAGE", "PCP_FREE_PAGE"]))
        shown = set(table.select("kind", "name", "pages").iter_rows())
        assert shown == {(row["word"], row["owner"], row["pages"]) for row in summary["top"]}

    drive(steps)


def test_from_a_kind_to_explain_and_back(drive: Drive) -> None:
    async def steps(screen: Screen) -> None:
        while screen.table.row and screen.table.row["name"] != "SLAB_PAGE":
            await screen.press("down")
        await screen.press("enter")
        assert "kind: SLAB_PAGE > by owner" in screen.text("where")
        owner = screen.table.row
        assert owner is not None and screen.text("detail") == f"SLAB_PAGE {owner['name']}"
        await screen.press("enter")
        stack = screen.table.row
        assert stack is not None and " < " in stack["name"]
        assert f"owner: {owner['name']} > by stack" in screen.text("where")
        assert int(screen.table.frame["pages"].sum()) == owner["pages"]
        await screen.press("enter")
        assert int(screen.table.frame["pages"].sum()) == stack["pages"]
        page = screen.table.row
        assert page is not None and page["name"].startswith("PFN 0x")
        await screen.press("enter")
        assert f"\nowner        {owner['name']}\n" in screen.over
        assert screen.over.startswith(f"PFN 0x{int(page['key']):x} ")
        await screen.press("escape")
        assert screen.table.row == page
        for expected in (stack, owner):
            await screen.press("backspace")
            assert screen.table.row == expected
        await screen.press("escape")
        assert screen.table.row is not None and screen.table.row["name"] == "SLAB_PAGE"
        await screen.press("escape")  # at the top there is no further out
        assert screen.text("where").startswith("by kind")

    drive(steps)


def test_sorting(drive: Drive) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("g", "o", "s", "n")
        names = [name.lower() for name in screen.table.frame["name"]]
        assert screen.table.frame["name"].to_list() == sorted(screen.table.frame["name"]) and len(names) > 500
        assert "▲OWNER" in screen.rows[0] or "OWNER▲" in screen.rows[0]
        await screen.press("I")
        assert screen.table.frame["name"].to_list() == sorted(screen.table.frame["name"], reverse=True)
        await screen.press("less_than_sign")
        assert screen.session.view.sort == "kind"
        await screen.pilot.click("#table", offset=(6, 0))  # the title SIZE
        await screen.settle()
        pages = screen.table.frame["pages"].to_list()
        assert pages == sorted(pages, reverse=True)

    drive(steps)


@pytest.mark.parametrize(
    ("letter", "by"), [("n", "node"), ("p", "process"), ("c", "cgroup"), ("s", "stack"), ("o", "owner")]
)
def test_groups_add_up(drive: Drive, demo: Snapshot, letter: str, by: str) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("g", letter)
        frame = screen.table.frame
        assert screen.session.view.by == by and frame.height
        if by in ("process", "cgroup"):
            of = "pss" if by == "process" else "pages"
            assert int(frame["pages"].sum()) == int(demo.groupings[by][of].sum())
        else:
            assert int(frame["pages"].sum()) == int(demo.usage["pages"].sum())

    drive(steps)


def test_processes_lead_to_their_pages(drive: Drive) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("g", "p", "enter")
        row = screen.table.row
        assert row is not None
        assert re.search(r"pid \d+ \(", row["name"]) and "process: pid " in screen.text("where")

    drive(steps)


def test_cgroups_lead_to_what_is_charged_to_them(drive: Drive, demo: Snapshot) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("g", "c")
        group = screen.table.row
        assert group is not None
        await screen.press("enter")
        await screen.pilot.pause(0.6)
        await screen.settle()
        assert f"cgroup: {group['name']} > by kind" in screen.text("where")
        assert int(screen.table.frame["pages"].sum()) == group["pages"]
        await screen.press("enter", "escape", "escape")
        assert screen.table.row == group and screen.session.view.typed.line == ""
        await screen.press("g", "m", "up", "escape", "g", "k")
        assert int(screen.table.frame["pages"].sum()) == int(demo.usage["pages"].sum())

    drive(steps)


def test_marks_and_differences(drive: Drive, demo: Snapshot) -> None:
    scans = [
        demo,
        grown(demo, "SLAB_PAGE", "dentry", 100),
        grown(grown(demo, "SLAB_PAGE", "dentry", 150), "BPF_PAGE", "prog_pack 0 shared", -24),
    ]

    async def steps(screen: Screen) -> None:
        await screen.press("g", "o", "s", "c")
        await screen.press("d")
        assert "nothing to compare yet" in screen.text("message")
        await screen.rescan()
        row = screen.table.row
        assert row is not None and (row["name"], row["change"]) == ("dentry", 100) and row["rate"] > 0
        assert "+400 KiB" in screen.rows[1]
        await screen.press("m")
        assert "mark: " in screen.text("where") and not screen.table.frame["change"].abs().sum()
        await screen.rescan()
        changes = dict(
            screen.table.frame.filter(screen.table.frame["change"] != 0)["name", "change"].iter_rows()
        )
        assert changes == {"dentry": 50, "prog_pack 0 shared": -24}
        await screen.press("d")
        assert "SLAB_PAGE dentry" in screen.over and "+200 KiB" in screen.over and "-96.0 KiB" in screen.over
        await screen.press("q")
        await screen.press("M")
        assert screen.table.row is not None and screen.table.row["change"] == 150

    drive(steps, scans=scans)


def test_stepping_in_time(drive: Drive, demo: Snapshot) -> None:
    scans = [demo, *(grown(demo, "SLAB_PAGE", "dentry", n) for n in (10, 20, 30))]

    async def steps(screen: Screen) -> None:
        await screen.press("r", "r", "r", "g", "o", "s", "c")
        for key, change in (("", 30), ("left", 20), ("left_square_bracket", 10), ("left", 0), ("left", 0)):
            if key:
                await screen.press(key)
            row = screen.table.frame.filter(screen.table.frame["name"] == "dentry")["change"]
            assert row.to_list() == [change]
        assert "PAST 1 of 4" in screen.text("title")
        await screen.press("right_square_bracket", "right", "right")
        assert "live" in screen.text("title")

    drive(steps, scans=scans)


def test_a_series_of_snapshots(drive: Drive, demo: Snapshot) -> None:
    scans = [demo, grown(demo, "SLAB_PAGE", "dentry", 10), grown(demo, "SLAB_PAGE", "dentry", 40)]

    async def steps(screen: Screen) -> None:
        while len(screen.session.series.moments) < 3:
            await screen.pilot.pause(0.05)
        await screen.settle()
        assert [request.at for request in screen.session.client.asked] == [0, 1, 2]  # type: ignore[attr-defined]
        assert "3 of 3" in screen.text("title")
        await screen.press("g", "o", "s", "c")
        assert screen.table.row is not None and screen.table.row["change"] == 40
        await screen.press("left_square_bracket")
        assert "2 of 3" in screen.text("title") and screen.table.row["change"] == 10
        await screen.press("r")
        assert "does not change" in screen.text("message")

    drive(steps, scans=scans, sources=3)


def test_pausing(drive: Drive, demo: Snapshot) -> None:
    async def steps(screen: Screen) -> None:
        screen.session.pace.interval = 0.01
        screen.session.pace.scan = 0.0
        await screen.press("space")
        assert "PAUSED" in screen.text("title")
        taken = len(screen.session.series.moments)
        await screen.pilot.pause(1.2)
        assert len(screen.session.series.moments) == taken
        await screen.press("space")
        for _ in range(40):
            await screen.pilot.pause(0.1)
            if len(screen.session.series.moments) > taken:
                return
        raise AssertionError("it does not go on")

    drive(steps, scans=[demo, demo])


def test_a_failing_scan_is_a_line(drive: Drive, demo: Snapshot) -> None:
    async def steps(screen: Screen) -> None:
        before = screen.rows
        await screen.rescan()
        assert screen.text("message") == "! the guest is gone" and "after a failure" in screen.text("cost")
        assert screen.rows[1:5] == before[1:5]
        await screen.rescan()
        assert "gone" not in screen.text("message") and screen.session.pace.failures == 0

    drive(steps, scans=[demo, "the guest is gone", demo])


def test_nothing_can_be_read_at_all(drive: Drive) -> None:
    async def steps(screen: Screen) -> None:
        assert screen.text("message") == "! no such guest"
        await screen.press("enter", "m", "d", "left", "g", "o", "escape", "e", "escape")
        assert screen.rows[1] == ""

    drive(steps, scans=["no such guest", "no such guest"])


def test_help_has_every_key(drive: Drive) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("question_mark")
        assert all(key.help in screen.over and key.shows in screen.over for key in KEYS)
        await screen.press("q")
        assert screen.app.screen is screen.app.screen_stack[0]

    drive(steps)


def test_keys_faster_than_screens(drive: Drive) -> None:
    async def steps(screen: Screen) -> None:
        await screen.pilot.press(
            "s", "n", "n", "s", "escape", "escape", "g", "o", "o", "question_mark", "q", "escape"
        )
        await screen.settle()
        assert screen.app.is_running

    drive(steps)


def test_explaining_a_page_by_name(drive: Drive) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("e")
        await screen.type("nonsense")
        await screen.press("enter")
        assert "'nonsense' names no page" in str(screen.app.screen.query_one("#hint").content)  # type: ignore[attr-defined]
        await screen.press(*["backspace"] * 8)
        await screen.type("0x2092")
        await screen.press("enter")
        assert screen.over.startswith("PFN 0x2092 (8338)") and "pid 87 (w_anon)" in screen.over
        await screen.press("escape", "e")
        await screen.type("87:0x4")
        await screen.press("enter")
        assert screen.text("message") == "address 0x4 of pid 87: nothing is mapped there"

    drive(steps)


def test_only_what_is_asked_for_is_scanned(drive: Drive, demo: Snapshot) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("enter", "escape", "g", "o", "s", "n", "left", "m", "u")
        assert [type(request) for request in screen.session.client.asked] == [Take]  # type: ignore[attr-defined]
        await screen.press("enter", "enter", "enter")
        kinds = [type(request) for request in screen.session.client.asked]  # type: ignore[attr-defined]
        assert kinds == [Take, FindPages, Explain]

    drive(steps)


def test_the_cursor_stays_on_its_owner(drive: Drive, demo: Snapshot) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("g", "o", "pagedown", "pagedown")
        before = screen.table.row
        at = screen.table.cursor
        await screen.rescan()
        assert before is not None and screen.table.row is not None
        assert screen.table.row["key"] == before["key"] and screen.table.cursor == at + 1

    # dentry jumps from below to the top
    drive(steps, scans=[demo, grown(demo, "SLAB_PAGE", "shmem_inode_cache", 50_000)])


def test_sizes_of_the_bar(drive: Drive, demo: Snapshot) -> None:
    async def steps(screen: Screen) -> None:
        total = int(demo.owners["pages"].sum()) * PAGE
        assert screen.text("bar").endswith(f"] {total >> 20}M") and len(screen.text("bar")) == 80
        free = int(
            demo.owners.filter(demo.owners["word"].is_in(["FREE_PAGE", "PCP_FREE_PAGE"]))["pages"].sum()
        )
        assert f".free {round(free * PAGE / (1 << 20))}M" in screen.text("legend")

    drive(steps)
