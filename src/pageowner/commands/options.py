# SPDX-License-Identifier: LGPL-2.1-or-later
"""Option bundles that commands share: the source, the output file, colour, PFN ranges."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pageowner.commands.parser import Arguments, Parser, UsageError
from pageowner.sources.selection import SourceSelection

if TYPE_CHECKING:
    from pageowner.layers import Layer


def add_source_options(parser: Parser, positional: bool = True) -> None:
    """``[source]`` (if *positional*), ``-k``, ``-c``, ``--qemu``, ``--demo``, ``-s``: see ``selection``."""
    group = parser.add_argument_group("source (one of them; the live kernel if none is given)")
    if positional:
        group.add_argument("source", nargs="?", type=Path, help="a core dump; what it is is found out")
    parser.set_defaults(source=None)
    group.add_argument("-k", "--kernel", action="store_true", help="the live kernel")
    group.add_argument("-c", "--core", type=Path, metavar="PATH", help="a core dump of a kernel")
    group.add_argument("--qemu", metavar="ADDRESS", help="a QEMU guest, by its QMP socket")
    group.add_argument("--demo", action="store_true", help="the small real core that the package carries")
    group.add_argument(
        "-s", "--symbols", type=Path, metavar="VMLINUX",
        help="take types and symbols from this vmlinux (never needed); "
        "auto: from an installed debug package, or from debuginfod if DEBUGINFOD_URLS is set",
    )  # fmt: skip
    group.add_argument(
        "--kallsyms", type=Path, metavar="FILE",
        help="take symbols from this System.map or saved /proc/kallsyms (for kernels that hide theirs)",
    )  # fmt: skip
    group.add_argument(
        "--pause", action="store_true", help="stop the --qemu guest meanwhile: an exact picture"
    )


def selection(args: Arguments) -> SourceSelection:
    """The one source that ``args`` name. Raises ``UsageError`` when they name several."""
    named = {
        "a positional source": SourceSelection("path", path=args.source) if args.source else None,
        "-k": SourceSelection("kernel") if args.kernel else None,
        "-c": SourceSelection("core", path=args.core) if args.core else None,
        "--qemu": SourceSelection("qemu", address=args.qemu) if args.qemu else None,
        "--demo": SourceSelection("demo") if args.demo else None,
    }
    given = {flag: chosen for flag, chosen in named.items() if chosen}
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} name different sources; give one of them")
    chosen = next(iter(given.values()), SourceSelection())
    if args.pause and not args.qemu:
        raise UsageError("--pause stops a guest: it goes with --qemu")
    return SourceSelection(
        chosen.kind, chosen.path, chosen.address, args.symbols, args.kallsyms, args.pause
    )


def add_output_options(parser: Parser) -> None:
    """``-o``, ``-f``, ``--color``; for ``output.open_output`` and ``use_color``."""
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to FILE ('-': stdout)")
    group.add_argument("-f", "--force", action="store_true", help="overwrite FILE")
    group.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="default: auto")


def add_layer_option(parser: Parser) -> None:
    """``--layer``; read it with ``extra_layers``."""
    group = parser.add_argument_group("layers of your own")
    group.add_argument(
        "--layer", type=Path, metavar="FILE.py", action="append", default=[],
        help="use the layers that this file defines, too (see docs/layers.md); may be repeated",
    )  # fmt: skip


def extra_layers(args: Arguments) -> tuple[type[Layer], ...]:
    """The layers of all ``--layer`` files. Raises ``LayerError``, one line."""
    if not args.layer:
        return ()
    from pageowner.layers.thirdparty import load_layers

    return tuple(layer for path in args.layer for layer in load_layers(path))


def use_color(choice: str, stream: IO[str] | IO[bytes]) -> bool:
    """Whether ``stream`` gets colour: as told, else if it is a terminal and NO_COLOR is unset."""
    if choice != "auto":
        return choice == "always"
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def pfn_range(text: str) -> tuple[int, int]:
    """``A-B`` or ``A``, decimal or 0x hexadecimal, as (first, last); both ends belong to it."""
    first, dash, last = text.partition("-")
    try:
        low = _number(first)
        high = _number(last) if dash else low
    except ValueError:
        message = f"'{text}' is no PFN range; write 256-511, 0x100-0x1ff or 0x100"
        raise argparse.ArgumentTypeError(message) from None
    if high < low:
        raise argparse.ArgumentTypeError(f"'{text}' ends before it begins")
    return low, high


def count(text: str) -> int:
    """A whole number, 1 or more."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of rows; give 1 or more")
    return int(text)


def _number(text: str) -> int:
    value = int(text, 16) if text[:2].lower() == "0x" else int(text, 10)
    if not 0 <= value < 1 << 52 or text != text.strip() or "_" in text or text[0] == "+":
        raise ValueError(text)
    return value
