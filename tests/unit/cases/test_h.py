# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that the restart's gate vouches for: the daemon must accept each value on this host."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import daemon_restart as gate
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.qemu_conf import (
    QemuConfRequest,
    facts_for,
    plan,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import qemu_conf
from ansible_collections.svirt.fleet.plugins.module_utils._host.base import conf_values
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.daemon_restart import RestartActor

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.judging import codes, found, status
from tests.unit.support.restarts import Machine

CONF = "/etc/libvirt/qemu.conf"
HOOK = "/etc/libvirt/hooks/qemu.d/other"
DATA = Path(__file__).with_name("data")


def text_of(name: str) -> str:
    return (DATA / f"{name}.qemu.conf").read_text()


def host(text: str, version: str = "11.3.0") -> Tree:
    """EL 9 with one running guest and this file."""
    tree = hosts.el9()
    tree.file(CONF, text, mtime=1699990000.0)
    major, minor, micro = map(int, version.split("."))
    tree.libvirt[0]["version"] = major * 1_000_000 + minor * 1000 + micro
    return tree


def look(tree: Tree, tmp_path: Path) -> gate.RestartFacts:
    machine = Machine(tmp_path, [tree])
    return RestartActor(machine.root, machine.tools, 5.0, pause=0.01).look()


def refused(tree: Tree, tmp_path: Path) -> list[tuple[str, str]]:
    return [(entry.subject, entry.reason.code) for entry in gate.refusals(look(tree, tmp_path))]


def planned(tree: Tree, settings: dict[str, t.Any], **values: t.Any) -> t.Any:
    """The plan of libvirt_security on this host."""
    root = CapturedRoot(tree)
    request = QemuConfRequest(settings=settings, **values)
    text = tree.entries[CONF].content.decode()
    return plan(text, request, "enforcing", ["capability", "selinux"], conf_values.read(root, facts_for(text, request)))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("value-a", "save_image_format"),
        ("value-b", "auto_shutdown_try_save"),
        ("value-c", "remote_display_port_min"),
        ("value-d", "migration_port_min"),
        ("value-e", "migration_host"),
        ("value-f", "sched_core"),
    ],
)
def test_h_values_that_keep_the_daemon_from_starting(name: str, key: str, tmp_path: Path) -> None:
    assert refused(host(text_of(name)), tmp_path) == [(f"qemu.conf {key}", "bad_value")]
    assert (f"qemu.conf {key}", "bad_value") in [
        (f"qemu.conf {problem.key}", problem.kind) for problem in qemu_conf.parse(text_of(name))[1]
    ]


