# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes and wording of the probe's coverage, in one place. Other tests assert codes."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostReadError
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import AREAS, Coverage, Snapshot
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders import kinds
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import (
    daemon,
    file_survey,
    guest_files,
    guests,
    libvirt_reader,
    orphans,
    probe,
    processes,
    selinux,
    storage,
    system,
)
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.coverage import CoverageLog
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Options, Tools

from tests.unit.cases.test_e import contained_guest, in_a_container
from tests.unit.support import hosts
from tests.unit.support.captured import Tree
from tests.unit.support.sources import reason_codes

Change = t.Callable[[Tree], object]


@dataclass(frozen=True)
class Row:
    """An area that is not wholly read after a change of the host, with its reason."""

    area: str
    code: str
    why: str
    change: Change = lambda tree: None
    make: t.Callable[[], Tree] = hosts.el9
    root: bool = True
    tools: t.Callable[[], Tools] = Tools
    options: Options | None = None


def failing(error: Exception) -> t.Callable[[], Tools]:
    """A libvirt that gives this error."""

    def ask(*_arguments: t.Any) -> t.Iterator[t.Any]:
        yield from ()
        raise error

    return lambda: Tools(ask=ask)


def hanging() -> Tools:
    def ask(*_arguments: t.Any) -> t.Iterator[t.Any]:
        yield from ()
        time.sleep(60)

    return Tools(ask=ask)


def broken(path: str, number: int = 5) -> Change:
    """Each look at this path fails."""
    return lambda tree: tree.file(path, errno=number)


def gone(prefix: str) -> Change:
    def change(tree: Tree) -> None:
        for path in [path for path in tree.entries if path.startswith(prefix)]:
            del tree.entries[path]

    return change


def xen(tree: Tree) -> None:
    tree.file("/sys/hypervisor/type", "xen\n")
    tree.file("/proc/xen/capabilities", "control_d\n")


def asleep(tree: Tree) -> None:
    gone("/proc/900")(tree)
    gone("/run/libvirt/qemu/autostarted")(tree)


def no_socket(tree: Tree) -> None:
    gone("/proc/900")(tree)
    gone("/run/libvirt/libvirt-sock")(tree)


def hidden(tree: Tree) -> None:
    hosts.process(tree, 51, None, None, ("",))
    tree.file("/proc/51/cmdline", "")
    tree.file("/proc/51/comm", errno=13)


def foreign_status(tree: Tree) -> None:
    tree.file("/run/libvirt/qemu/web.xml", hosts.status(), uid=107)


def unresolved_volume(tree: Tree) -> None:
    disk = "<source pool='p1' volume='unit:0:0:1'/>"
    tree.file(
        "/run/libvirt/qemu/web.xml", hosts.status(disk=disk).replace("type='file' device", "type='volume' device")
    )


def unresolved_device(tree: Tree) -> None:
    device = "<hostdev mode='subsystem' type='pci'><source><address bus='6' slot='2'/></source></hostdev>"
    tree.file("/run/libvirt/qemu/web.xml", hosts.status(more=device), mode=0o600)


def other_format(tree: Tree) -> None:
    text = hosts.status().replace("<backingStore/>", "").replace("type='qcow2'", "type='qed2'")
    tree.file("/run/libvirt/qemu/web.xml", text)


def many_labels(tree: Tree) -> None:
    """As many labels of files as the policy is not asked about."""
    disks = "".join(
        f"<disk type='file' device='disk'><source file='/data/{number}'/><target dev='vd{number}'/></disk>"
        for number in range(400)
    )
    for number in range(400):
        tree.file(f"/data/{number}", label=f"system_u:object_r:svirt_image_t:s0:c{number},c{number + 1}")
    tree.file("/run/libvirt/qemu/web.xml", hosts.status(more=disks))


def many_snapshots(tree: Tree) -> None:
    for number in range(orphans.MAX_SNAPSHOTS + 1):
        tree.file(f"{orphans.LIB}/snapshot/web/{number}.xml", uid=107)


def many_entries(tree: Tree) -> None:
    entries = "menuentry 'Linux' {\n\tlinux /vmlinuz root=UUID=1 ro\n}\n" * 1001
    tree.file("/boot/grub2/grub.cfg", entries)


