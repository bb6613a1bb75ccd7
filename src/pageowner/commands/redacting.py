# SPDX-License-Identifier: LGPL-2.1-or-later
"""``--redact``, the same on every command whose output is made to be given away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pageowner.commands.parser import Arguments, Parser, UsageError

if TYPE_CHECKING:
    from pageowner.snapshot.model import Snapshot


def add_redact_options(parser: Parser) -> None:
    """``--redact`` and ``--redact-key``; read them with ``redact_key``, apply them with ``redacted``."""
    group = parser.add_argument_group("names")
    group.add_argument(
        "--redact", action="store_true",
        help="replace names of processes, files, cgroups and the host by pseudonyms",
    )  # fmt: skip
    group.add_argument(
        "--redact-key", type=Path, metavar="FILE",
        help="--redact, with pseudonyms that are the same for all that is made with this secret file",
    )  # fmt: skip


def redact_key(args: Arguments) -> bytes | None:
    """The key for pseudonyms, "" for a random one; None when names are to stay. Raises ``UsageError``."""
    if args.redact_key is None:
        return b"" if args.redact else None
    key: bytes = args.redact_key.read_bytes()
    if len(key) < 8:
        raise UsageError(f"{args.redact_key} is too short for a secret: put 8 bytes or more in it")
    return key


def redacted(snapshot: Snapshot, key: bytes | None) -> Snapshot:
    """*snapshot*, without names if there is a *key*."""
    if key is None:
        return snapshot
    from pageowner.snapshot.redact import redact

    return redact(snapshot, key)
