# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds and boots real kernels under QEMU, runs the ground-truth workload, captures fixtures."""
