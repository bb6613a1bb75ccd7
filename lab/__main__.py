# SPDX-License-Identifier: LGPL-2.1-or-later
"""python3 -m lab: see README.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab import capture, kernels, packages
from lab.qemu import GuestError


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="lab", description="Real kernels, known pages.")
    commands = top.add_subparsers(dest="command", required=True)
    each = commands.add_parser("kernels", help="find or build the kernels")
    each.add_argument("versions", nargs="*", default=list(kernels.KERNELS))
    one = commands.add_parser("capture", help="boot a kernel and capture it")
    one.add_argument("name", choices=list(capture.VARIANTS))
    one.add_argument("-o", "--out", type=Path, required=True)
    two = commands.add_parser("fixture", help="filter and compress a capture")
    two.add_argument("capture", type=Path)
    two.add_argument("out", type=Path)
    pack = commands.add_parser("packages", help="install Debian packages, from another suite if need be")
    pack.add_argument("names", nargs="+")
    pack.add_argument("--suite", default="")
    return top


def main() -> int:
    options = parser().parse_args()
    try:
        if options.command == "kernels":
            for version in options.versions:
                print(version, capture.kernel_of(version).folder)
        elif options.command == "packages":
            packages.install(options.names, options.suite)
        elif options.command == "capture":
            capture.capture(options.name, options.out)
        else:
            from lab import fixture  # needs drgn and numpy, the others run before there is an environment

            fixture.make(options.capture, options.out)
    except GuestError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