def own_storage() -> Tree:
    """A guest in a container, on storage that the host lacks."""
    tree = contained_guest()
    mounts = "90 89 0:70 / / rw - overlay overlay rw\n91 90 0:49 / /var/lib/libvirt/images rw - nfs4 filer:/vol rw\n"
    tree.file(f"/proc/{hosts.PID}/mountinfo", mounts)
    return tree


def own_chain() -> Tree:
    tree = contained_guest()
    tree.file("/run/libvirt/qemu/web.xml", hosts.status().replace("<backingStore/>", ""), mode=0o600)
    return tree


def with_live_xml(tree: Tree) -> None:
    """libvirt's answer has what only root may read in its files."""
    tree.libvirt[1]["live"] = hosts.domain(live=True)


def broken_guest(tree: Tree) -> None:
    tree.libvirt.insert(2, BROKEN_XML)


def hiding() -> Tree:
    """A container that does not show its files."""
    tree = in_a_container(None)
    gone("/proc/900/root")(tree)
    tree.file("/proc/900/root", errno=13)
    return tree


NOT_LISTED = {"uuid": hosts.UUID[:-1] + "2", "name": "odd", "state": "shutoff", "active": False, "persistent": True}
BROKEN_XML = {**NOT_LISTED, "inactive": "<guest/>"}
NO_FILES = Options(timeout=5, files=False)

