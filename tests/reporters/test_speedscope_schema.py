# SPDX-License-Identifier: LGPL-2.1-or-later
"""A speedscope file of a real kernel against the schema that speedscope publishes in its npm package."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pageowner.commands import main
from tests.commands.lines import SNAPSHOT
from tests.reporters.jsonschema import problems

PACKAGE = "speedscope@1.25.0"
SMALL = {"definitions": {"A": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}}}


def test_the_validator_sees_what_is_wrong() -> None:
    one = {"anyOf": [{"$ref": "#/definitions/A"}, {"const": "x"}]}
    assert not list(problems({"n": 1}, one, SMALL)) and not list(problems("x", one, SMALL))
    for wrong in ({}, {"n": "1"}, "y", [], None):
        assert list(problems(wrong, one, SMALL)), wrong
    numbers = {"type": "array", "items": {"type": "number"}}
    assert list(problems([1, "2"], numbers, {})) == ["$[1] is no number"]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("npm")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    subprocess.run(["npm", "pack", PACKAGE], cwd=place, check=True, capture_output=True, timeout=300)
    (packed,) = place.glob("*.tgz")
    with tarfile.open(packed) as archive:
        member = archive.extractfile("package/dist/release/file-format-schema.json")
        assert member is not None
        found: dict[str, Any] = json.load(member)
    return found


@pytest.mark.lab
def test_our_file_is_as_published(schema: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "memory.speedscope.json"
    assert main(["export", "-O", "speedscope", "-o", str(target), SNAPSHOT]) == 0
    document = json.loads(target.read_text())
    assert list(problems(document, schema, schema)) == []
    del document["profiles"][0]["weights"]
    assert list(problems(document, schema, schema))
