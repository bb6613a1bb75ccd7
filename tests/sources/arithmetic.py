# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs inside a guest (test_live.py): are sorts, groups and sums of fixed numbers those of plain Python?

QEMU 7.2 emulates AVX2 wrongly (lab/guest_python.py). Where this fails, nothing seen in a guest is worth much.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import polars as pl

SIZES = (1, 3, 8, 16, 31, 33, 64, 100, 257, 1000, 5000, 20011)
NUMBERS = (np.int64, np.uint64, np.uint32, np.int32, np.int16, np.uint8)


def fixed(count: int, keys: int) -> tuple[list[int], list[int]]:
    """Keys below *keys* and values, the same wherever it runs."""
    state, a, b = count * 31 + keys, [], []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        a.append((state >> 33) % keys)
        b.append((state >> 20) % 4096)
    return a, b


def of_polars(a: list[int], b: list[int], dtype: type) -> Iterator[tuple[str, object, object]]:
    """What is computed -> by polars, by Python."""
    sums: defaultdict[int, int] = defaultdict(int)
    for key, value in zip(a, b, strict=True):
        sums[key] += value
    frame = pl.DataFrame({"a": np.array(a, dtype), "b": b, "text": [f"k{key}" for key in a]})
    total = pl.col("b").sum()
    pairs = sorted(zip(a, b, strict=True))
    yield "sum", frame["b"].sum(), sum(b)
    yield "group", dict(frame.group_by("a").agg(total).iter_rows()), dict(sums)
    yield "lengths", dict(frame.group_by("a").agg(pl.len()).iter_rows()), dict(Counter(a))
    in_order = frame.group_by("a", maintain_order=True).agg(total)
    yield "group in order", list(in_order.iter_rows()), list(sums.items())
    texts = {f"k{key}": value for key, value in sums.items()}
    yield "group by text", dict(frame.group_by("text").agg(total).iter_rows()), texts
    both = frame.group_by("a", "text").agg(total).select("text", "b")
    yield "group by both", dict(both.iter_rows()), texts
    yield "sort", frame.select("a", "b").sort("a", "b").rows(), pairs
    ones = [value for key, value in zip(a, b, strict=True) if key == 1]
    yield "filter", frame.filter(pl.col("a") == 1)["b"].to_list(), ones
    even = pl.DataFrame({"a": np.arange(0, max(a) + 1, 2).astype(dtype)})
    yield "join", frame.join(even, on="a")["b"].sum(), sum(v for k, v in pairs if k % 2 == 0)


def of_numpy(a: list[int], b: list[int], dtype: type) -> Iterator[tuple[str, object, object]]:
    """The same of numpy."""
    keys = np.array(a, dtype)
    names, inverse = np.unique(keys, return_inverse=True)
    yield "np.sort", np.sort(keys).tolist(), sorted(a)
    yield "np.argsort", keys[np.argsort(keys)].tolist(), sorted(a)
    yield "np.unique", names.tolist(), sorted(set(a))
    yield "inverse", names[inverse].tolist(), a
    yield "np.searchsorted", np.searchsorted(names, keys).tolist(), inverse.tolist()
    order = np.lexsort((b, keys))
    yield "np.lexsort", [(a[row], b[row]) for row in order], sorted(zip(a, b, strict=True))


def main() -> None:
    checked, wrong = 0, Counter[str]()
    for size in SIZES:
        for keys in (2, 7, 50, 1000):
            a, b = fixed(size, keys)
            for dtype in NUMBERS[: 5 if keys > 256 else None]:
                for name, found, right in (*of_polars(a, b, dtype), *of_numpy(a, b, dtype)):
                    checked += 1
                    wrong[f"{name} of {dtype.__name__}"] += found != right
    print(f"checked {checked} wrong {wrong.total()}")
    for name, count in (+wrong).items():
        print(f"{name}: {count}")


if __name__ == "__main__":
    main()