def test_h_driver_list_without_apparmor(tmp_path: Path) -> None:
    tree = host(text_of("driver-list"))
    assert refused(tree, tmp_path) == [("qemu.conf security_driver", "apparmor_off")]
    snapshot = look(tree, tmp_path).snapshot
    assert ("LIB-006", "high", "qemu.conf security_driver") in found(snapshot)
    with pytest.raises(PlanError) as error:
        planned(hosts.el9(), {"security_driver": ["selinux", "apparmor"]})
    assert error.value.code == "apparmor_off"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('user = "nobody-here"\n', "bad_value"),
        ('group = "nobody-here"\n', "bad_value"),
        ('swtpm_user = "tss"\n', "bad_value"),
        ('user = "qemu"\ngroup = "kvm"\nswtpm_group = "qemu"\n', None),
        ('user = "107"\ngroup = "+36"\n', None),
        ('user = "+qemu"\n', "bad_value"),
        ('lock_manager = "lockd"\n', "bad_value"),
        ('lock_manager = "nop"\n', None),
        ('hugetlbfs_mount = "/dev/hugepages"\n', "bad_value"),
        ('hugetlbfs_mount = ""\n', "bad_value"),
        ("hugetlbfs_mount = []\n", None),
        ('hugetlbfs_mount = [ "/mnt/huge" ]\n', None),
        *((f'{name}_tls_x509_cert_dir = "/etc/pki/none"\n', "bad_value") for name in ("default", "vnc", "spice")),
        *((f'{name}_tls_x509_cert_dir = "/etc/pki/none"\n', "bad_value") for name in ("chardev", "migrate", "nbd")),
        ('migrate_tls_x509_cert_dir = "/etc/libvirt"\n', None),
        ('auto_dump_path = "/etc/passwd/dump"\n', "bad_value"),
        ('auto_dump_path = "/var/dump"\nmemory_backing_dir = "/dev/shm"\n', None),
        ('sched_core = "full"\n', "bad_value"),
        ('nvram = [ "/a:/b" ]\n', None),
        ("mac_filter = 0\n", None),
        ("mac_filter = 1\n", "bad_value"),
        ('capability_filters = [ "rtc" ]\n', "unverified"),
        ("capability_filters = []\n", None),
        ('auto_dump_path = "/mnt/fixed/dump"\n', "bad_value"),
        ('nvram = [ "/a" ]\n', "bad_value"),
    ],
)
def test_h_values_that_need_something_on_the_host(text: str, code: str | None, tmp_path: Path) -> None:
    tree = host(text)
    tree.file("/usr/lib64/libvirt/connection-driver/libvirt_driver_qemu.so")
    tree.file("/etc/group", tree.entries["/etc/group"].content.decode() + "other:x:99:\n")
    tree.folder("/mnt/huge")
    tree.folder("/mnt/fixed")
    tree.entries["/proc/self/mountinfo"].content += b"91 1 0:41 / /mnt/fixed ro - ext4 /dev/x ro\n"
    tree.entries["/proc/self/mountinfo"].content += b"90 1 0:40 / /mnt/huge rw - hugetlbfs hugetlbfs rw\n"
    assert [found for _subject, found in refused(tree, tmp_path)] == ([code] if code else [])
    if code:
        key = text.split(" ", maxsplit=1)[0]
        with pytest.raises(PlanError) as error:
            planned(tree, {key: qemu_conf.parse(text)[0][0].value})
        assert error.value.code == code


def test_h_a_user_that_a_name_service_may_know_is_unknown(tmp_path: Path) -> None:
    tree = host('user = "qemu-ldap"\n')
    tree.file("/etc/nsswitch.conf", "# names\npasswd: files sss systemd\ngroup: files\n")
    assert refused(tree, tmp_path) == [("qemu.conf user", "unverified")]
    snapshot = look(tree, tmp_path).snapshot
    assert status(snapshot, "LIB-006") == "unknown"
    assert codes(snapshot, "LIB-006") == ("conf_value_unverified",)


def test_h_cgroup_controllers_that_libvirt_knows(tmp_path: Path) -> None:
    assert refused(host(text_of("cgroup-controllers")), tmp_path) == []
    assert refused(host('cgroup_controllers = [ "name=systemd" ]\n'), tmp_path) == []


@pytest.mark.parametrize("value", ['"1"', "1", "0", '[ "x" ]'])
def test_h_an_obsolete_key_may_have_any_value(value: str, tmp_path: Path) -> None:
    tree = host(f"clear_emulator_capabilities = {value}\n")
    assert refused(tree, tmp_path) == []
    assert status(look(tree, tmp_path).snapshot, "LIB-006") == "pass"


def shared(tree: Tree) -> list[str]:
    conf = hosts.look(tree).libvirt.conf
    assert conf is not None
    return list(qemu_conf.setting(conf, "shared_filesystems"))


def test_h_a_missing_folder_hides_those_after_it(tmp_path: Path) -> None:
    tree = host(text_of("shared-filesystems-hidden"))
    tree.folder("/data/images")
    assert shared(tree) == []
    assert ("LIB-006", "medium", "qemu.conf shared_filesystems") in found(look(tree, tmp_path).snapshot)
    assert refused(tree, tmp_path) == []
    mended = planned(tree, {}, shared=("/data/images",))
    assert mended.after == {"shared_filesystems": ["/data/images", "/not/there"]}
    tree.file(CONF, mended.text)
    assert shared(tree) == ["/data/images"]
    assert planned(tree, {}, shared=("/data/images",)).edits == []


def test_h_shared_folders_are_canonical(tmp_path: Path) -> None:
    tree = host(text_of("shared-filesystems-not-canonical"))
    tree.folder("/data/images")
    assert shared(tree) == ["/data/images"]
    assert planned(tree, {}, shared=("/data/images/",)).edits == []
    tree.link("/srv/link", "../data/./images")
    tree.file(CONF, 'shared_filesystems = [ "/srv/link/" ]\n')
    assert shared(tree) == ["/data/images"]
    assert refused(tree, tmp_path) == []