ROWS = (
    # -- what does not exist here
    Row("libvirt", "no_libvirt", "no libvirt daemon for QEMU is installed", make=hosts.bare),
    Row("xen", "no_xen", "the host does not run Xen"),
    Row(
        "selinux",
        "apparmor",
        "AppArmor is in force here, not SELinux. To change over, evacuate the guests, install selinux-policy-default "
        "and selinux-basics, and run svirt.fleet.harden",
        make=hosts.apparmor,
    ),
    Row("orphans", "selinux_off", "SELinux is off on this host", gone("/sys/fs/selinux")),
    # -- what was not asked for
    Row("boot", "not_asked_for", "not asked for", options=NO_FILES),
    Row("xen", "xl_not_asked", "xl was not asked", xen),
    # -- not root
    Row("selinux", "not_root", "only root may ask the loaded policy", root=False),
    Row(
        "processes",
        "not_root",
        "the probe did not run as root: programs of others are known by their names only",
        root=False,
    ),
    Row("guests", "not_root", "only root may read /run/libvirt/qemu", root=False),
    Row(
        "images",
        "not_root",
        "the probe did not run as root: what libvirt remembers of files cannot be read",
        root=False,
    ),
    Row("orphans", "not_root", "the probe did not run as root", with_live_xml, root=False),
    # -- SELinux and processes
    Row("selinux", "unreadable", "/etc/selinux/config: Input/output error", broken("/etc/selinux/config")),
    Row(
        "selinux",
        "boolean_unread",
        "boolean virt_use_nfs cannot be read",
        broken("/sys/fs/selinux/booleans/virt_use_nfs"),
    ),
    Row("selinux", "too_many_labels", "the policy was asked for 300 of 402 labels", many_labels),
    Row("processes", "processes_hidden", "1 processes could not be looked at", hidden),
    # -- Xen
    Row(
        "xen",
        "flask_unread",
        "xl getenforce: exit status 1, 'no such command'",
        xen,
        tools=lambda: Tools(run_command=lambda _words: (1, "", "no such command")),
    ),
    # -- libvirt
    Row("libvirt", "no_daemon", "no libvirt daemon runs and no socket would start one", no_socket),
    Row(
        "libvirt",
        "daemon_asleep",
        "libvirtd has not run since the host booted; starting it would start guests",
        asleep,
    ),
    Row("libvirt", "timed_out", "libvirt: no answer within 0.2 s", tools=hanging, options=Options(timeout=0.2)),
    Row("libvirt", "no_binding", "libvirt: no", tools=failing(HostReadError("no", "no_binding"))),
    Row(
        "libvirt",
        "unreadable",
        "/etc/libvirt/qemu.conf: Permission denied",
        broken("/etc/libvirt/qemu.conf", 13),
    ),
    Row(
        "guests",
        "guests_in_container",
        "libvirt's daemon keeps its guests in files of its own container",
        make=lambda: in_a_container(None),
        tools=failing(OSError(111, "no")),
    ),
    Row(
        "libvirt",
        "host_files_unread",
        "whether libvirtd (pid 900) reads the host's files, or those of a container, is not known",
        make=hiding,
    ),
    # -- boot entries
    Row("boot", "boot_files_unread", "/boot/grub2/grub.cfg: Permission denied", broken("/boot/grub2/grub.cfg", 13)),
    Row(
        "boot",
        "boot_text_unclear",
        "/boot/grub2/grub.cfg: line 2: elif or else or fi is missing at the end",
        lambda tree: tree.file("/boot/grub2/grub.cfg", "if true; then\n"),
    ),
    Row("boot", "too_many_entries", "only 1000 of 1003 boot entries are kept", many_entries),
    Row(
        "boot",
        "no_boot_entry",
        "no GRUB configuration and no boot loader entries were found",
        gone("/boot"),
    ),
    # -- guests and their files
    Row("guests", "guest_unread", "a guest could not be read wholly: expected <domain>, found <guest>", broken_guest),
    Row("images", "guest_unread", "files of guests that could not be read wholly are not known", broken_guest),
    Row(
        "orphans",
        "guest_unread",
        "guests could not be read wholly, so they may own files that look ownerless",
        broken_guest,
    ),
    Row(
        "guests",
        "status_unread",
        "/run/libvirt/qemu/web.xml: the file is not root's",
        foreign_status,
        tools=failing(OSError(111, "no")),
    ),
    Row(
        "images",
        "volume_unresolved",
        "volume 'unit:0:0:1' of pool 'p1' leads to no file or device",
        unresolved_volume,
    ),
    Row(
        "images",
        "device_unresolved",
        "the pci device '0000:06:02.0' leads to no node in /dev",
        unresolved_device,
    ),
    Row("images", "file_unread", f"{hosts.IMAGE}: Input/output error", broken(hosts.IMAGE)),
    Row("images", "chain_in_container", "guest 'web': backing chains in a container were not followed", make=own_chain),
    Row(
        "storage",
        "storage_in_container",
        f"{hosts.IMAGE}: it lies in a container, on storage that the host lacks",
        make=own_storage,
    ),
    Row(
        "images",
        "format_not_followed",
        f"backing chain of {hosts.BASE}: format 'qed2' is not followed",
        other_format,
    ),
    Row(
        "images",
        "too_many_snapshots",
        "/var/lib/libvirt/qemu/snapshot/web: only 2000 snapshots were read",
        many_snapshots,
    ),
    Row("storage", "unreadable", "/proc/self/mountinfo: Input/output error", broken("/proc/self/mountinfo")),
)


def looked(row: Row) -> Snapshot:
    tree = row.make()
    row.change(tree)
    return hosts.look(tree, root=row.root, tools=row.tools(), options=row.options)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.area}-{row.code}")
def test_reasons_read_so(row: Row) -> None:
    entry = looked(row).coverage[row.area]
    assert row.code in entry.codes
    assert f"; {row.why}; " in f"; {entry.why}; "


def test_no_reason_is_left_out() -> None:
    """How a child ends is in test_deadline.py."""
    made = reason_codes(
        *(kinds, daemon, file_survey, guest_files, guests, libvirt_reader, orphans, probe, processes, selinux),
        *(storage, system),
    )
    assert orphans._TOO_MANY.text == "only 50000 files were looked at"
    assert made - {row.code for row in ROWS} == {"too_many_files"}


def test_an_area_names_each_kind_of_reason_and_words_eight() -> None:
    log = CoverageLog()
    log.unknown("images", *(Reason(f"code{number // 5}", f"{number}") for number in range(10)), None)
    log.unknown("images", Reason("code9", "1"), Reason("code0", "0"))
    assert log.result()["images"] == Coverage(
        "unknown", "0; 1; 2; 3; 4; 5; 6; 7 and 2 more", ["code0", "code1", "code9"]
    )
    assert {area for area, entry in log.result().items() if entry == Coverage("ok")} == {*AREAS} - {"images"}
