# SPDX-License-Identifier: LGPL-2.1-or-later
"""argparse with this program's manners: one-line errors and exit status 2."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from pageowner.errors import PageownerError

Arguments = argparse.Namespace


class UsageError(PageownerError):
    """The command line makes no sense."""

    exit_code = 2


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are raised, to be printed where all errors are."""

    def __init__(self, **keywords: Any) -> None:
        keywords.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **keywords)

    def error(self, message: str) -> NoReturn:
        """Raise ``UsageError`` instead of printing the usage and leaving."""
        raise UsageError(f"{message} (see '{self.prog} --help')")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but options may stand between the sources: ``diff A -n 5 B``."""
        return super().parse_intermixed_args(args, namespace)
