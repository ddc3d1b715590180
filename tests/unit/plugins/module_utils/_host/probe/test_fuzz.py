# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated files of a host: each is read without a crash or a hang, and a guest without confinement never passes.

The seeds are captures of a real host. Each file is mutated by itself, beside a QEMU whose process runs unconfined, or
has a label that cannot be read. Errors that no reader foresaw are raised.
"""

from __future__ import annotations

import json
import random
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import decode_snapshot, encode
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot

from tests.unit.support import hosts
from tests.unit.support.captured import Tree
from tests.unit.support.fuzzing import CASES, SOAKING, Cases, mutated

CAPTURED: dict[str, t.Any] = json.loads(
    (Path(__file__).parent / "fixtures" / "kvm1" / "manifest.json").read_text(encoding="utf-8")
)
PROC = f"/proc/{hosts.PID}"
STATUS, DEFINITION = "/run/libvirt/qemu/web.xml", "/etc/libvirt/qemu/web.xml"
POOL = "/etc/libvirt/storage/p1.xml"
SNAPSHOT = "/var/lib/libvirt/qemu/snapshot/web/s1.xml"
SNAPSHOT_HEAD = (
    "<domainsnapshot><name>s1</name><memory snapshot='external' file='/m'/><disks><disk name='vda'>"
    "<source file='/o'/></disk></disks>"
)
#: At least one of these does not pass while a QEMU runs unconfined.
CONFINED = ("GST-001", "GST-002", "GST-010")

XML = (
    *("<", ">", "/>", "'", '"', "&", "&#10;", "&#0;", "<!--", "-->", "]]>", "<![CDATA[", "<!DOCTYPE x>", "\0", "\n"),
    *("<disk type='block'>", "<source file='/x'/>", "<source dev='/dev/sdb'/>", "<backingStore>", "</domain>"),
    *("<seclabel type='none'/>", "<seclabel model='selinux' type='static'><label>x</label></seclabel>", "pid='1'"),
    *("<hostdev mode='subsystem' type='pci'>", "<address domain='0x' bus='9999999999999999'/>", "relabel='no'"),
    *(
        "<tpm><backend type='emulator'/></tpm>",
        "id='-1'",
        "type='lxc'",
        "<domain>",
        "99999999999999999999",
        "é",
        "\ud800",
    ),
)
LINES = ("\n", " ", "\t", "\0", "0", "-1", "9" * 400, ":", "::", "/", "(", ")", "Uid:", "btime ", "x" * 5000, "é", "\\")
MOUNT = (
    *(
        "\n",
        " ",
        " - ",
        "nfs4",
        "ceph",
        "fuse.x",
        "overlay",
        "autofs",
        "seclabel",
        "context=",
        '"',
        ",",
        ":/",
        "[",
        "]",
    ),
    *(
        "\\040",
        "\\",
        "/",
        "/var/lib/libvirt/images",
        "a:/b",
        "//s/x",
        "x@y.z=/",
        "0:60",
        "mon1,mon2:/p",
        "=",
        "\0",
        "é",
    ),
)
CONFIG = ("=", '"', "'", "\n", "#", "SELINUX=", "disabled", " ", "\0", "system_u:object_r:x_t:s0", ":", "é", "x" * 300)


def captured(path: str) -> str:
    text: str = CAPTURED[path]["text"]
    return text


def live_status() -> str:
    """The captured status file of a guest, as that of this host's guest, without most of QEMU's capabilities."""
    text = captured("/run/libvirt/qemu/db1.xml")
    text = re.sub(r"\s*<flag name='[^']*'/>", "", text)
    (name,) = set(re.findall(r"<name>([^<]*)</name>", text))
    text = re.sub(r"<uuid>[^<]*</uuid>", f"<uuid>{hosts.UUID}</uuid>", text)
    text = re.sub(r"(<domstatus [^>]*)pid='\d+'", rf"\1pid='{hosts.PID}'", text)
    return text.replace(name, "web")


SEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    STATUS: (live_status(), XML),
    DEFINITION: (next(item["inactive"] for item in CAPTURED["libvirt"] if "inactive" in item), XML),
    POOL: ("<pool type='iscsi'><name>p1</name><source><host name='h'/><device path='iqn.x'/></source></pool>", XML),
    SNAPSHOT: (f"{SNAPSHOT_HEAD}{hosts.domain()}</domainsnapshot>", XML),
    "/proc/self/mountinfo": (
        captured("/proc/self/mountinfo") + "50 28 0:60 / /mnt rw - nfs4 filer:/vol rw,seclabel,vers=4.2\n",
        MOUNT,
    ),
    "/var/lib/nfs/etab": (captured("/var/lib/nfs/etab"), MOUNT),
    f"{PROC}/stat": (captured("/proc/783/stat").replace("783", str(hosts.PID), 1), LINES),
    f"{PROC}/status": (captured("/proc/783/status"), LINES),
    f"{PROC}/cgroup": (captured("/proc/783/cgroup"), LINES),
    f"{PROC}/cmdline": (captured("/proc/783/cmdline"), (*LINES, "-name", "-machine", "none", "guest=", "-uuid")),
    "/proc/stat": (captured("/proc/stat"), LINES),
    "/proc/cmdline": (captured("/proc/cmdline"), (*LINES, "selinux=0", "enforcing=0", "security=")),
    "/etc/passwd": (captured("/etc/passwd"), LINES),
    "/etc/group": (captured("/etc/group"), LINES),
    "/etc/os-release": (captured("/etc/os-release"), CONFIG),
    "/etc/selinux/config": (captured("/etc/selinux/config"), CONFIG),
    "/etc/libvirt/qemu.conf": (captured("/etc/libvirt/qemu.conf")[:4000], CONFIG),
    "/sys/kernel/security/lsm": ("lockdown,capability,yama,selinux", (*CONFIG, ",", "apparmor")),
    "/run/libvirt/qemu/driver.pid": ("900", LINES),
    **{
        f"/etc/selinux/targeted/contexts/{name}": (captured(f"/etc/selinux/default/contexts/{name}"), CONFIG)
        for name in ("virtual_domain_context", "virtual_image_context", "lxc_contexts")
    },
}

#: A whole probe takes ten times as long as a reader. Readers of their own have all cases in tests of their own.
WHOLE_PROBES = CASES if SOAKING else CASES // 5


def host(unread: bool) -> Tree:
    """A host whose guest's QEMU is unconfined, or has a label that cannot be read."""
    tree = hosts.el9()
    if unread:
        tree.file(f"{PROC}/attr/current", errno=5)
    else:
        tree.file(f"{PROC}/attr/current", "system_u:system_r:unconfined_t:s0\0")
    return tree


