# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entries start this host's system: known, known not to, and not known."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import BootEntry
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.files import BootHost
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.ownership import (
    is_tool,
    root_of,
    says_other,
    settle,
)

RUNNING = BootHost("BOOT_IMAGE=/vmlinuz root=UUID=aa ro", root_source="/dev/vda1")


def entry(arguments: str, own: bool | None = True) -> BootEntry:
    return BootEntry("grub.cfg", "x", arguments, own=own)


@pytest.mark.parametrize(
    ("arguments", "own", "expected"),
    [
        ("root=UUID=aa ro", True, True),
        ("root=UUID=aa ro", None, True),  # what it is called does not matter
        ("root=/dev/vda1", True, True),
        ("root=UUID=AA", True, None),  # the same to the kernel, perhaps
        ("root=UUID=bb", True, False),
        ("root=/dev/vdb1", True, False),
        ("root=LABEL=x", True, None),
        ("root=LABEL=x", None, False),
        ("root=/dev/mapper/vg-root", True, None),
        ("quiet", True, True),
        ("root=UUID=aa", False, False),
        ("root=UUID=bb root=UUID=aa", True, True),  # the last counts
        ("quiet -- root=UUID=bb", True, True),
    ],
)
def test_roots(arguments: str, own: bool | None, expected: bool | None) -> None:
    assert [item.own for item in settle([entry("root=UUID=aa"), entry(arguments, own)], RUNNING)] == [True, expected]


def test_devices_decide_before_names() -> None:
    host = BootHost(
        RUNNING.cmdline, root_source="/dev/vda1", roots={"LABEL=x": True, "UUID=cc": True, "LABEL=y": False}
    )
    entries = [entry("root=LABEL=x"), entry("root=UUID=cc"), entry("root=LABEL=y")]
    assert [item.own for item in settle(entries, host)] == [True, True, False]


def test_where_no_entry_is_known_to_be_this_hosts_the_first_one_is_judged() -> None:
    host = BootHost("root=/dev/mapper/other")
    entries = [entry("root=ZFS=a"), entry("root=ZFS=a single"), entry("root=ZFS=b"), entry("root=LABEL=x", own=None)]
    assert [item.own for item in settle(entries, host)] == [True, True, None, False]


def test_arguments_that_are_not_known_may_be_this_hosts() -> None:
    unknown = BootEntry("a.conf", "x", "ro", unresolved=["kernelopts"])
    assert settle([unknown], RUNNING)[0].own is None


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("/boot/memtest86+x64.bin", True),
        ("/memtest86+", True),
        ("/elf-memtest86+-5.31", True),
        ("/boot/mt86plus", True),
        ("/ipxe.lkrn", True),
        ("/EFI/tools/shellx64.efi", True),
        ("\\EFI\\Microsoft\\Boot\\bootmgfw.efi", True),
        ("/boot/vmlinuz-5.14.0", False),
        ("/vmlinuz-6.12.107+deb13-cloud-amd64", False),
        ("/boot/Image", False),
        ("/EFI/Linux/6.12.efi", False),
        ("/boot/vmlinuz-memtest", False),
    ],
)
def test_tools(kernel: str, expected: bool) -> None:
    assert is_tool(kernel) is expected


@pytest.mark.parametrize(
    ("title", "arguments", "classes", "os_ids", "expected"),
    [
        ("Debian", "root=LABEL=x", ["debian", "gnu-linux", "os"], ("debian",), False),
        ("Proxmox", "root=LABEL=x", ["proxmox"], ("debian",), False),
        ("RHEL", "root=LABEL=x", ["red"], ("rhel", "fedora"), False),
        ("Leap", "root=LABEL=x", ["opensuse"], ("opensuse-leap", "suse", "opensuse"), False),
        ("Mint", "root=LABEL=x", ["ubuntu"], ("linuxmint", "ubuntu", "debian"), False),
        ("x", "root=LABEL=x", ["fedora"], ("debian",), True),
        ("x", "root=LABEL=x", ["fedora"], (), False),  # an unknown host has no other
        ("Arch (on /dev/nvme0n1p3)", "root=LABEL=x", [], ("debian",), True),
        ("Rescue>Arch (on /dev/sda2)>a", "root=LABEL=x", [], ("debian",), True),
        ("x", "boot=live components", [], ("debian",), True),
        ("x", "root=live:CDLABEL=x rd.live.image", [], ("debian",), True),
        ("x", "inst.repo=cdrom", [], ("debian",), True),
    ],
)
def test_texts_that_name_another_system(
    title: str, arguments: str, classes: list[str], os_ids: tuple[str, ...], expected: bool
) -> None:
    assert says_other("/vmlinuz", title, arguments, classes, os_ids) is expected


def test_the_last_root_counts() -> None:
    assert root_of("root=a ro root=b") == "b"
    assert root_of("ro") == ""
