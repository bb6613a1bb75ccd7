# SPDX-License-Identifier: LGPL-2.1-or-later
"""Types and symbols of a kernel without its debug information: BTF, kallsyms, VMCOREINFO."""

from pageowner.symbols.attach import attach
from pageowner.symbols.table import SymbolTable

__all__ = ["SymbolTable", "attach"]