@pytest.mark.parametrize(
    ("version", "key", "code"),
    [
        ("11.3.0", "brand_new = 1", None),
        ("12.3.0", "brand_new = 1", "unverified"),
        ("13.0.0", "brand_new = 1", "unverified"),
        ("11.6.0", 'default_tls_priority = "NORMAL"', None),
        ("9.0.0", 'default_tls_priority = "NORMAL"', None),
        ("11.6.0", 'default_cpu_deprecated_features = "maybe"', "bad_value"),
        ("9.0.0", 'auto_shutdown_try_save = "all"', "unverified"),
        ("9.0.0", 'save_image_format = "rar"', "unverified"),
    ],
)
def test_h_keys_by_version(version: str, key: str, code: str | None, tmp_path: Path) -> None:
    tree = host(f"{key}\n", version)
    assert [found for _subject, found in refused(tree, tmp_path)] == ([code] if code else [])


def test_h_a_key_that_the_hosts_libvirt_ignores_is_reported(tmp_path: Path) -> None:
    snapshot = look(host('default_tls_priority = "NORMAL"\n', "9.0.0"), tmp_path).snapshot
    assert ("LIB-006", "low", "qemu.conf default_tls_priority") in found(snapshot)


def test_h_the_installed_libvirt_counts_not_the_running_one(tmp_path: Path) -> None:
    tree = host("brand_new = 1\n", "11.3.0")
    tree.file("/usr/lib64/libvirt.so.0.12005.0")
    tree.link("/usr/lib64/libvirt.so.0", "libvirt.so.0.12005.0")
    assert refused(tree, tmp_path) == [("qemu.conf brand_new", "unverified")]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("#!/bin/sh\nexit 0\n", None),
        ('#!/bin/sh\nif [ "$2" = start ]; then /usr/bin/logger x; exit 1; fi\n', None),
        ('#!/bin/bash\ncase "$2" in\n  prepare|start) check || exit 1 ;;\nesac\n', None),
        ('#!/bin/sh\n[ "$2" = reconnect ] && exit 0\nexec /usr/local/bin/hook "$@"\n', None),
        ("#!/bin/sh\nexit 1\n", "hook_fails"),
        ('#!/bin/sh\n[ "$2" = start ] && /usr/bin/logger x\n', "hook_fails"),
        ('#!/bin/sh\ncase "$2" in start) ;; *) echo bad >&2; exit 2;; esac\n', "hook_fails"),
        ("#!/usr/bin/python3\nimport sys\n", "hook_unknown"),
        ('#!/bin/sh\n: "${VG:?not set}"\nexit 0\n', "hook_unknown"),
        ("#!/bin/sh\n: > /run/hook/seen\nexit 0\n", "hook_unknown"),
        ('#!/bin/sh\n/usr/local/bin/check "$@"\n', "hook_unknown"),
        ('#!/bin/sh\n[ "$1" = web ] && exit 1\nexit 0\n', "hook_unknown"),
    ],
)
def test_h_a_foreign_hook_at_reconnect(script: str, code: str | None, tmp_path: Path) -> None:
    tree = host("# all defaults\n")
    tree.file(HOOK, script, "system_u:object_r:bin_t:s0", mode=0o755)
    tree.answers.clear()
    del tree.entries["/sys/fs/selinux/enforce"]  # no policy that could deny the hook
    assert [found for subject, found in refused(tree, tmp_path) if subject.startswith("hook")] == (
        [code] if code else []
    )


def test_h_no_guest_no_harm_by_a_hook(tmp_path: Path) -> None:
    tree = host("# all defaults\n")
    tree.file(HOOK, "#!/bin/sh\nexit 1\n", "system_u:object_r:bin_t:s0", mode=0o755)
    for path in [path for path in tree.entries if path.startswith((f"/proc/{hosts.PID}", "/run/libvirt/qemu/web"))]:
        del tree.entries[path]
    tree.libvirt = hosts.answer(active=False, state="shutoff")
    del tree.entries["/sys/fs/selinux/enforce"]
    assert [subject for subject, _code in refused(tree, tmp_path) if subject.startswith("hook")] == []
