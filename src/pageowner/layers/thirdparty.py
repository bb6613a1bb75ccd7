# SPDX-License-Identifier: LGPL-2.1-or-later
"""``--layer FILE.py``: layers from a file of the user's own.

The file is Python and runs with the rights of whoever runs pageowner, which is often root. For root it is
refused where somebody else could have written it.
"""

from __future__ import annotations

import os
import stat
import sys
import traceback
from pathlib import Path
from types import ModuleType

from pageowner.layers.base import Layer
from pageowner.layers.registry import LayerError, check_layer

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
MOST_BYTES = 1 << 20


def load_layers(path: Path) -> list[type[Layer]]:
    """The layers that the file at *path* defines: its own subclasses of Layer, in order.

    Classes whose names begin with an underscore are taken for bases and left out.

    :raises LayerError: in one line, when the file cannot be read, is not safe for root, fails, or has none.
    """
    source = _read(path)
    module = ModuleType(f"pageowner_layer_{path.stem}")
    module.__file__ = str(path)
    # dataclasses and pickle look a class's module up here.
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise LayerError(f"--layer {path}: line {error.lineno}: {error.msg}") from error
    except Exception as error:  # anybody's code: what is wrong with it is said in one line
        raise LayerError(f"--layer {path}: {_where(error, path)}{_what(error)}") from error
    found = [cls for cls in vars(module).values() if _is_own(cls, module)]
    if not found:
        raise LayerError(f"--layer {path}: it defines no subclass of pageowner.layers.Layer")
    try:
        return [check_layer(cls) for cls in found]
    except LayerError as error:
        raise LayerError(f"--layer {path}: {error}") from error


def _is_own(cls: object, module: ModuleType) -> bool:
    return (
        isinstance(cls, type)
        and issubclass(cls, Layer)
        and cls.__module__ == module.__name__
        and not cls.__name__.startswith("_")
    )


def _read(path: Path) -> bytes:
    """The file's bytes; what is checked is what is read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise LayerError(f"--layer {path}: not a regular file")
            if os.geteuid() == 0:
                _refuse_unsafe(path, status)
            return file.read(MOST_BYTES)
    except OSError as error:
        raise LayerError(f"--layer {path}: {error.strerror or error}") from error


def _refuse_unsafe(path: Path, status: os.stat_result) -> None:
    if status.st_uid != 0 or status.st_mode & OTHERS_WRITE:
        raise LayerError(
            f"--layer {path}: others can write this file, and root would run it: "
            "chown root:root and chmod go-w it, or run as yourself"
        )
    # Both where the name is and where a symbolic link leads.
    folders = {*path.absolute().parents, *path.resolve().parents}
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        if _others_can_replace(folder.stat()):
            raise LayerError(
                f"--layer {path}: others can write its directory {folder}, and root would run it: "
                "move it to one that only root can write"
            )


def _others_can_replace(status: os.stat_result) -> bool:
    """Whether somebody but root can put another file in the place of root's. (Not in a sticky /tmp.)"""
    if status.st_uid != 0:
        return True
    return bool(status.st_mode & OTHERS_WRITE) and not status.st_mode & stat.S_ISVTX


def _where(error: BaseException, path: Path) -> str:
    """``line 7: `` of the file itself, where the error passed through it."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"line {lines[-1]}: " if lines else ""


def _what(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
