# SPDX-License-Identifier: LGPL-2.1-or-later
"""``pageowner --version``: all that a bug report needs."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from pageowner import __version__


def version_text() -> str:
    """One line per component, pageowner first."""
    from drgn.cli import version_header

    lines = [f"pageowner {__version__}", f"python {platform.python_version()}"]
    lines.append(version_header().splitlines()[0])
    lines += [f"{name} {_version(name)}" for name in ("numpy", "polars", "rich")]
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
