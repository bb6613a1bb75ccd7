# SPDX-License-Identifier: LGPL-2.1-or-later
"""As much of JSON Schema (draft 7) as the schema of speedscope files uses; other keywords are errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "number": (int, float), "boolean": (bool,),
}  # fmt: skip
_KNOWN = {
    "$schema", "$ref", "definitions", "title", "type", "properties", "required", "items", "anyOf", "const",
    "enum",
}  # fmt: skip


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> Iterator[str]:
    """What of *value* is not as *schema*, a part of *root*, says; a line each."""
    assert schema.keys() <= _KNOWN, schema.keys() - _KNOWN
    if "$ref" in schema:
        yield from problems(value, root["definitions"][schema["$ref"].rpartition("/")[2]], root, at)
        return
    if "type" in schema and not isinstance(value, _TYPES[schema["type"]]):
        yield f"{at} is no {schema['type']}"
        return
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield f"{at} is {value!r}"
    if isinstance(value, dict):
        yield from (f"{at} lacks {name}" for name in schema.get("required", ()) if name not in value)
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from problems(value[name], part, root, f"{at}.{name}")
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from problems(item, schema["items"], root, f"{at}[{index}]")
    choices = [list(problems(value, choice, root, at)) for choice in schema.get("anyOf", ())]
    if choices and all(choices):
        yield min(choices, key=len)[0]
