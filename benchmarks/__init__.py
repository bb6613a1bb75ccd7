# SPDX-License-Identifier: LGPL-2.1-or-later
"""What pageowner costs, beside other tools and beside merely reading the same memory: see README.md."""
