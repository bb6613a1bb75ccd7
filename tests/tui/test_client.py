"""The child: a real one, and what becomes of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from pageowner.errors import PageownerError, SourceError
from pageowner.snapshot.page_name import PageName
from pageowner.snapshot.rescan import Watched
from pageowner.snapshot.tables import Snapshot
from pageowner.sources.selection import SourceSelection
from pageowner.tui.client import Client
from pageowner.tui.protocol import Explain, FindPages, Setup, Take
from tests.tui.conftest import DEMO


def test_a_child_answers_dies_and_is_replaced(demo: Snapshot) -> None:
    client = Client(Setup((DEMO,)))
    try:
        assert client.start().live is False
        answer = client.ask(Take(0))
        assert answer.error is None and answer.value.owners.equals(demo.owners)
        assert answer.cpu > 0 and answer.memory > 10 << 20 and answer.seconds > 0
        found = client.ask(FindPages(0, "SLAB_PAGE", "dentry", None)).value
        assert found["pages"].sum() == demo.owners.filter(demo.owners["owner"] == "dentry")["pages"][0]
        assert client.ask(Explain(0, PageName("pfn", 0x2092))).value.owner.owner == "pid 87 (w_anon)"
        refused = client.ask(Explain(0, PageName("pfn", 1 << 40))).error
        assert refused is not None and "has no struct page" in refused
        os.kill(child_of(client), signal.SIGKILL)
        dead = client.ask(Take(0))
        assert dead.value is None and dead.error is not None and "was ended by SIGKILL" in dead.error
        assert client.cpu_of_dead > 0
        assert client.ask(Take(0)).value.owners.equals(demo.owners)
    finally:
        client.close()
    assert client.ask(Take(0)).error == "closed"


def child_of(client: Client) -> int:
    assert client.pid is not None
    return client.pid


def test_closing_while_it_works() -> None:
    """Whoever waits for an answer gets an error at once."""
    client = Client(Setup((DEMO,)))
    client.start()
    errors: list[str | None] = []
    thread = threading.Thread(target=lambda: errors.append(client.ask(Take(0)).error))
    thread.start()
    time.sleep(0.05)
    client.close()
    thread.join(10)
    assert not thread.is_alive() and (errors == ["closed"] or errors[0] is None or "ended" in errors[0])


def test_a_source_that_cannot_be_opened() -> None:
    client = Client(Setup((SourceSelection("path", Path("/nonexistent")),)))
    with pytest.raises(SourceError, match="/nonexistent") as caught:
        client.start()
    assert "\n" not in str(caught.value)
    client.close()


def test_a_guest_that_is_gone_is_a_line(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """drgn says ``OSError`` then; the next look opens anew."""

    def gone(*_: object, **__: object) -> None:
        raise ProcessLookupError(3, "No such process")

    source = Watched([DEMO])
    source.open()
    monkeypatch.setattr("pageowner.snapshot.rescan.take_snapshot", gone)
    with pytest.raises(SourceError) as caught:
        source.take(0)
    assert str(caught.value) == "demo: its memory cannot be read any more (No such process)"
    monkeypatch.undo()
    assert source.take(0).owners.height


def test_stored_snapshots_have_pages_but_no_memory(tmp_path: Path, demo: Snapshot) -> None:
    from pageowner.commands import main

    assert main(["record", "--demo", "-o", str(tmp_path / "one")]) == 0
    source = Watched([SourceSelection("path", tmp_path / "one")])
    assert source.open() is False and source.stored(0)
    assert source.take(0).owners.equals(demo.owners) and not source.take(0).pages.width
    pages = source.pages(0, "SLAB_PAGE", "dentry", None)
    assert pages["pages"].sum() == demo.owners.filter(demo.owners["owner"] == "dentry")["pages"][0]
    with pytest.raises(PageownerError, match="has no memory, only tables"):
        source.explain(0, PageName("pfn", 1), 8)


def test_pages_of_every_stack_add_up(watched: Watched, demo: Snapshot) -> None:
    """The pages of an owner, and of each of its stacks, are as many as the tables say, and none twice."""
    for word, owner in (
        ("SLAB_PAGE", "dentry"),
        ("ANON_PAGE", "pid 87 (w_anon)"),
        ("HUGETLB_PAGE", "free pool"),
    ):
        known = demo.owners.filter((demo.owners["word"] == word) & (demo.owners["owner"] == owner))
        usage = demo.usage.filter(demo.usage["id"] == known["id"][0])
        seen: set[int] = set()
        for stack in usage["stack"].unique():
            found = watched.pages(0, word, owner, stack)
            assert int(found["pages"].sum()) == int(usage.filter(usage["stack"] == stack)["pages"].sum())
            frames = set(found["pfn"])
            assert not seen & frames
            seen |= frames
        whole = watched.pages(0, word, owner, None)
        assert int(whole["pages"].sum()) == int(known["pages"][0])
        assert watched.explain(0, PageName("pfn", int(whole["pfn"][0])), 1).owner.owner == owner
