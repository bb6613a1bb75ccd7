# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the layers' tests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.layers.painted import Painted, paint


@pytest.fixture(scope="session")
def painted(capture: Any) -> Painted:
    """The capture, scanned once per session."""
    return paint(capture.core)
