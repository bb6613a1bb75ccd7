"""A real guest, scanned again and again from outside, until it is gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pageowner.snapshot.page_name import PageName
from pageowner.sources.selection import SourceSelection
from pageowner.tui.client import Client
from pageowner.tui.protocol import Explain, Setup, Take


@pytest.mark.lab
@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64")
def test_a_guest_until_it_is_gone(tmp_path: Path) -> None:
    from lab import guests

    with guests.idle(tmp_path, "6.12") as guest:
        client = Client(Setup((SourceSelection("qemu", address=str(guest.socket)),)))
        try:
            assert client.start().live
            first, second = client.ask(Take(0)), client.ask(Take(0))
            for answer in (first, second):
                assert answer.error is None and answer.value.coverage.unreadable == 0
                assert int(answer.value.usage["pages"].sum()) == 256 << 8
            # Nothing happens there: what is seen twice is the same, and yet was looked at twice.
            assert first.value is not second.value
            image = [
                a.value.owners.filter(a.value.owners["word"] == "KERNEL_IMAGE_PAGE") for a in (first, second)
            ]
            assert image[0].equals(image[1]) and image[0].height
            assert client.ask(Explain(0, PageName("user", 0x0, 1))).error == (
                "address 0x0 of pid 1: nothing is mapped there"
            )
            guest.__exit__()
            assert "cannot connect" in str(client.ask(Take(0)).error)
            with guests.idle(tmp_path, "6.12"):  # another kernel, at other addresses
                again = client.ask(Take(0))
                assert again.error is None and int(again.value.usage["pages"].sum()) == 256 << 8
        finally:
            client.close()
