# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers of one's own: the example of the documentation, by --layer and as an installed package; refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pageowner.kernel.target import Kernel
from pageowner.layers import thirdparty
from pageowner.layers.registry import LayerError, layer_classes
from pageowner.layers.thirdparty import load_layers
from pageowner.snapshot.scan import open_scan
from pageowner.sources import open_core

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "brd_layer.py"
GOOD = """
from pageowner.layers import Band, Layer

class Mine(Layer):
    word = "MINE_PAGE"
    band = Band.FALLBACK
    line = "MINE_PAGE"
"""


def example(folder: Path, text: str = EXAMPLE.read_text()) -> Path:
    """A copy that only its owner can write, where the checkout may be anybody's."""
    file = folder / "mine.py"
    file.write_text(text)
    file.chmod(0o644)
    return file


@pytest.fixture
def safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not root, whoever runs the tests."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def lines(scan: object, word: str) -> dict[int, str]:
    """Owner of each page of the layer *word*."""
    found = {}
    for section in scan.run():
        owners = section.owner_rows()
        for at in range(len(section.layer)):
            number = int(section.layer[at])
            if number < 255 and scan.by_number(number).word == word:
                frame = scan.by_number(number).owners.frame
                found[section.pages.section.start + at] = frame["owner"][int(owners[at])]
    return found


def truth(capture: object) -> dict[int, int]:
    """PFN -> index of the RAM disk's pages that the workload wrote."""
    pages = {}
    for line in capture.text("truth.txt").splitlines():
        words = dict(word.split("=", 1) for word in line.split()[1:])
        # A marker may also stand in the buffer that was written from: that page has another offset in it.
        if words.get("kind") == "brd" and words.get("page_off") == "0x0":
            pages[int(words["pfn"], 16)] = int(words["index"])
    return pages


def need_types(capture: Any) -> Kernel:
    """The capture's kernel, if it has the types of the driver, which is a module."""
    kernel = open_core(capture.core)
    if not kernel.has_member("struct brd_device", "brd_pages"):
        pytest.skip("the types of modules are not in the memory of this kernel (until 5.10)")
    return kernel


def test_the_example_names_the_pages_of_the_ram_disk(capture: object, tmp_path: Path, safe: None) -> None:
    wanted = truth(capture)
    if not wanted:
        pytest.skip("this capture was taken before the workload wrote to a RAM disk")
    kernel = need_types(capture)
    scan = open_scan(kernel, tuple(load_layers(example(tmp_path))))
    assert lines(scan, "RAMDISK_PAGE") == dict.fromkeys(wanted, "ram0")
    assert not [run.word for run in scan.runs if run.failed]


def test_an_installed_package_brings_a_layer(tmp_path: Path) -> None:
    (tmp_path / "acme_layer.py").write_text(GOOD)
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pageowner.layers]\nmine = acme_layer:Mine\n")
    code = "from pageowner.layers.registry import layer_classes; print([c.word for c in layer_classes()])"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert "'MINE_PAGE'" in run.stdout, run.stderr


