# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks as libvirt finds them, and what the policy has against them."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.hooks import Hook
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.own_files import LINK, PROGRAM, SETTINGS
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import hooks

from tests.unit.support.hooks import DOMAIN, HOOK_DOMAIN, HostRoot, answer, tree

MAIN = "/etc/libvirt/hooks/qemu"
OTHER = f"{MAIN}.d/other"


def root(label: str = "bin_t", domain: str = DOMAIN) -> HostRoot:
    """A host with a hook of this label, and with what is none."""
    files = tree(domain=domain)
    files.file(MAIN, "#!/bin/sh\n", f"system_u:object_r:{label}:s0", mode=0o755, mtime=7.0)
    files.file(f"{MAIN}.d/README", "no hook", mode=0o644)
    files.folder(f"{MAIN}.d/folder")
    files.link(f"{MAIN}.d/gone", "/nowhere")
    return HostRoot(files, answer)


def test_what_libvirt_takes_for_a_hook() -> None:
    host = root()
    assert hooks.installed(host) == [Hook(MAIN, 7.0)]
    host._tree.file(PROGRAM, "", "system_u:object_r:bin_t:s0", mode=0o755, mtime=9.0)
    for path in (LINK, OTHER):
        host._tree.link(path, PROGRAM).mtime = 8.0
    assert hooks.installed(host) == [
        Hook(MAIN, 7.0),
        Hook(OTHER, 9.0),
        Hook(LINK, 8.0),  # what it leads to is ours to rewrite
    ]


@pytest.mark.parametrize(
    ("label", "domain", "codes", "what"),
    [
        ("bin_t", DOMAIN, set(), ""),
        ("virt_etc_rw_t", DOMAIN, {"denied"}, "virt_etc_rw_t:s0: execute (file)"),
        ("virt_etc_rw_t", "system_u:system_r:virtqemud_t:s0", set(), ""),  # a permissive domain
        ("virt_hook_t", DOMAIN, {"denied"}, f"{HOOK_DOMAIN}: transition (process)"),
        ("no_such_t", DOMAIN, {"label_unknown"}, ""),
    ],
)
def test_what_the_loaded_policy_says(label: str, domain: str, codes: set[str], what: str) -> None:
    host = root(label, domain)
    (found,) = hooks.judged(host, hooks.installed(host), domain)
    assert {reason.code for reason in found.denied} == codes
    assert what in "\n".join(map(str, found.denied))


def test_a_label_that_cannot_be_read() -> None:
    host = root()
    host._tree.entries[MAIN].xattrs.clear()
    (found,) = hooks.judged(host, [Hook(MAIN, 0.0)], DOMAIN)
    assert found.denied == (Reason("label_unread", "its label cannot be read"),)


def test_without_selinux_nothing_is_denied() -> None:
    host = root("virt_etc_rw_t")
    del host._tree.entries["/sys/fs/selinux/enforce"]
    assert [hook.denied for hook in hooks.judged(host, hooks.installed(host), DOMAIN)] == [()]


@pytest.mark.parametrize(
    ("settings", "guarded"),
    [('{"collision": "refuse"}', True), ('{"collision": "allow"}', False), ("{", True), ("[]", True), (None, True)],
)
def test_a_guard_that_refuses(settings: str | None, guarded: bool) -> None:
    host = root()
    assert hooks.guarded(host) is False
    host._tree.link(LINK, PROGRAM)
    if settings is not None:
        host._tree.file(SETTINGS, settings)
    assert hooks.guarded(host) is guarded
    host._tree.link(LINK, "/elsewhere")
    assert hooks.guarded(host) is False
