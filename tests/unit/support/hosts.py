# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts built from what is known of distributions: paths, labels, daemons. None of them was run."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelError
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.boot import complete
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import parse_context
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Options, Probe, Tools

from .captured import CapturedRoot, Policy, Tree

UUID = "6d2b0b53-5c1e-4c3b-9e0c-9a3f2f6c0a01"
IMAGE = "/var/lib/libvirt/images/web.qcow2"
BASE = "/var/lib/libvirt/images/base.qcow2"
PID = 4242
LABEL = "system_u:system_r:svirt_t:s0:c100,c200"
IMAGE_LABEL = "system_u:object_r:svirt_image_t:s0:c100,c200"
CONTENT_LABEL = "system_u:object_r:virt_content_t:s0"
REST_LABEL = "system_u:object_r:virt_image_t:s0"
QEMU_UID = 107

#: Modules of the policy.
STORE = "/var/lib/selinux/targeted/active/modules"

_TYPES = frozenset(
    "svirt_t svirt_tcg_t container_t container_kvm_t spc_t virtd_t virtqemud_t unconfined_t swtpm_t init_t".split()
)
_FILES = frozenset(
    "svirt_image_t virt_image_t virt_content_t container_file_t tmp_t virtd_exec_t virtqemud_exec_t".split()
)
_READS = {
    "svirt_t": frozenset(("svirt_image_t", "virt_image_t", "virt_content_t")),
    "svirt_tcg_t": frozenset(("svirt_image_t", "virt_image_t", "virt_content_t")),
    "container_t": frozenset(("container_file_t",)),
    "container_kvm_t": frozenset(("container_file_t",)),
}
_CONSTRAINED = frozenset(("svirt_t", "svirt_tcg_t", "container_t", "container_kvm_t"))
_DAEMONS = frozenset(("virtd_t", "virtqemud_t"))
_OPEN = _DAEMONS | {"unconfined_t", "spc_t", "init_t"}
_READ, _WRITE, _RELABELTO = 1 << 1, 1 << 2, 1 << 8
#: Numbers of classes, and of the permission transition of class process.
FILE, PROCESS, _TRANSITION = 6, 2, 1 << 1


def policy(permissive: t.Collection[str] = (), constrained: t.Collection[str] = _CONSTRAINED) -> Policy:
    """Fedora's policy in little."""

    def answer(question: str) -> str | None:
        if question.startswith("create "):
            return _created(*question.split(" ")[1:3])
        words = question.split(" ")
        try:
            source, target = parse_context(words[0]), parse_context(words[1])
        except LabelError:
            return None
        if not {source.type, target.type} <= _FILES | _TYPES:
            return None
        if words[2] == str(PROCESS):
            starts = source.type in _DAEMONS and target.type in ("svirt_t", "svirt_tcg_t")
            return f"{_TRANSITION if starts else 0:x} ffffffff 0 ffffffff 1 0"
        free = source.type not in _CONSTRAINED
        allowed = 0
        if free or target.type in _READS.get(source.type, ()):
            allowed = _READ
            if free or target.type in ("svirt_image_t", "container_file_t"):
                allowed |= _WRITE
            allowed |= _RELABELTO if source.type in _OPEN else 0
        if source.type in constrained and not source.high.dominates(target.high):
            allowed = 0
        return f"{allowed:x} ffffffff 0 ffffffff 1 {int(source.type in permissive):x}"

    return answer


def _created(source: str, target: str) -> str | None:
    """The label of a process that systemd starts: of the type that the program's type stands for."""
    program = parse_context(target).type
    domain = program.replace("_exec_t", "_t")
    return f"system_u:system_r:{domain}:s0" if domain in _DAEMONS and program != domain else source


def kernel(tree: Tree, name: str = "node1") -> None:
    """What every Linux has in /proc."""
    tree.file("/proc/sys/kernel/hostname", f"{name}\n")
    tree.file("/proc/sys/kernel/osrelease", "5.14.0-503.el9.x86_64\n")
    tree.file("/proc/cmdline", "BOOT_IMAGE=/vmlinuz root=UUID=11 ro\n")
    tree.file("/proc/stat", "cpu 1 2 3\nbtime 1700000000\nprocesses 9\n")
    tree.file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    tree.file(
        "/proc/self/mountinfo",
        "22 1 254:1 / / rw,relatime shared:1 - xfs /dev/vda1 rw,seclabel,attr2\n"
        "23 22 0:21 / /proc rw,nosuid - proc proc rw\n"
        "24 22 0:5 / /dev rw,nosuid - devtmpfs devtmpfs rw,seclabel\n",
    )
    process(tree, 1, "/usr/lib/systemd/systemd", "system_u:system_r:init_t:s0")
    tree.folder("/proc/2")  # a thread of the kernel has no program
    tree.file("/proc/2/attr/current", "system_u:system_r:kernel_t:s0\0")


