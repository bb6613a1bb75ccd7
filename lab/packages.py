# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian packages that the lab needs: installed, from another suite of the machine's mirror if need be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Below the priority of what is installed (100): such a suite serves only what the others do not have.
PRIORITY = 50
TARGETS = "$(REPO_URI)|$(LABEL)"
# Where Debian's package debian-archive-keyring has the keys of all suites.
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def install(names: list[str], suite: str = "") -> None:
    """Install what is missing, as root; otherwise say which line would do it.

    suite: the Debian suite to add as an apt source when the machine's own sources do not have the packages.
    Raises SystemExit with one line, CalledProcessError when apt fails.
    """
    missing = [name for name in names if not version(name)]
    if not missing:
        return
    line = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        command = ["-m", "lab", "packages", *missing, *(["--suite", suite] if suite else [])]
        raise SystemExit(f"lab: packages are missing; run: sudo {sys.executable} {' '.join(command)}")
    if not installable(missing):
        _run(["apt-get", "update", "-q"])
        if suite and not installable(missing):
            add_suite(suite)
    _run(line)


def version(package: str) -> str:
    """The installed version of a Debian package, or the empty string."""
    query = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Version}", package]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    state, _, number = done.stdout.partition(" ")
    return number.strip() if state.startswith("ii") else ""


def installable(names: list[str]) -> bool:
    """Whether apt would install them from the sources that it knows."""
    line = ["apt-get", "install", "--simulate", "-q", "--no-install-recommends", *names]
    return subprocess.run(line, capture_output=True, check=False).returncode == 0


def add_suite(suite: str) -> None:
    """Make a Debian suite an apt source of this machine, pinned low: two files where apt keeps such ones.

    Raises SystemExit when not root, or as mirror().
    """
    if os.geteuid() != 0:
        raise SystemExit(f"lab: Debian's suite {suite} is no apt source of this machine; run as root")
    uri = mirror(_output(["apt-get", "indextargets", "--format", TARGETS, "Created-By: Packages"]))
    signed = f"Signed-By: {KEYRING}\n" if KEYRING.exists() else ""
    source = f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n{signed}"
    (folder("sourceparts") / f"pageowner-lab-{suite}.sources").write_text(source)
    pin = f"Package: *\nPin: release n={suite}\nPin-Priority: {PRIORITY}\n"
    (folder("preferencesparts") / f"pageowner-lab-{suite}").write_text(pin)
    _run(["apt-get", "update", "-q"])


def mirror(targets: str) -> str:
    """The address of the machine's own Debian mirror.

    targets: what `apt-get indextargets` prints in the format TARGETS. Raises SystemExit when no source is
    Debian's archive (its security archive and other distributions do not hold other suites).
    """
    for line in targets.splitlines():
        uri, _, label = line.partition("|")
        if label == "Debian":
            return uri
    raise SystemExit("lab: none of this machine's apt sources is Debian's archive; add one")


def folder(part: str) -> Path:
    """apt's folder for sources (`sourceparts`) or pins (`preferencesparts`)."""
    text = _output(["apt-config", "shell", "DIR", f"Dir::Etc::{part}/d"])
    return Path(text.partition("=")[2].strip().strip("'\""))


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _run(command: list[str]) -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=quiet)
