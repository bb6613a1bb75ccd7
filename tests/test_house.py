# SPDX-License-Identifier: LGPL-2.1-or-later
"""The house rules that a machine can check: documents that tell the truth, files that stay readable."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

import pageowner
from pageowner.commands import COMMANDS, command_parser
from tests import deviations

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# What issue 2 allows to differ in a page's flags.
VOLATILE_FLAGS = set(
    "locked waiters referenced uptodate dirty lru active workingset writeback reclaim mlocked idle young "
    "lastcpupid".split()
)


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert not text or text.startswith("# SPDX-License-Identifier: LGPL-2.1-or-later\n")
    assert len(text.splitlines()) <= 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 80, node.name


def commands_shown(text: str) -> list[list[str]]:
    found = re.findall(r"^(?:\$ )?pageowner (.*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_in_the_documents_exist(page: Path) -> None:
    for name, *rest in commands_shown(page.read_text()):
        command_parser(name).parse_args(rest)


def test_readme_shows_every_command() -> None:
    shown = {words[0] for words in commands_shown((ROOT / "README.md").read_text())}
    assert shown == set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_architecture_names_every_folder() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    folders = {p.name for p in (ROOT / "src" / "pageowner").iterdir() if (p / "__init__.py").is_file()}
    assert set(re.findall(r"^\| `(\w+)/`", text, re.MULTILINE)) == folders


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## {pageowner.__version__} " in (ROOT / "CHANGELOG.md").read_text()


def test_deviations_are_a_table_that_tests_can_read() -> None:
    rows = deviations.load()
    assert rows["flags"].values == VOLATILE_FLAGS and rows["flags"].allows("6.1")
    assert rows["memcg"].allows("6.12") and not rows["memcg"].allows("6.1")
    assert all(row.why.endswith(".") and row.kernels for row in rows.values())
