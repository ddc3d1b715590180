# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts for the guard: a daemon, its programs, and a policy that says which files it may execute."""

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import guard as plan
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import parse_context

from . import hosts
from .captured import CapturedRoot, Tree

DOMAIN = "system_u:system_r:virtd_t:s0-s0:c0.c1023"
#: What a hook of a label of its own runs in.
HOOK_DOMAIN = "system_u:system_r:virt_hook_unconfined_t:s0"
_PERMISSIONS = (
    *("read", "open", "execute", "execute_no_trans", "entrypoint", "transition"),
    *("search", "write", "add_name", "create", "getattr", "lock", "compute_av"),
)
_CLASSES = ("process", "file", "lnk_file", "dir", "sock_file", "security")
#: What virtd_t may execute, and what it may read besides, and begin.
_EXECUTE = frozenset("bin_t shell_exec_t".split())
_READ = frozenset("lib_t etc_t virt_etc_t virt_etc_rw_t".split())
#: What it may do anything to: its own files, the log, the guests' processes.
_ALL = frozenset("virt_var_run_t svirt_runtime_t proc_t devlog_t svirt_t".split())
_HOOK = "virt_hook_t"
#: Types that the policy lacks.
_UNKNOWN = frozenset(("no_such_t", "svirt_tcg_t"))


def answer(question: str) -> str | None:
    """A policy in little: question -> answer."""
    words = question.split()
    try:
        source, target = parse_context(words[0]), parse_context(words[1])
    except LabelError:
        return None
    if target.type in _UNKNOWN:
        return None
    allowed = 0b1111 if target.type in _EXECUTE else 0b11 if target.type in _READ else 0
    if target.type in _ALL:
        allowed = (1 << len(_PERMISSIONS)) - 1
    if target.type == _HOOK:
        allowed = 0b10111  # but execute_no_trans
    return f"{allowed:x} ffffffff 0 ffffffff 1 {int(source.type == 'virtqemud_t'):x}"


class HostRoot(CapturedRoot):
    """A captured host that also says which label a process would get."""

    def transact(self, path: str, request: bytes) -> bytes:
        if path == "/sys/fs/selinux/create":
            source, target, tclass = request.decode().split()
            assert tclass == "2"
            result = {"virtd_exec_t": DOMAIN, _HOOK: HOOK_DOMAIN}.get(parse_context(target).type, source)
            return result.encode() + b"\0"
        return super().transact(path, request)


def tree(started_at: float | None = 1_700_000_100.0, domain: str = DOMAIN, bin_type: str = "bin_t") -> Tree:
    """A host; its daemon runs since then, or not at all."""
    host = Tree()
    hosts.kernel(host)
    host.file("/sys/fs/selinux/enforce", "1")
    host.file("/sys/fs/selinux/mls", "1")
    host.folder("/run/libvirt", "system_u:object_r:virt_var_run_t:s0")
    host.folder("/run/libvirt/qemu", "system_u:object_r:svirt_runtime_t:s0")
    host.folder("/proc", "system_u:object_r:proc_t:s0")
    host.file("/run/systemd/journal/dev-log", "", "system_u:object_r:devlog_t:s0", type="s")
    host.file("/sys/fs/selinux/access", "", "system_u:object_r:security_t:s0")
    for number, tclass in enumerate(_CLASSES, 2):
        host.file(f"/sys/fs/selinux/class/{tclass}/index", str(number))
        for bit, name in enumerate(_PERMISSIONS, 1):
            host.file(f"/sys/fs/selinux/class/{tclass}/perms/{name}", str(bit))
    host.file("/usr/bin/dash", "", "system_u:object_r:shell_exec_t:s0")
    host.link("/bin/sh", "/usr/bin/dash")
    for path in (plan.PYTHON, plan.TIMEOUT):
        host.file(path, "", f"system_u:object_r:{bin_type}:s0")
    host.file("/usr/sbin/libvirtd", "", "system_u:object_r:virtd_exec_t:s0")
    if started_at is not None:
        hosts.process(host, 900, "/usr/sbin/libvirtd", domain)
        host.file("/proc/stat", f"btime {int(started_at) - 900}\n")
    return host
