# SPDX-License-Identifier: LGPL-2.1-or-later
"""An fsck of memory: rules that hold on every healthy kernel, a file per subject.

Each check is a function from a :class:`~pageowner.snapshot.checks.view.View` (one section) or from a scan
(all of memory) to :class:`~pageowner.snapshot.checks.view.Findings`. Only what must hold is a rule: what may
differ for a moment on a running kernel, or in a block that was split or freed in parts, is none.
"""