def test_a_broken_installed_package_is_named_in_one_line(capture: object, tmp_path: Path) -> None:
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pageowner.layers]\nmine = acme_gone:Mine\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    run = subprocess.run(
        [sys.executable, "-m", "pageowner", "layers", "-c", str(capture.core)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 1
    assert "entry point mine (acme_gone:Mine)" in run.stderr and "Traceback" not in run.stderr
    assert run.stderr.count("\n") == 1


def test_the_command_line_takes_a_layer(capture: object, tmp_path: Path) -> None:
    wanted = truth(capture)
    if not wanted:
        pytest.skip("this capture was taken before the workload wrote to a RAM disk")
    need_types(capture)
    file, pfn = example(tmp_path), min(wanted)
    argv = ["report", "-c", str(capture.core), "--layer", str(file), "--pfn", str(pfn)]
    run = subprocess.run([sys.executable, "-m", "pageowner", *argv], capture_output=True, text=True)
    assert "\nRAMDISK_PAGE name:ram0\n" in run.stdout, run.stderr


REFUSED = {
    "no such file": (None, "No such file or directory"),
    "syntax": ("class Mine(:\n", "line 1: invalid syntax"),
    "import": ("\nimport nowhere_at_all\n", "line 2: ModuleNotFoundError: No module named 'nowhere_at_all'"),
    "raises": ("x = 1\n\nraise ValueError('so\\nit is')\n", "line 3: ValueError: so"),
    "nothing": ("from pageowner.layers import Layer\n", "it defines no subclass of pageowner.layers.Layer"),
    "no word": ("from pageowner.layers import Layer\nclass A(Layer): pass\n", "layer A has no `word`"),
    "line": (GOOD.replace('line = "M', 'line = "Y'), "its line does not begin with its word MINE_PAGE"),
    "template": (GOOD.replace('MINE_PAGE"\n', 'MINE_PAGE {a!r}"\n'), "only {column} and {column:x}"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_one_line(name: str, tmp_path: Path, safe: None) -> None:
    text, wanted = REFUSED[name]
    file = tmp_path / "missing.py" if text is None else example(tmp_path, text)
    with pytest.raises(LayerError) as refused:
        load_layers(file)
    message = str(refused.value)
    assert wanted in message and str(file) in message and "\n" not in message


def test_a_word_that_is_taken_is_refused(tmp_path: Path, safe: None) -> None:
    file = example(tmp_path, GOOD.replace("MINE_PAGE", "SLAB_PAGE"))
    with pytest.raises(LayerError, match="two layers use the word SLAB_PAGE"):
        layer_classes(tuple(load_layers(file)))


def test_imported_and_private_classes_are_no_layers_of_the_file(tmp_path: Path, safe: None) -> None:
    text = GOOD + "\nfrom pageowner.layers.vmalloc import Vmalloc\nclass _Base(Layer):\n    pass\n"
    assert [cls.word for cls in load_layers(example(tmp_path, text))] == ["MINE_PAGE"]


def owned_by(monkeypatch: pytest.MonkeyPatch, uids: dict[Path, int], modes: dict[Path, int]) -> None:
    """Let files seem to be of these owners and modes; the rest root's own, and root runs."""
    real = Path.stat

    def status(path: Path, follow_symlinks: bool = True) -> os.stat_result:
        values = list(real(path))
        values[0] = modes.get(path, 0o40755)
        values[4] = uids.get(path, 0)
        return os.stat_result(values)

    monkeypatch.setattr(Path, "stat", status)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fstat", lambda number: _fake(number, uids, modes))


_plain_fstat = os.fstat


def _fake(number: int, uids: dict[Path, int], modes: dict[Path, int]) -> os.stat_result:
    values = list(_plain_fstat(number))
    path = Path(os.readlink(f"/proc/self/fd/{number}"))
    values[0], values[4] = modes.get(path, 0o100644), uids.get(path, 0)
    return os.stat_result(values)


UNSAFE = {
    "another's file": ({"file": 1000}, {}, "others can write this file"),
    "group": ({}, {"file": 0o100664}, "others can write this file"),
    "world": ({}, {"file": 0o100646}, "others can write this file"),
    "another's folder": ({"folder": 1000}, {}, "others can write its directory"),
    "open folder": ({}, {"folder": 0o40777}, "others can write its directory"),
    "open parent": ({}, {"parent": 0o40777}, "others can write its directory"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_root_refuses_what_others_can_write(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids, modes, wanted = UNSAFE[name]
    file = example(tmp_path, GOOD)
    places = {"file": file, "folder": tmp_path, "parent": tmp_path.parent}
    owned_by(
        monkeypatch,
        {places[k]: v for k, v in uids.items()},
        {places[k]: v for k, v in modes.items()},
    )
    with pytest.raises(LayerError, match=wanted) as refused:
        load_layers(file)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o40755, 0o41777], ids=["closed", "sticky"])
def test_root_runs_what_only_root_can_write(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = example(tmp_path, GOOD)
    owned_by(monkeypatch, {}, {tmp_path: mode})
    assert [cls.word for cls in thirdparty.load_layers(file)] == ["MINE_PAGE"]


FAILING = """
from pageowner.kernel.page_type import HUGETLB
from pageowner.layers import Band, Layer

class Mine(Layer):
    word = "MINE_PAGE"
    band = Band.TYPED
    line = "MINE_PAGE"
    before = ("HUGETLB_PAGE",)

    def domain(self, heads):
        return heads.type == HUGETLB

    def select(self, heads, rows):
        raise RuntimeError("no idea")
"""


def test_a_layer_that_raises_costs_its_own_pages_only(capture: object, tmp_path: Path, safe: None) -> None:
    kernel = open_core(capture.core)
    without, scan = open_scan(kernel), open_scan(kernel, tuple(load_layers(example(tmp_path, FAILING))))
    huge = lines(without, "HUGETLB_PAGE")
    unknown = lines(scan, "UNKNOWN_PAGE")
    # They fall through to no other layer, and nobody else's change.
    assert unknown == dict.fromkeys(huge, "MINE_PAGE: failed (no idea)") and len(huge) >= 512
    assert lines(scan, "HUGETLB_PAGE") == {} and scan.partial and not without.partial
    for word in ("SLAB_PAGE", "ANON_PAGE", "FREE_PAGE"):
        assert lines(scan, word).keys() == lines(without, word).keys()


def test_a_layer_whose_needs_are_missing_sits_out(capture: object, tmp_path: Path, safe: None) -> None:
    text = GOOD.replace("Band, Layer", "Band, Layer, Needs") + (
        '    needs = Needs(members=("struct nowhere.a|struct nowhere.b",))\n'
        "    def walk(self):\n        raise AssertionError('asked all the same')\n"
    )
    scan = open_scan(open_core(capture.core), tuple(load_layers(example(tmp_path, text))))
    run = next(run for run in scan.runs if run.word == "MINE_PAGE")
    scan.walk()
    assert run.missing == "the kernel has no struct nowhere.a or struct nowhere.b"
    assert run.failed is None and not scan.partial
