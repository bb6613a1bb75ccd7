# SPDX-License-Identifier: LGPL-2.1-or-later
"""Print every page_owner record, in the kernel's own form, with the line that says what the page is now."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from pageowner.commands.filters import add_filter_options, filter_of
from pageowner.commands.options import (
    add_layer_option,
    add_output_options,
    add_source_options,
    extra_layers,
    selection,
)
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser, UsageError
from pageowner.errors import SourceError


def add_arguments(parser: Parser) -> None:
    """The options of ``report``."""
    add_source_options(parser)
    group = parser.add_argument_group("what to print")
    group.add_argument("--mappings", action="store_true", help="a MAPPED line per process and range")
    group.add_argument("--per-page", action="store_true", help="a line per page of a mixed block")
    group.add_argument("--kernel-format", action="store_true", help="only what the kernel itself prints")
    group.add_argument("--freed", action="store_true", help="the last free of every record")
    group.add_argument("--paths", action="store_true", help="the path of each file at the end of its line")
    add_filter_options(parser)
    add_layer_option(parser)
    add_output_options(parser)


def run(args: Arguments) -> int:
    """Open the source and write the records."""
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        from pageowner.commands.finish import finish
        from pageowner.snapshot.store import is_snapshot
        from pageowner.sources.sniff import is_text

        if is_text(chosen):
            return _of_text(args, out)
        if chosen.kind == "path" and chosen.path is not None and is_snapshot(chosen.path):
            return _of_snapshot(chosen.path, args, out)
        from pageowner.reporters.report_text import write_report
        from pageowner.snapshot.report import Selection, report_tables
        from pageowner.snapshot.scan import open_scan
        from pageowner.snapshot.tables import remarks
        from pageowner.sources import open_source

        wanted = Selection(
            owners=not args.kernel_format,
            mappings=args.mappings and not args.kernel_format,
            per_page=args.per_page,
            paths=args.paths,
            freed=args.freed,
            visible_comm=out.isatty(),
            wanted=filter_of(args),
        )
        scan = open_scan(open_source(chosen), extra)
        write_report(report_tables(scan, wanted), out)
        return finish(remarks(scan), scan.partial)


def _of_snapshot(path: Path, args: Arguments, out: BinaryIO) -> int:
    """The same text as of the source that was recorded, as far as record keeps what it is made of."""
    from pageowner.commands.finish import finish
    from pageowner.reporters.report_text import write_report
    from pageowner.snapshot.recorded import recorded_tables
    from pageowner.snapshot.store import load_snapshot

    for name in ("mappings", "per_page", "paths", "freed"):
        if getattr(args, name):
            flag = name.replace("_", "-")
            raise SourceError(f"{path} is a snapshot, which does not hold what --{flag} needs")
    snapshot = load_snapshot(path)
    wanted, owners = filter_of(args), not args.kernel_format
    write_report(recorded_tables(snapshot, path, wanted, owners, visible=out.isatty()), out)
    return finish(snapshot.remarks, snapshot.partial)


def _of_text(args: Arguments, out: BinaryIO) -> int:
    """The same of a page_owner text: what it does not say is inferred, or not to be had."""
    from pageowner.commands.finish import finish
    from pageowner.ownertext.health import Health
    from pageowner.ownertext.rewrite import rewritten
    from pageowner.ownertext.source import open_text
    from pageowner.snapshot.text_chosen import TextChosen

    if args.freed:
        raise UsageError("a page_owner text does not say who freed its pages last; --freed needs a kernel")
    owners, health, wanted = not args.kernel_format, Health(), filter_of(args)
    chosen = TextChosen(args.source, wanted) if wanted else None
    with open_text(args.source) as text:
        pieces = health.cuts(text)
        for block in rewritten(pieces, owners, args.mappings and owners, chosen, visible=out.isatty()):
            out.write(block)
        problems = [*([text.problem] if text.problem else []), *health.problems]
    if not health.records:
        raise SourceError(f"{args.source} has no page_owner records")
    return finish(problems, partial=bool(problems))
