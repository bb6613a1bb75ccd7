# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m pageowner`` is the ``pageowner`` command."""

from pageowner.commands import entry

if __name__ == "__main__":
    entry()
