# SPDX-License-Identifier: LGPL-2.1-or-later
"""``doctor``: each thing that can be missing is found, with what it costs and the command that fixes it."""

from __future__ import annotations

import gzip
import json
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from pageowner.commands import main
from pageowner.sources import examine, machine
from pageowner.sources.examine import Finding, Host, debug_package, examine_host
from tests.conftest import Capture

RELEASE = "6.1.0-50-amd64"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A machine that lacks nothing."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "release", lambda: RELEASE)
    monkeypatch.setattr(examine, "can_ask", lambda: False)
    files = {
        "proc/kcore": "core",
        "proc/kallsyms": "",
        "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 page_owner=on quiet\n",
        "proc/meminfo": "MemTotal: 2000000 kB\nMemAvailable:    1000000 kB\n",
        "proc/self/status": "Name:\tx\nCapEff:\t000001ffffffffff\n",
        "sys/kernel/btf/vmlinux": "",
        "sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
        f"boot/config-{RELEASE}": "CONFIG_PAGE_OWNER=y\n",
        "etc/os-release": 'NAME="Debian"\nID=debian\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Host(tmp_path)


def bad(host: Host) -> list[Finding]:
    return [finding for finding in examine_host(host) if finding.state != "ok"]


def test_nothing_is_missing(host: Host) -> None:
    assert bad(host) == []


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text(text)


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def no_page_owner(where: str, config: bytes) -> Callable[[Path], object]:
    """Neither on the command line nor in the configuration, in one of its two places."""
    name = "proc/config.gz" if where == "proc" else f"boot/config-{RELEASE}"

    def spoil(root: Path) -> None:
        (root / "proc/cmdline").unlink()
        (root / name).write_bytes(config)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "state", "what", "fix"),
    [
        (remove("proc/kcore"), "fails", "there is no /proc/kcore", "in a container: run on the host"),
        (write("proc/kcore", ""), "fails",
         "/proc/kcore is hidden by this container", "--privileged --pid=host"),
        (write("proc/self/status", "CapEff:\t00000000a80425fb\n"), "fails",
         "lacks CAP_SYS_RAWIO", "--privileged"),
        (write("sys/kernel/security/lockdown", "none integrity [confidentiality]\n"), "fails",
         "locked down (confidentiality)", "pageowner summary -c VMCORE"),
        (write("proc/meminfo", "MemAvailable: 50000 kB\n"), "fails",
         "only 48 MiB of memory", "dump the machine"),
        (remove("sys/kernel/btf/vmlinux"), "fails", "carries no BTF",
         f"apt install linux-image-{RELEASE}-dbg; then add -s /usr/lib/debug/boot/vmlinux-{RELEASE}"),
        (remove("proc/kallsyms"), "lacks", "carries no symbols",
         f"pageowner summary --kallsyms /boot/System.map-{RELEASE}"),
        (write("proc/cmdline", "quiet page_owner=off\n"), "lacks",
         "page_owner is off", "run update-grub, reboot"),
        (no_page_owner("boot", b"\n"), "lacks",
         "the kernel has no page_owner", "CONFIG_PAGE_OWNER=y"),
        (no_page_owner("proc", gzip.compress(b"# none\n")), "lacks",
         "the kernel has no page_owner", "CONFIG_PAGE_OWNER=y"),
    ],
)  # fmt: skip
def test_what_is_missing_is_found(
    host: Host, spoil: Callable[[Path], object], state: str, what: str, fix: str
) -> None:
    spoil(host.root)
    (finding,) = bad(host)
    assert finding.state == state and finding.cost
    assert what in finding.what and fix in finding.fix


def test_integrity_lockdown_is_no_obstacle(host: Host) -> None:
    write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")(host.root)
    assert bad(host) == []


def test_an_ordinary_user_gets_the_whole_path(host: Host, tmp_path: Path) -> None:
    program = tmp_path / "venv bin" / "pageowner"
    program.parent.mkdir()
    program.touch(0o755)
    (finding,) = bad(Host(host.root, 1000, (str(program), "summary", "--json")))
    assert finding.state == "fails" and "secure_path" in finding.cost
    assert finding.fix == f"sudo '{program}' summary --json"


def test_a_user_with_a_terminal_is_asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "can_ask", lambda: True)
    (finding,) = bad(Host(host.root, 1000))
    assert finding.state == "lacks" and "sudo will ask" in finding.cost


def test_run_as_a_module_stays_one(tmp_path: Path) -> None:
    words = machine.sudo_command([str(tmp_path / "__main__.py"), "summary"]).split()
    assert words[0] == "sudo" and words[-3:] == ["-m", "pageowner", "summary"]


@pytest.mark.parametrize(
    ("os_release", "words"),
    [
        ("ID=ubuntu\nID_LIKE=debian\n", "linux-image-6.1-dbgsym"),
        ("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n", "dnf debuginfo-install kernel-6.1"),
        ("ID=sles\n", "zypper install kernel-default-debuginfo"),
        ("ID=arch\n", "your distribution's debug package"),
    ],
)
def test_the_package_that_helps(os_release: str, words: str) -> None:
    assert words in debug_package(os_release, "6.1")


def test_a_core(capture: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", str(capture.core)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "pageowner.doctor/1"
    assert {finding["state"] for finding in document["findings"]} == {"ok"}
    release = capture.text("version.txt").split()[2]
    assert any(f"a kernel {release} that can be read" in finding["what"] for finding in document["findings"])


def test_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_bytes(b"hello")
    assert main(["doctor", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().out.split()[0] == "fails"
