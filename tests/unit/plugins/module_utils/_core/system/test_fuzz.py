# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated mount, export and unit files: none hangs a reader, and a line that stays as it is is never overlooked."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.svirt.fleet.plugins.module_utils._core.system import mounts, unit_files

from tests.unit.support.fuzzing import Cases, mutated

MANIFEST = Path(__file__).parents[2] / "_host" / "probe" / "fixtures" / "kvm1" / "manifest.json"
CAPTURED = json.loads(MANIFEST.read_text(encoding="utf-8"))
MOUNTINFO = CAPTURED["/proc/self/mountinfo"]["text"]
ETAB = CAPTURED["/var/lib/nfs/etab"]["text"]
MOUNT_LINE = "50 28 0:60 /a /srv/kept rw shared:9 - ceph admin@0f0f.fs=/vms rw,seclabel,name=a"
EXPORT_LINE = "/srv/kept 192.0.2.0/24(rw,sync,security_label)"
UNIT = "[Unit]\nDescription=x\n[Service]\nExecStart=/usr/sbin/libvirtd $ARGS\nSELinuxContext=old\n[Install]\nAlias=y\n"
TOKENS = (
    *("\n", " ", "\t", " - ", "nfs4", "cifs", "seclabel", "context=", '"', ",", "(", ")", "#", "\\", "\\040", "[", "]"),
    *(
        "/srv/kept",
        "//s/x",
        "a:/b",
        "=",
        "\0",
        "é",
        "\u2028",
        "[Service]\n",
        "SELinuxContext=\n",
        "9" * 400,
        "x" * 5000,
    ),
)


def test_fuzz_of_mount_tables(cases: Cases) -> None:
    for number, chance in cases():
        head, tail = (mutated(MOUNTINFO, chance, TOKENS) for _part in "ab")
        found = mounts.parse_mountinfo(f"{head}\n{MOUNT_LINE}\n{tail}")
        (kept,) = mounts.parse_mountinfo(MOUNT_LINE)
        assert kept in found, number
        for mount in found:
            mounts.remote_source(mount)
            mounts.share_source(mount)
            assert mount.labelled in (True, False)
        mounts.parse_mounts(head)
        assert mounts.mount_of("/srv/kept/disk.raw", found) is not None


def test_fuzz_of_exports(cases: Cases) -> None:
    for number, chance in cases():
        head, tail = (mutated(ETAB * 3, chance, TOKENS) for _part in "ab")
        found = mounts.parse_exports(f"{head}\n\n{EXPORT_LINE}\n{tail}")
        assert any(item.path == "/srv/kept" and item.labelled for item in found), (number, head)


def test_fuzz_of_unit_files(cases: Cases) -> None:
    """The last assignment of a drop-in wins, whatever the unit itself holds."""
    kept = unit_files.UnitFile("/etc/systemd/system/libvirtd.service.d/zz.conf", "[Service]\nSELinuxContext=kept\n")
    for number, chance in cases():
        unit = unit_files.UnitFile("/usr/lib/systemd/system/libvirtd.service", mutated(UNIT, chance, TOKENS))
        values = unit_files.assignments([unit, kept], "SELinuxContext")
        assert values[-1].value == "kept", number
