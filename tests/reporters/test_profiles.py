# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stacks for other programs: what a reader of each format gets out."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

from pageowner.analyses.flame import weighted_stacks
from pageowner.reporters.folded import write_folded
from pageowner.reporters.pprof import write_pprof
from pageowner.reporters.speedscope import SCHEMA, write_speedscope
from tests.snapshots.make import snapshot

TABLES = snapshot(
    [
        ("SLAB_PAGE", "dentry", "new_slab < d_alloc < open", 3),
        ("SLAB_PAGE", "inode", "new_slab < d_alloc < open", 2),
        ("ALLOC_PAGE", "fill [drv]", "alloc < fill [drv] < open", 200),
        ("KERNEL_IMAGE_PAGE", "te;xt\x1b", "", 7),
        ("FREE_PAGE", "order 0", "", 900),
    ]
)
BYTES = 212 * 4096


def written(write: Any, *more: object) -> bytes:
    out = io.BytesIO()
    write(weighted_stacks(TABLES), *more, out)
    return out.getvalue()


def test_folded() -> None:
    assert written(write_folded).decode().splitlines() == [
        f"open;fill [drv];alloc {200 * 4096}",
        f"(not recorded);KERNEL_IMAGE_PAGE;te\\073xt\\033 {7 * 4096}",
        f"open;d_alloc;new_slab {5 * 4096}",
    ]


def test_speedscope() -> None:
    """As its schema has it (FileFormat.File, FileFormat.SampledProfile): members, types, lengths."""
    found = json.loads(written(write_speedscope, "memory"))
    assert found["$schema"] == SCHEMA and found["activeProfileIndex"] == 0
    assert found["exporter"].startswith("pageowner@") and found["name"] == "memory"
    frames = found["shared"]["frames"]
    assert all(set(frame) == {"name"} and isinstance(frame["name"], str) for frame in frames)
    assert len({frame["name"] for frame in frames}) == len(frames) == 8
    (profile,) = found["profiles"]
    assert (profile["type"], profile["unit"], profile["startValue"]) == ("sampled", "bytes", 0)
    assert len(profile["samples"]) == len(profile["weights"]) == 3
    assert sum(profile["weights"]) == profile["endValue"] == BYTES
    names = [[frames[at]["name"] for at in sample] for sample in profile["samples"]]
    assert names[0] == ["open", "fill [drv]", "alloc"]


def varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (raw[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if raw[at - 1] < 0x80:
            return value, at


def members(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protocol buffer message: integers, or bytes."""
    at = 0
    while at < len(raw):
        tag, at = varint(raw, at)
        value, at = varint(raw, at)
        if tag & 7 == 2:
            value, at = raw[at : at + value], at + value
        else:
            assert tag & 7 == 0
        yield tag >> 3, value
    assert at == len(raw)


def packed(raw: bytes) -> list[int]:
    values, at = [], 0
    while at < len(raw):
        value, at = varint(raw, at)
        values.append(value)
    return values


def all_of(found: list[tuple[int, Any]], field: int) -> list[Any]:
    return [value for number, value in found if number == field]


def test_pprof() -> None:
    """Read back by a reader that knows only profile.proto and the wire format."""
    profile = list(members(gzip.decompress(written(write_pprof))))
    strings = [raw.decode() for raw in all_of(profile, 6)]
    assert strings[0] == "" and len(set(strings)) == len(strings)
    types = [dict(members(raw)) for raw in all_of(profile, 1)]
    named = [(strings[kind[1]], strings[kind[2]]) for kind in types]
    assert named == [("pages", "count"), ("space", "bytes")]
    assert strings[all_of(profile, 14)[0]] == "space"
    functions = {one[1]: strings[one[2]] for one in (dict(members(raw)) for raw in all_of(profile, 5))}
    places = {one[1]: dict(members(one[4]))[1] for one in (dict(members(raw)) for raw in all_of(profile, 4))}
    assert 0 not in functions and 0 not in places and set(places.values()) == set(functions)
    told = {}
    for sample in all_of(profile, 2):
        parts = list(members(sample))
        stack = [functions[places[number]] for number in packed(all_of(parts, 1)[0])]
        labels = {}
        for label in map(dict, map(members, all_of(parts, 3))):
            labels[strings[label[1]]] = strings[label[2]] if 2 in label else label[3]
        told[labels["owner"]] = (stack, packed(all_of(parts, 2)[0]), labels)
    assert set(told) == {"dentry", "inode", "fill [drv]", "te;xt\x1b"}
    stack, values, labels = told["fill [drv]"]
    assert stack == ["alloc", "fill [drv]", "open"] and values == [200, 200 * 4096]
    assert labels == {"word": "ALLOC_PAGE", "owner": "fill [drv]", "node": 0, "zone": 0, "order": 0}
    assert sum(values[1] for _, values, _ in told.values()) == BYTES
