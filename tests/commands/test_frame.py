# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line's frame: registry, usage errors, start-up cost, version."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pageowner import commands

HEAVY = ("numpy", "polars", "drgn", "rich", "zstandard")


def run(*argv: str, **keywords: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pageowner", *argv], capture_output=True, text=True, check=False, **keywords
    )


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_is_whole(name: str) -> None:
    module = commands.load(name)
    assert module.__doc__ and callable(module.run)
    assert f"usage: pageowner {name} " in commands.command_parser(name).format_help()


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, text in commands.COMMANDS.items():
        assert name in out and text in out


@pytest.mark.parametrize(
    "argv", [["--help"], ["report", "--help"], ["summary", "--help"], ["report", "--nope"]]
)
def test_parsing_imports_nothing_heavy(argv: list[str]) -> None:
    code = (
        "import sys; from pageowner.commands import main; status = main(sys.argv[1:]);"
        f"print('HEAVY', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_help_is_quick() -> None:
    """Processor time, which does not depend on what else the machine does."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.2


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "no command given; 'pageowner --help' lists them"),
        (["reprot"], "there is no command 'reprot'; did you mean 'pageowner report'?"),
        (["xyzzy"], "there is no command 'xyzzy'; 'pageowner --help' lists them"),
        (["/"], "'/' is a file, not a command; did you mean 'pageowner summary /'?"),
        (["report", "-k", "--demo"], "-k and --demo name different sources; give one of them"),
        (["report", "a", "-c", "b"], "a positional source and -c name different sources; give one of them"),
        (["report", "--pfn", "x"], "argument --pfn: 'x' is no PFN range; write 256-511, 0x100-0x1ff or 0x100"
                                   " (see 'pageowner report --help')"),
        (["report", "--pfn", "9-8"], "argument --pfn: '9-8' ends before it begins"
                                     " (see 'pageowner report --help')"),
        (["summary", "-n", "0"], "argument -n: '0' is no number of rows; give 1 or more"
                                 " (see 'pageowner summary --help')"),
        (["summary", "--nope"], "unrecognized arguments: --nope (see 'pageowner summary --help')"),
        (["--nope"], "unrecognized arguments: --nope (see 'pageowner --help')"),
    ],
)  # fmt: skip
def test_usage_errors(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err == f"pageowner: error: {line}\n"
    assert captured.out == ""


def test_version_names_what_a_bug_report_needs() -> None:
    done = run("--version")
    assert done.returncode == 0 and done.stderr == ""
    first_words = [line.split()[0] for line in done.stdout.splitlines()]
    assert first_words == ["pageowner", "python", "drgn", "numpy", "polars", "rich"]
    assert "libkdumpfile" in done.stdout


def test_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m pageowner report --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    ("redirection", "status", "line"),
    [
        (">/dev/full", 1, "pageowner: error: No space left on device\n"),
        (">&-", 0, ""),
    ],
)
def test_standard_output_that_takes_nothing(redirection: str, status: int, line: str) -> None:
    command = f"{sys.executable} -m pageowner --version {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, line)


def test_data_for_a_closed_standard_output(tmp_path: Path) -> None:
    command = f"{sys.executable} -m pageowner summary {tmp_path} >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "pageowner: error: standard output is closed; use -o FILE\n"