def content(text: str) -> bytes:
    """A file of any bytes: characters up to 255 are one byte each."""
    return text.encode("utf-8", "surrogatepass") if max(map(ord, text), default=0) > 255 else text.encode("latin-1")


def audited(tree: Tree) -> tuple[Snapshot, dict[str, str]]:
    """The snapshot of a tree, and what each rule says of it."""
    snapshot = hosts.look(tree)
    document = json.loads(json.dumps(encode(snapshot)))
    outcomes = judge("kvm1", decode_snapshot(document), f.Settings()).outcomes
    return snapshot, {outcome.rule: outcome.status for outcome in outcomes}


def statuses(path: str, text: str, chance: random.Random) -> set[str]:
    """What the rules about confinement say of a host with this text in the file."""
    tree = host(unread=chance.random() < 0.3)
    tree.file(path, content(text), mode=0o600)
    if path == DEFINITION:
        tree.libvirt[1]["inactive"] = text
    _snapshot, status = audited(tree)
    return {status[rule] for rule in CONFINED}


@pytest.mark.parametrize("path", sorted(SEEDS))
def test_fuzz_of_a_file(cases: Cases, path: str) -> None:
    text, tokens = SEEDS[path]
    for number, chance in cases(WHOLE_PROBES):
        assert statuses(path, mutated(text, chance, tokens), chance) != {f.PASS}, number


def test_fuzz_of_what_libvirt_answers(cases: Cases) -> None:
    for number, chance in cases(WHOLE_PROBES):
        tree = host(unread=chance.random() < 0.3)
        tree.libvirt[-1] = {"capabilities": mutated(hosts.CAPABILITIES, chance, XML)}
        filters = ["<filter name='clean-traffic' chain='root'><filterref filter='no-ip-spoofing'/></filter>"]
        networks = ["<network><name>n</name><forward mode='bridge'/><bridge name='br0'/></network>"]
        tree.libvirt.append({"filters": [mutated(text, chance, XML) for text in filters]})
        tree.libvirt.append({"networks": [mutated(text, chance, XML) for text in networks]})
        _snapshot, status = audited(tree)
        assert {status[rule] for rule in CONFINED} != {f.PASS}, number
