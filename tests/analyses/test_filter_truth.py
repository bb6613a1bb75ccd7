# SPDX-License-Identifier: LGPL-2.1-or-later
"""Filters against the text: what a filter leaves is what one finds by reading the records line by line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pageowner.commands import main
from tests.conftest import Capture

pytestmark = pytest.mark.two_kernels

_RECORD = re.compile(
    rb"Page allocated via order (?P<order>\d+), mask 0x[0-9a-f]+\((?P<gfp>[^)]*)\), pid (?P<pid>-?\d+), "
    rb"tgid (?P<tgid>-?\d+) \((?P<comm>.*?)\), ts (?P<ts>\d+) ns[^\n]*\n"
    rb"(?:(?P<word>[A-Z_]+_PAGE)[^\n]*\n)?PFN (?:0x)?(?P<pfn>[0-9a-f]+) type (?P<type>\S+) Block \d+ type "
    rb"(?P<block_type>\S+) Flags [^\n]*[(|]node=(?P<node>\d)[^\n]*\n(?P<frames>(?: [^\n]*\n)*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Read:
    """A record as a regular expression reads it; ``pfn`` as it is printed."""

    order: int
    gfp: set[str]
    pid: int
    comm: str
    ts: int
    word: str
    pfn: str
    block_type: str
    node: int
    functions: list[str]


def records(text: bytes) -> list[Read]:
    return [
        Read(
            int(m["order"]), set(m["gfp"].decode().split("|")), int(m["pid"]), m["comm"].decode(),
            int(m["ts"]),
            (m["word"] or b"").decode(), m["pfn"].decode(), m["block_type"].decode(), int(m["node"]),
            [line.split(b"+")[0].strip().decode() for line in m["frames"].splitlines()],
        )
        for m in _RECORD.finditer(text)
    ]  # fmt: skip


Rule = Callable[[Read, int], bool]
RULES: list[tuple[list[str], Rule]] = [
    (["--kind", "slab", "--kind", "ANON_PAGE"], lambda r, _: r.word in ("SLAB_PAGE", "ANON_PAGE")),
    (["--comm", "w_?n*"], lambda r, _: re.fullmatch(r"w_.n.*", r.comm, re.DOTALL) is not None),
    (["--pid", "1", "--pid", "2"], lambda r, _: r.pid in (1, 2)),
    (["--order", "1-3"], lambda r, _: 1 <= r.order <= 3),
    (["--gfp", "GFP_KERNEL|__GFP_ZERO"], lambda r, _: {"GFP_KERNEL", "__GFP_ZERO"} <= r.gfp),
    (["--gfp", "__GFP_MOV*"], lambda r, _: any(flag.startswith("__GFP_MOV") for flag in r.gfp)),
    (["--migrate-type", "Unmov*"], lambda r, _: r.block_type == "Unmovable"),
    (["--node", "0"], lambda r, _: r.node == 0),
    (["--function", "do_exec*"], lambda r, _: any(name.startswith("do_exec") for name in r.functions)),
    (["--older", "3"], lambda r, now: 0 < r.ts <= now - 3 * 10**9),
    (["--younger", "1.5s"], lambda r, now: r.ts > now - 15 * 10**8),
]


# The kernel's text does not say the kind; a core is opened for every other rule, which takes a second each.
CASES = [("core", *case) for case in RULES[::2]] + [("text", *case) for case in RULES[1:]]


@pytest.fixture(scope="module")
def reports(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The kernel's own text, and the core with our report of it."""
    place = tmp_path_factory.mktemp("reports")
    (place / "kernel.txt").write_bytes(capture.read("page_owner.txt"))
    assert main(["report", "-o", str(place / "ours.txt"), str(capture.core)]) == 0
    if not records((place / "kernel.txt").read_bytes()):
        pytest.skip("this kernel's text does not say who allocated")
    return {"core": capture.core, "ours": place / "ours.txt", "text": place / "kernel.txt"}


@pytest.mark.parametrize(("kind", "options", "rule"), CASES, ids=[" ".join([c[0], *c[1]]) for c in CASES])
def test_what_is_left(
    kind: str, options: list[str], rule: Rule, reports: dict[str, Path], tmp_path: Path
) -> None:
    whole = records(reports["ours" if kind == "core" else "text"].read_bytes())
    # Younger allocations than the last that is printed have no stack, so no record: none in these captures.
    now = max(record.ts for record in whole)
    target = tmp_path / "left.txt"
    assert main(["report", *options, "-o", str(target), str(reports[kind])]) == 0
    left = [record.pfn for record in records(target.read_bytes())]
    assert left == [record.pfn for record in whole if rule(record, now)]
    assert 0 < len(left) < len(whole)


def test_a_range(reports: dict[str, Path], tmp_path: Path) -> None:
    """Blocks that a range only meets are in it."""
    whole = records(reports["ours"].read_bytes())
    base = 16 if b"PFN 0x" in reports["ours"].read_bytes() else 10
    large = next(record for record in whole if record.order >= 2)
    first = int(large.pfn, base) + 1
    for source in ("core", "ours"):
        target = tmp_path / source
        some = f"{first}-{first + 300}"
        assert main(["report", "--pfn", some, "-o", str(target), str(reports[source])]) == 0
        found = [int(record.pfn, base) for record in records(target.read_bytes())]
        wanted = [(int(r.pfn, base), 1 << r.order) for r in whole]
        assert found == [pfn for pfn, n in wanted if pfn <= first + 300 and pfn + n > first]
        assert found[0] < first
