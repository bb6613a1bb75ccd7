# SPDX-License-Identifier: LGPL-2.1-or-later
"""``pageowner top``: a child process scans, this one shows. Only ``app`` and ``screens`` need textual."""
