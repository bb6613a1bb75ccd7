# SPDX-License-Identifier: LGPL-2.1-or-later
"""Types and symbols of a kernel without its debug information: BTF, kallsyms, VMCOREINFO."""

from pageowner.symbols.attach import attach
from pageowner.symbols.table import SymbolTable
from pageowner.symbols.vmcoreinfo import Vmcoreinfo, read_vmcoreinfo

__all__ = ["SymbolTable", "Vmcoreinfo", "attach", "read_vmcoreinfo"]
