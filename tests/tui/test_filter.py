"""The filter: the options of all commands, or a word; what tables cannot tell, scans do."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageowner.analyses.filters import Filter
from pageowner.commands import main
from pageowner.commands.parser import UsageError
from pageowner.tui.filterline import line_of, parse
from pageowner.tui.protocol import Take
from tests.tui.conftest import Drive, Screen


def kinds(capsysbinary: pytest.CaptureFixture[bytes], *options: str) -> dict[str, int]:
    assert main(["summary", "--json", "--demo", *options]) == 0
    found = json.loads(capsysbinary.readouterr().out)["kinds"]
    return {row["word"]: row["pages"] for row in found}


@pytest.mark.parametrize(
    "line", ["--kind slab", "--function 'kmem_cache_*' --node 0", "--zone DMA32 --node 1"]
)
def test_what_the_tables_tell(drive: Drive, line: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    expected = kinds(capsysbinary, *line.replace("'", "").split())

    async def steps(screen: Screen) -> None:
        await screen.press("slash")
        await screen.type(line)
        await screen.press("enter")
        assert dict(screen.table.frame.select("name", "pages").iter_rows()) == expected
        assert f"filter: {line}" in screen.text("where")
        assert len(screen.session.client.asked) == 1  # type: ignore[attr-defined]  # no scan for that
        await screen.press("escape")
        assert screen.table.frame.height > len(expected)

    drive(steps)


@pytest.mark.parametrize("line", ["--comm w_anon", "--kind anon --pid 87", "--order 3-10"])
def test_what_only_a_scan_tells(drive: Drive, line: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    expected = kinds(capsysbinary, *line.split())
    assert expected

    async def steps(screen: Screen) -> None:
        await screen.press("slash")
        await screen.type(line)
        await screen.press("enter")
        await screen.pilot.pause(0.6)
        await screen.settle()
        assert screen.session.client.asked[-1] == Take(0, parse(line).wanted)  # type: ignore[attr-defined]
        assert dict(screen.table.frame.select("name", "pages").iter_rows()) == expected
        await screen.press("enter")  # the filter holds inside, too
        assert int(screen.table.frame["pages"].sum()) in expected.values()
        while screen.session.pages is None:
            await screen.press("enter")
        row = screen.table.frame["pages"].sum()
        assert row == screen.session.client.ask(screen.session.client.asked[-1]).value["pages"].sum()  # type: ignore[attr-defined]
        await screen.press("escape")  # the filter goes first, then one level after the other
        await screen.press("escape", "escape", "escape", "escape")
        assert screen.table.frame.height > len(expected) and len(screen.session.series.moments) == 1

    drive(steps)


def test_a_word_is_found_while_it_is_typed(drive: Drive) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("g", "o", "slash")
        await screen.type("DENT")
        assert screen.table.frame["name"].to_list() == ["dentry"]
        await screen.press("escape")  # never mind
        assert screen.table.frame.height > 500
        await screen.press("slash")
        await screen.type("slab")
        await screen.press("enter")
        assert set(screen.table.frame["kind"]) == {"SLAB_PAGE"}

    drive(steps)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--bogus", "unrecognized arguments: --bogus"),
        ("--pid x", "'x' is no number"),
        ("--owner 'a", "a quotation mark is left open"),
        ("--kind", "expected one argument"),
        ("--help", "unrecognized arguments: --help"),
    ],
)
def test_errors_are_a_line_and_one_goes_on_typing(drive: Drive, line: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")) as caught:
        parse(line)
    assert "\n" not in str(caught.value)

    async def steps(screen: Screen) -> None:
        await screen.press("slash")
        await screen.type(line)
        await screen.press("enter")
        assert words in str(screen.app.screen.query_one("#hint").content)  # type: ignore[attr-defined]
        await screen.press("x")
        assert words not in str(screen.app.screen.query_one("#hint").content)  # type: ignore[attr-defined]
        await screen.press("escape")
        assert screen.session.view.typed.line == "" and screen.table.frame.height

    drive(steps)


# argparse before 3.13 takes the value "--" for its own end-of-options mark.
texts = st.lists(st.text(min_size=1, max_size=8).filter("--".__ne__), max_size=2).map(tuple)
numbers = st.lists(st.integers(0, 10**6), max_size=2).map(tuple)
pairs = st.lists(st.tuples(st.integers(0, 99), st.integers(100, 999)), max_size=2).map(tuple)


@given(
    st.builds(
        Filter, kinds=texts, owners=texts, comms=texts, functions=texts, pids=numbers, nodes=numbers,
        orders=pairs, pfns=pairs, older=st.none() | st.integers(0, 10**6).map(float),
    )
)  # fmt: skip
def test_line_and_filter_are_inverses(wanted: Filter) -> None:
    assert (parse(line_of(wanted)).wanted or Filter()) == wanted