def process(
    tree: Tree,
    pid: int,
    exe: str | None,
    label: str | None,
    words: t.Sequence[str] = (),
    uid: int = 0,
    cgroup: str = "/system.slice/x.service",
) -> None:
    """A process in /proc."""
    folder = f"/proc/{pid}"
    name = (exe or (words[0] if words else "x")).rsplit("/", 1)[-1]
    tree.folder(folder)
    if exe is not None:
        tree.link(f"{folder}/exe", exe)
    else:
        tree.file(f"{folder}/exe", errno=13)
    tree.link(f"{folder}/root", "/")
    tree.file(f"{folder}/attr/current", f"{label}\0" if label else "", errno=0 if label else 22)
    tree.file(f"{folder}/comm", f"{name[:15]}\n")
    tree.file(f"{folder}/cmdline", "\0".join(words or (exe or "x",)) + "\0")
    tree.file(f"{folder}/status", f"Name:\t{name[:15]}\nUmask:\t0022\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    tree.file(f"{folder}/stat", f"{pid} ({name[:15]}) S 1 1 1 0 -1 4 0 0 0 0 1 1 0 0 20 0 1 0 {pid * 100} 1 1\n")
    tree.file(f"{folder}/cgroup", f"0::{cgroup}\n")


def selinux(tree: Tree, mode: str = "enforcing", policy_name: str = "targeted", types: str = "two") -> None:
    """selinuxfs, the configuration, and the contexts files."""
    fs = "/sys/fs/selinux"
    tree.file(f"{fs}/enforce", "1" if mode == "enforcing" else "0")
    tree.file(f"{fs}/mls", "1")
    tree.file(f"{fs}/policyvers", "33")
    tree.file(f"{fs}/class/file/index", "6")
    tree.file(f"{fs}/class/file/perms/read", "2")
    tree.file(f"{fs}/class/file/perms/write", "3")
    tree.file(f"{fs}/class/file/perms/relabelto", "9")
    tree.file(f"{fs}/class/process/index", str(PROCESS))
    tree.file(f"{fs}/class/process/perms/transition", "2")
    for name, value in (("virt_use_nfs", "1 0"), ("virt_use_usb", "1 1"), ("httpd_can_network_connect", "0 0")):
        tree.file(f"{fs}/booleans/{name}", value)
    tree.file("/sys/kernel/security/lsm", "lockdown,capability,yama,selinux")
    tree.file("/etc/selinux/config", f"# SELinux\nSELINUX={mode}\nSELINUXTYPE={policy_name}\n")
    folder = f"/etc/selinux/{policy_name}/contexts"
    second = "system_u:system_r:svirt_tcg_t:s0\n" if types == "two" else ""
    tree.file(f"{folder}/virtual_domain_context", f"system_u:system_r:svirt_t:s0\n{second}")
    tree.file(
        f"{folder}/virtual_image_context", "system_u:object_r:svirt_image_t:s0\nsystem_u:object_r:virt_content_t:s0\n"
    )
    tree.file(f"{folder}/lxc_contexts", LXC_CONTEXTS)


LXC_CONTEXTS = """process = "system_u:system_r:container_t:s0"
content = "system_u:object_r:virt_var_lib_t:s0"
file = "system_u:object_r:container_file_t:s0"
ro_file = "system_u:object_r:container_ro_file_t:s0"
sandbox_kvm_process = "system_u:system_r:svirt_qemu_net_t:s0"
sandbox_lxc_process = "system_u:system_r:container_t:s0"
kvm_process = "system_u:system_r:container_kvm_t:s0"
"""


def domain(disk: str = f"<source file='{IMAGE}'/>", live: bool = False, more: str = "", name: str = "web") -> str:
    """A guest's XML."""
    labels = (
        f"<seclabel type='dynamic' model='selinux' relabel='yes'><label>{LABEL}</label>"
        f"<imagelabel>{IMAGE_LABEL}</imagelabel></seclabel>"
    )
    chain = f"<backingStore type='file'><format type='qcow2'/><source file='{BASE}'/><backingStore/></backingStore>"
    return (
        f"<domain type='kvm'{' id=' + chr(39) + '3' + chr(39) if live else ''}><name>{name}</name><uuid>{UUID}</uuid>"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os><devices><emulator>/usr/libexec/qemu-kvm</emulator>"
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>{disk}{chain if live else ''}"
        "<target dev='vda' bus='virtio'/></disk>"
        "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>"
        f"{more}</devices>{labels if live else ''}</domain>"
    )


def status(pid: int = PID, **facts: t.Any) -> str:
    """A guest's status file."""
    return (
        f"<domstatus state='running' reason='booted' pid='{pid}'><taint flag='high-privileges'/>"
        "<namespaces><mount/></namespaces><libDir path='/var/lib/libvirt/qemu/domain-3-web'/><chardevStdioLogd/>"
        f"{domain(live=True, **facts)}</domstatus>"
    )


def running_guest(tree: Tree, program: str = "/usr/libexec/qemu-kvm") -> None:
    """One guest that runs as libvirt starts it, and what libvirt says of it."""
    scope = "/machine.slice/machine-qemu\\x2d3\\x2dweb.scope/libvirt/emulator"
    words = (program, "-name", "guest=web,debug-threads=on", "-S", "-uuid", UUID)
    process(tree, PID, program, LABEL, words, QEMU_UID, scope)
    tree.file("/run/libvirt/qemu/web.xml", status(), mode=0o600)
    tree.file("/run/libvirt/qemu/web.pid", str(PID))
    tree.file("/etc/libvirt/qemu/web.xml", f"<!-- edited by virsh -->\n{domain()}", mode=0o600)
    tree.file(IMAGE, label=IMAGE_LABEL, mode=0o600, uid=QEMU_UID, gid=QEMU_UID)
    tree.remembers(IMAGE, REST_LABEL, 1)
    tree.file(BASE, label=CONTENT_LABEL, uid=QEMU_UID)
    tree.folder("/var/lib/libvirt/qemu/domain-3-web", IMAGE_LABEL)
    tree.libvirt += answer()


def answer(**changes: t.Any) -> list[dict[str, t.Any]]:
    """What the daemon says of a host with the one guest."""
    guest = {"uuid": UUID, "name": "web", "state": "running", "active": True, "persistent": True, "inactive": domain()}
    return [
        {"driver": "QEMU", "version": 10000000},
        {**guest, **changes},
        {"capabilities": CAPABILITIES},
    ]


CAPABILITIES = (
    "<capabilities><host><cpu/><secmodel><model>selinux</model><doi>0</doi>"
    "<baselabel type='kvm'>system_u:system_r:svirt_t:s0</baselabel>"
    "<baselabel type='qemu'>system_u:system_r:svirt_tcg_t:s0</baselabel></secmodel>"
    "<secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+107:+107</baselabel></secmodel>"
    "</host><guest/></capabilities>"
)


def users(tree: Tree, name: str = "qemu") -> None:
    """The users and groups of guests."""
    tree.file("/etc/passwd", f"root:x:0:0:root:/root:/bin/sh\n{name}:x:107:107::/:/sbin/nologin\n")
    tree.file("/etc/group", f"root:x:0:\n{name}:x:107:\nkvm:x:36:{name}\ndisk:x:6:\n")


def libvirtd(tree: Tree, type_: str = "virtd_t", pid: int = 900) -> None:
    """The monolithic daemon."""
    tree.file("/usr/sbin/libvirtd", mode=0o755, label="system_u:object_r:virtd_exec_t:s0")
    tree.add("/run/libvirt/libvirt-sock", tree.file("/run/libvirt/libvirt-sock", type="s"))
    process(tree, pid, "/usr/sbin/libvirtd", f"system_u:system_r:{type_}:s0-s0:c0.c1023")
    tree.file("/run/libvirt/qemu/driver.pid", str(pid))
    tree.file("/run/libvirt/qemu/autostarted")
    tree.file("/etc/libvirt/qemu.conf", '# all defaults\nuser = "qemu"\n', mtime=1699990000.0)


def virtqemud(tree: Tree, pid: int = 901) -> None:
    """The modular daemons, virtproxyd with libvirt's old socket included."""
    for name in ("virtqemud", "virtproxyd"):
        tree.file(f"/usr/sbin/{name}", mode=0o755, label=f"system_u:object_r:{name}_exec_t:s0")
    for name in ("virtqemud-sock", "libvirt-sock"):
        tree.file(f"/run/libvirt/{name}", type="s")
    process(tree, pid, "/usr/sbin/virtqemud", "system_u:system_r:virtqemud_t:s0")
    process(tree, pid + 1, "/usr/sbin/virtproxyd", "system_u:system_r:virtproxyd_t:s0")
    tree.file("/run/libvirt/qemu/driver.pid", str(pid))
    tree.file("/run/libvirt/qemu/autostarted")
    tree.file("/etc/libvirt/qemu.conf", "# all defaults\n")


def bls(tree: Tree) -> None:
    """Boot entries as EL and Fedora have them: snippets, with options that come from grubenv."""
    tree.file("/boot/grub2/grub.cfg", "insmod blscfg\nblscfg\n", mode=0o600)
    tree.file("/boot/grub2/grubenv", "# GRUB Environment Block\nkernelopts=root=/dev/mapper/r ro quiet\n####")
    for kernel_version in ("5.14.0-503", "0-rescue"):
        tree.file(
            f"/boot/loader/entries/0123-{kernel_version}.conf",
            f"title Linux ({kernel_version})\nversion {kernel_version}\nlinux /vmlinuz-{kernel_version}\n"
            "options $kernelopts selinux=1\n",
        )


def el9() -> Tree:
    """EL 9: libvirtd as virtd_t, qemu-kvm under /usr/libexec, BLS entries."""
    tree = Tree()
    kernel(tree)
    selinux(tree)
    users(tree)
    bls(tree)
    libvirtd(tree)
    tree.file("/etc/os-release", 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nPRETTY_NAME="RHEL 9.5 (Plow)"\n')
    running_guest(tree)
    return tree


def fedora() -> Tree:
    """Fedora and EL 10: virtqemud in its own domain, which is shipped permissive."""
    tree = Tree()
    kernel(tree)
    selinux(tree)
    users(tree)
    bls(tree)
    virtqemud(tree)
    tree.file(f"{STORE}/100/virt/cil", "(type svirt_t)\n(typepermissive virtqemud_t)\n")
    tree.file("/etc/os-release", "ID=fedora\nPRETTY_NAME='Fedora Linux 42'\n")
    running_guest(tree, "/usr/bin/qemu-system-x86_64")
    return tree


def apparmor(release: str = "ID=debian\nPRETTY_NAME=Debian\n", driver: str = "apparmor") -> Tree:
    """Debian or Ubuntu as they come: AppArmor, no SELinux."""
    tree = Tree()
    kernel(tree)
    users(tree, "libvirt-qemu")
    libvirtd(tree)
    tree.file("/etc/libvirt/qemu.conf", "")
    tree.file("/sys/kernel/security/lsm", "lockdown,capability,landlock,yama,apparmor")
    tree.file("/etc/os-release", release)
    tree.file("/boot/grub/grub.cfg", "menuentry 'Debian' {\n\tlinux /vmlinuz root=UUID=1 ro quiet\n}\n")
    process(tree, 900, "/usr/sbin/libvirtd", "libvirtd (enforce)")
    tree.libvirt += [
        {"driver": "QEMU", "version": 11003000},
        {"uuid": UUID, "name": "web", "state": "shutoff", "active": False, "persistent": True, "inactive": domain()},
        {"capabilities": f"<secmodel><model>{driver}</model><doi>0</doi></secmodel>"},
    ]
    tree.file(IMAGE)
    return tree


def bare() -> Tree:
    """A host without libvirt."""
    tree = Tree()
    kernel(tree)
    selinux(tree)
    tree.file("/boot/grub/grub.cfg", "menuentry 'Linux' {\n\tlinux /vmlinuz root=UUID=1 ro\n}\n")
    return tree


def look(
    tree: Tree,
    *,
    root: bool = True,
    rules: Policy | None = None,
    tools: Tools | None = None,
    options: Options | None = None,
) -> Snapshot:
    """The snapshot of a tree, as svirt_info makes it; errors of the probe that nobody foresaw are raised."""
    tools = tools or Tools()
    tools.strict = True
    tools.now = lambda: 1700001000.0
    if tools.ask.__module__.endswith("libvirt_reader"):
        tools.ask = lambda _uri, known: [
            {key: value for key, value in item.items() if key != "live" or item["name"] not in known}
            for item in tree.libvirt
        ]
    options = options or Options(timeout=5)
    options = replace(options, boot=options.files)
    probe = Probe(CapturedRoot(tree, rules or policy(), root), options, tools)
    return complete(probe.take(), probe.boot_files)
