# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``html``, ``flamegraph``, ``treemap`` and ``map`` have in common."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import BinaryIO

from pageowner.commands.filters import OPTIONS, add_filter_options, filter_of
from pageowner.commands.options import (
    add_layer_option,
    add_output_options,
    add_source_options,
    extra_layers,
    selection,
)
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser, UsageError
from pageowner.sources.selection import SourceSelection


def add_picture_options(parser: Parser, since: bool) -> None:
    """The source, the filters, the output, and (with *since*) ``--since``."""
    add_source_options(parser)
    if since:
        group = parser.add_argument_group("what to draw")
        group.add_argument(
            "--since", type=Path, metavar="OLD",
            help="a snapshot or dump of before: the flame graph shows growth in red and shrinkage in blue",
        )  # fmt: skip
    add_filter_options(parser)
    add_layer_option(parser)
    add_output_options(parser)


def refuse_terminal(args: Arguments, out: BinaryIO) -> None:
    """A page is for a browser. Raises ``UsageError`` when it would go to a terminal."""
    if args.output is None and out.isatty():
        name = args.source.name if args.source else "memory"
        raise UsageError(f"this is a page for a browser: give it a name, with -o {name}.html")


def source_text(chosen: SourceSelection) -> str:
    """How *chosen* is named on a command line, quoted for a shell."""
    more = [word for flag, path in (("-s", chosen.symbols), ("--kallsyms", chosen.kallsyms)) if path
            for word in (flag, _named(path))]  # fmt: skip
    named = {
        "path": [_named(chosen.path)],
        "core": ["-c", _named(chosen.path)],
        "qemu": ["--qemu", str(chosen.address)],
        "demo": ["--demo"],
        "kernel": ["-k"],
    }
    return shlex.join([*named[chosen.kind], *more])


def _named(path: Path | None) -> str:
    """*path* so that it is taken for no option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") and text != "-" else text


def only_words(args: Arguments) -> tuple[str, ...]:
    """The filter options that were given, each as one word."""
    words: list[str] = []
    for option in OPTIONS:
        value = getattr(args, option.flag[2:].replace("-", "_"), None)
        for one in ([] if value is None else [value] if option.once else value):
            text = f"{one[0]}-{one[1]}" if isinstance(one, tuple) else f"{one:g}" if option.once else str(one)
            words.append(f"{option.flag}={text}")
    return tuple(words)


def write_pictures(args: Arguments, views: tuple[str, ...], by: str = "kind") -> int:
    """Read the source and write the page with *views*; the exit status comes back."""
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        refuse_terminal(args, out)
        from pageowner.commands.finish import finish
        from pageowner.errors import SourceError
        from pageowner.reporters.html.document import Request, document
        from pageowner.reporters.html.page import write_page
        from pageowner.snapshot.reading import read_everything, read_snapshot

        wanted, old = filter_of(args), getattr(args, "since", None)
        if views == ("flame",) or views == ("treemap",):
            snapshot = read_snapshot(chosen, extra, wanted=wanted)
        else:
            snapshot = read_everything(chosen, extra, by=["place", "obstacle"], wanted=wanted)
        if views == ("map",) and not snapshot.pages.height:
            raise SourceError("this source does not say where its pages are: record it anew, or give a core")
        since = read_snapshot(SourceSelection("path", path=old), extra, wanted=wanted) if old else None
        request = Request(views, source_text(chosen), since, str(old or ""), only_words(args), by)
        write_page(document(snapshot, request), out)
        return finish(snapshot.remarks, snapshot.partial)
