# SPDX-License-Identifier: LGPL-2.1-or-later
"""All that a source is asked, in one process: also inside a guest, where starting Python takes half a minute.

    answers.py OUT [source options of pageowner]

OUT gets a JSON object: the words of each command -> [exit status, standard output, standard error].
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

# What takes long to import in an emulated guest is there before the first process is made.
import pageowner.snapshot.tables
import pageowner.sources.opening  # noqa: F401
from pageowner.commands import main

Answer = tuple[int, str, str]
# All owners: the balance is compared row by row.
SUMMARY = ("summary", "--json", "-n", "1000000")
REPORT = ("report", "--mappings")
FIXED = (SUMMARY, REPORT, ("check",), ("doctor", "--json"))
# Pages of these kinds are explained: typed, walked, mapped, of a file in memory.
EXPLAINED = ("SLAB_PAGE", "PAGE_TABLE_PAGE", "ANON_PAGE", "SHMEM_PAGE")
RECORD = re.compile(r"^(?P<line>(?P<word>[A-Z_]+_PAGE)\b.*)\n(?:MAPPED .*\n)*PFN (?P<pfn>\w+) ", re.M)


@contextmanager
def into(file: IO[bytes], fd: int) -> Iterator[None]:
    """What is written to *fd* meanwhile goes to *file*."""
    kept = os.dup(fd)
    os.dup2(file.fileno(), fd)
    try:
        yield
    finally:
        os.dup2(kept, fd)
        os.close(kept)


def run(words: tuple[str, ...], source: list[str]) -> int:
    status = main([*words, *source])
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def apart(words: tuple[str, ...], source: list[str]) -> int:
    """The same in a process of its own: QEMU serves one connection at a time, as long as a process lives, and
    a live source limits the memory of the process that reads it."""
    child = os.fork()
    if not child:
        os._exit(run(words, source))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ask(words: tuple[str, ...], source: list[str]) -> Answer:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with into(out, 1), into(err, 2):
            status = apart(words, source)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return status, texts[0], texts[1]


def last_of_kinds(report: str) -> dict[str, tuple[int, str]]:
    """Kind -> PFN and owner line of the last record of each of EXPLAINED: of a long-lived part of memory."""
    found = {match["word"]: (int(match["pfn"], 0), match["line"]) for match in RECORD.finditer(report)}
    return {word: found[word] for word in EXPLAINED if word in found}


def answers(source: list[str]) -> dict[str, Answer]:
    found = {" ".join(words): ask(words, source) for words in FIXED}
    for word, (pfn, _) in last_of_kinds(found[" ".join(REPORT)][1]).items():
        found[f"explain {word}"] = ask(("explain", f"0x{pfn:x}"), source)
    return found


if __name__ == "__main__":
    with open(sys.argv[1], "w") as file:
        json.dump(answers(sys.argv[2:]), file)
