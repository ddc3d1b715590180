# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot: everything that was read about one host, as plain typed data. It judges nothing.

Schema ``svirt.fleet/snapshot/1``. The documentation of each field is made from the metadata here. Labels are raw
(never translated) and kept as text, just as read: canonical forms are made where labels are compared.
A value of ``None`` means "could not be read" or "does not exist here"; the area's coverage says which.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

SCHEMA = "svirt.fleet/snapshot/1"
#: Bound on one text of a document.
MAX_TEXT = 65536

#: What a probe looks at. Each has a coverage entry in every snapshot.
AREAS = ("selinux", "boot", "libvirt", "guests", "images", "processes", "containers", "storage", "orphans", "xen")

OK = "ok"
UNKNOWN = "unknown"
NOT_APPLICABLE = "not_applicable"


def doc(text: str) -> dict[str, str]:
    """Metadata for a field: its documentation, one sentence."""
    return {"doc": text}


@dataclass
class Coverage:
    """Whether an area could be looked at."""

    status: str = field(metadata=doc("ok, unknown or not_applicable"))
    why: str = field(default="", metadata=doc("the reason, when the status is not ok"))
    codes: list[str] = field(
        default_factory=list, metadata=doc("codes of the reasons, each once; unlike why, they stay the same")
    )


@dataclass
class BootEntry:
    """One entry of the boot loader: what the host may boot into."""

    source: str = field(metadata=doc("file the entry was read from: grub.cfg or a BLS snippet"))
    title: str = field(metadata=doc("title as shown in the menu, submenus joined by >"))
    arguments: str = field(metadata=doc("the kernel's arguments, without variables whose value is not known"))
    alternatives: list[str] = field(
        default_factory=list, metadata=doc("other arguments that it may have, by a condition that is decided at boot")
    )
    unresolved: list[str] = field(
        default_factory=list, metadata=doc("variables of the boot loader in its arguments whose value is not known")
    )
    kernel: str = field(default="", metadata=doc("the kernel, as the boot loader names it"))
    own: bool | None = field(
        default=True, metadata=doc("it starts this host's system, not another one or a tool; None: not known")
    )


@dataclass
class TypeFacts:
    """What the loaded policy says of one process type."""

    name: str = field(metadata=doc("the type, for example svirt_t"))
    known: bool | None = field(default=None, metadata=doc("the loaded policy knows the type"))
    permissive: bool | None = field(default=None, metadata=doc("the type is permissive in the loaded policy"))
    constrained: bool | None = field(
        default=None, metadata=doc("categories bind the type: it cannot read a file of other categories")
    )
    relabels: bool | None = field(
        default=None, metadata=doc("it may give guests' files any label: sVirt keeps nothing from it")
    )
    shipped: bool | None = field(
        default=None, metadata=doc("where it is permissive: a module of the distribution makes it so")
    )


@dataclass
class Boolean:
    """An SELinux boolean."""

    name: str = field(metadata=doc("name of the boolean"))
    active: bool = field(metadata=doc("value in force"))
    pending: bool = field(metadata=doc("value waiting to be committed"))


@dataclass
class Access:
    """The loaded policy's answer for one pair of labels, class file, asked through selinuxfs."""

    source: str = field(metadata=doc("label of the process"))
    target: str = field(metadata=doc("label of the file"))
    read: bool = field(metadata=doc("read is allowed"))
    write: bool = field(metadata=doc("write is allowed"))


@dataclass
class SELinux:
    """The state of SELinux on the host."""

    mode: str = field(metadata=doc("enforcing, permissive or disabled, as the kernel has it now"))
    configured_mode: str | None = field(default=None, metadata=doc("SELINUX= of /etc/selinux/config"))
    policy: str | None = field(default=None, metadata=doc("SELINUXTYPE= of /etc/selinux/config"))
    policy_version: int | None = field(default=None, metadata=doc("version of the policy format in force"))
    mls: bool | None = field(default=None, metadata=doc("the loaded policy has levels and categories"))
    lsms: list[str] = field(default_factory=list, metadata=doc("active Linux security modules, in order"))
    cmdline: str | None = field(default=None, metadata=doc("arguments of the running kernel"))
    autorelabel: bool = field(default=False, metadata=doc("the next boot relabels the file system"))
    boot_entries: list[BootEntry] = field(default_factory=list, metadata=doc("every boot entry, recovery included"))
    types: list[TypeFacts] = field(
        default_factory=list, metadata=doc("process types of guests, daemons and QEMU processes, by name")
    )
    booleans: list[Boolean] = field(default_factory=list, metadata=doc("booleans that bear on guests, by name"))
    guest_types: list[str] = field(
        default_factory=list, metadata=doc("types of contexts/virtual_domain_context, in its order")
    )
    image_types: list[str] = field(
        default_factory=list, metadata=doc("types of contexts/virtual_image_context: read-write, then content")
    )
    container_types: list[str] = field(
        default_factory=list,
        metadata=doc("process types of containers, by contexts/lxc_contexts and the engines' own file, sorted"),
    )
    container_file: str | None = field(default=None, metadata=doc("type of containers' files, by the same"))
    access: list[Access] = field(
        default_factory=list, metadata=doc("what guest types may do to the labels that images here carry")
    )


@dataclass
class Assignment:
    """One assignment in qemu.conf."""

    key: str = field(metadata=doc("the key"))
    value: t.Any = field(metadata=doc("text, whole number or list of texts"))
    line: int = field(metadata=doc("line of the assignment, from 1"))


@dataclass
class ConfProblem:
    """Something in qemu.conf that libvirt refuses or silently ignores."""

    line: int = field(metadata=doc("line, from 1"))
    kind: str = field(
        metadata=doc("syntax, duplicate, unknown_key, wrong_type, bad_value, ignored_value, or unverified: not known")
    )
    key: str = field(metadata=doc("the key, where there is one"))
    message: str = field(metadata=doc("what is wrong"))


@dataclass
class QemuConf:
    """qemu.conf as libvirt reads it: the first assignment of a key counts."""

    path: str = field(metadata=doc("path of the file"))
    present: bool = field(default=False, metadata=doc("the file exists"))
    assignments: list[Assignment] = field(
        default_factory=list, metadata=doc("every assignment in the file's order, duplicates included")
    )
    problems: list[ConfProblem] = field(default_factory=list, metadata=doc("problems, by line"))
    changed_at: float | None = field(default=None, metadata=doc("time of the last change, seconds since the epoch"))
    shared_folders: list[str] | None = field(
        default=None,
        metadata=doc("shared_filesystems as libvirt resolves it, up to the first that does not exist; None: not known"),
    )


@dataclass
class SecurityModel:
    """One security driver of the running daemon, from its capabilities."""

    model: str = field(metadata=doc("selinux, dac, apparmor or none"))
    doi: str = field(default="", metadata=doc("domain of interpretation"))
    baselabels: dict[str, str] = field(
        default_factory=dict, metadata=doc("label by kind of guest: kvm, qemu (emulated)")
    )


@dataclass
class Daemon:
    """The daemon that runs the guests."""

    name: str = field(metadata=doc("libvirtd or virtqemud"))
    pid: int | None = field(default=None, metadata=doc("process id, when it runs"))
    context: str | None = field(default=None, metadata=doc("label of the process; its range bounds the categories"))
    started_at: float | None = field(default=None, metadata=doc("start time, seconds since the epoch"))
    socket: bool = field(default=False, metadata=doc("its control socket exists, so that a client would start it"))
    own_files: bool | None = field(
        default=False,
        metadata=doc("it reads a qemu.conf of its own, as in a container, and not the host's; None: unknown"),
    )
    types: list[str] | None = field(
        default=None,
        metadata=doc("types that the loaded policy has for such a daemon: they may start guests; None: not asked"),
    )


@dataclass
class NetworkFilter:
    """A network filter of libvirt, as the host defines it. Whatever has its name trusts it to be what it says."""

    name: str = field(metadata=doc("name that interfaces refer to"))
    uuid: str | None = field(default=None, metadata=doc("uuid"))
    chain: str = field(default="root", metadata=doc("chain that its rules are in"))
    references: list[str] = field(default_factory=list, metadata=doc("filters that it is made of, sorted"))
    variables: list[str] = field(default_factory=list, metadata=doc("variables that its rules use, sorted"))
    drops: bool = field(default=False, metadata=doc("a rule of its own drops or rejects what the guest sends"))
    opens_at: int | None = field(
        default=None, metadata=doc("priority of its first rule that lets pass whatever the guest sends, if any")
    )
    digest: str = field(default="", metadata=doc("16 hexadecimal digits of what it says: equal where it says the same"))


@dataclass
class Network:
    """A network of libvirt."""

    name: str = field(metadata=doc("name that interfaces refer to"))
    forward: str | None = field(default=None, metadata=doc("forward mode: nat, route, bridge, private, hostdev, …"))
    bridge: str | None = field(default=None, metadata=doc("bridge on the host; None: guests are attached otherwise"))
    virtualport: str | None = field(default=None, metadata=doc("type of its virtual port, for example openvswitch"))


@dataclass
class InstalledGuard:
    """The guard, a hook of this collection that refuses guests, as its settings have it."""

    readable: list[str] | None = field(
        default=None,
        metadata=doc("types of processes that it may read, as the policy said at its installation; None: unknown"),
    )
    asks: bool = field(default=False, metadata=doc("it may ask the policy itself, and does so at each call"))


@dataclass
class Libvirt:
    """libvirt on the host."""

    installed: bool = field(default=False, metadata=doc("a libvirt daemon for QEMU is installed"))
    daemon: Daemon | None = field(default=None, metadata=doc("the daemon in charge, running or activated by socket"))
    connected: bool = field(default=False, metadata=doc("the daemon answered on its read-only socket"))
    driver: str | None = field(default=None, metadata=doc("hypervisor driver that answered, for example QEMU or Xen"))
    version: str | None = field(default=None, metadata=doc("version of the daemon's libvirt, for example 11.3.0"))
    conf: QemuConf | None = field(default=None, metadata=doc("qemu.conf"))
    models: list[SecurityModel] | None = field(
        default=None, metadata=doc("security drivers in force; None when the daemon could not be asked")
    )
    filters: list[NetworkFilter] | None = field(
        default=None, metadata=doc("network filters that are defined, by name; None when they could not be read")
    )
    networks: list[Network] | None = field(
        default=None, metadata=doc("networks that are defined, by name; None when they could not be read")
    )
    qemu_uid: int | None = field(
        default=None, metadata=doc("user id that guests run as: user of qemu.conf, else the distribution's; 0 is root")
    )
    qemu_gids: list[int] = field(
        default_factory=list, metadata=doc("group ids of that user: group of qemu.conf and its other groups, sorted")
    )
    guard: InstalledGuard | None = field(default=None, metadata=doc("the guard, where libvirt sees it"))


@dataclass
class SecLabel:
    """A <seclabel> of a guest's XML."""

    model: str | None = field(default=None, metadata=doc("model attribute, or None"))
    type: str | None = field(default=None, metadata=doc("type attribute: dynamic, static or none"))
    relabel: bool | None = field(default=None, metadata=doc("relabel attribute, or None when it is not given"))
    label: str | None = field(default=None, metadata=doc("<label>"))
    imagelabel: str | None = field(default=None, metadata=doc("<imagelabel>"))
    baselabel: str | None = field(default=None, metadata=doc("<baselabel>"))


@dataclass
class Remembered:
    """What libvirt remembered of a file's label, in trusted.libvirt.security.* xattrs."""

    label: str | None = field(default=None, metadata=doc("the label to give back"))
    references: int | None = field(default=None, metadata=doc("users that libvirt counts"))
    timestamp: str | None = field(default=None, metadata=doc("boot time of the host that wrote it, as stored"))


@dataclass
class FileFacts:
    """What a file looks like on the host."""

    exists: bool | None = field(default=None, metadata=doc("None when it could not be looked at"))
    error: str = field(default="", metadata=doc("why it could not be looked at, or read wholly"))
    kind: str | None = field(default=None, metadata=doc("file, block, char, dir, socket, fifo or link"))
    label: str | None = field(default=None, metadata=doc("raw security.selinux, links followed"))
    uid: int | None = field(default=None, metadata=doc("owner"))
    gid: int | None = field(default=None, metadata=doc("group"))
    mode: int | None = field(default=None, metadata=doc("permission bits"))
    device: str | None = field(default=None, metadata=doc("MAJOR:MINOR of the file system"))
    inode: int | None = field(default=None, metadata=doc("inode number"))
    mount: str | None = field(default=None, metadata=doc("mount point that the file is under; key into storage"))
    remembered: Remembered | None = field(default=None, metadata=doc("libvirt's remembered owner, if any"))
    resolved: str | None = field(default=None, metadata=doc("real path, when the path goes through a symbolic link"))


@dataclass
class Resource:
    """A file that a guest uses and libvirt labels, or leaves alone on purpose."""

    kind: str = field(
        metadata=doc(
            "disk, backing, data_file, cdrom, nvram, kernel, initrd, tpm, tpm_log, tap, chardev, hostdev, filesystem, "
            "…; of files that no XML names: save, memory_snapshot, snapshot, backup, blockjob, merged, open; of the "
            "next start: defined"
        )
    )
    target: str = field(metadata=doc("name inside the guest, for example vda; empty where there is none"))
    path: str = field(metadata=doc("path on the host, as libvirt has it"))
    role: str = field(metadata=doc("image, shared, content, own or untouched: what libvirt gives it while running"))
    expected: str | None = field(
        default=None, metadata=doc("label while the guest runs; None where none is set or the guest is off")
    )
    restored: bool = field(default=True, metadata=doc("libvirt sets the label back when the guest stops"))
    shareable: bool = field(default=False, metadata=doc("<shareable/>"))
    readonly: bool = field(default=False, metadata=doc("<readonly/>, or a kind that is always read-only"))
    in_namespace: bool = field(
        default=False, metadata=doc("file was read in the guest's own mount namespace (devices)")
    )
    sets_owner: bool = field(
        default=True,
        metadata=doc(
            "libvirt may set the file's owner when the guest starts; false for <seclabel model='dac' relabel='no'/>"
        ),
    )
    file: FileFacts = field(default_factory=FileFacts, metadata=doc("what is on the host"))


@dataclass
class Interface:
    """A network interface of a guest."""

    type: str = field(metadata=doc("network, bridge, direct, user, hostdev, vhostuser, …"))
    mac: str | None = field(default=None, metadata=doc("address of the guest's card"))
    source: str | None = field(default=None, metadata=doc("network, bridge or device on the host"))
    target: str | None = field(default=None, metadata=doc("device on the host, while running"))
    filter: str | None = field(default=None, metadata=doc("name of the network filter"))
    parameters: list[str] = field(default_factory=list, metadata=doc("NAME=VALUE parameters of the filter, sorted"))
    virtualport: str | None = field(default=None, metadata=doc("type of its virtual port, for example openvswitch"))


@dataclass
class Guest:
    """A guest: a libvirt domain."""

    uuid: str = field(metadata=doc("uuid"))
    name: str = field(metadata=doc("name; chosen by people, never to be trusted"))
    state: str = field(metadata=doc("running, paused, pmsuspended, shutoff, crashed or unknown"))
    active: bool = field(metadata=doc("a process runs for it"))
    persistent: bool = field(default=True, metadata=doc("it has a persistent definition"))
    kind: str = field(default="kvm", metadata=doc("type attribute of the domain: kvm, qemu, xen, lxc"))
    source: str = field(default="libvirt", metadata=doc("libvirt, status_xml or persistent_xml: where it was read"))
    error: str = field(default="", metadata=doc("why the guest could not be read wholly"))
    pid: int | None = field(default=None, metadata=doc("process id of its QEMU"))
    context: str | None = field(default=None, metadata=doc("label of its process, from /proc"))
    live: list[SecLabel] = field(default_factory=list, metadata=doc("<seclabel> of the live XML"))
    persistent_labels: list[SecLabel] = field(
        default_factory=list, metadata=doc("<seclabel> of the persistent XML; empty: dynamic by default")
    )
    saved_labels: list[SecLabel] | None = field(
        default=None,
        metadata=doc("<seclabel> of the XML in its managed save, which its next start resumes; None: no such save"),
    )
    resources: list[Resource] = field(default_factory=list, metadata=doc("files, by kind, target and path"))
    interfaces: list[Interface] = field(
        default_factory=list, metadata=doc("network interfaces, by mac: of the live XML while the guest runs")
    )
    persistent_interfaces: list[Interface] = field(
        default_factory=list, metadata=doc("those of the persistent XML of a guest that runs, by mac")
    )
    risks: list[str] = field(
        default_factory=list, metadata=doc("taints and risky passthrough: custom_argv, host_filesystem, …, sorted")
    )


@dataclass
class Process:
    """A process that belongs to virtualisation: QEMU or a helper."""

    pid: int = field(metadata=doc("process id"))
    role: str = field(metadata=doc("qemu, or the helper's name: swtpm, passt, virtiofsd, …"))
    exe: str | None = field(default=None, metadata=doc("path of the program"))
    name: str | None = field(default=None, metadata=doc("guest name on its command line, bounded"))
    context: str | None = field(default=None, metadata=doc("label"))
    uid: int | None = field(default=None, metadata=doc("real user id"))
    guest: str | None = field(default=None, metadata=doc("uuid of the guest it belongs to, if any"))
    started_at: float | None = field(default=None, metadata=doc("start time, seconds since the epoch"))
    parent: int | None = field(default=None, metadata=doc("process id of its parent, where it belongs to no guest"))
    machine: str | None = field(
        default=None, metadata=doc("value of -machine on its command line, bounded, where it belongs to no guest")
    )
    cgroup: str | None = field(
        default=None,
        metadata=doc("its control group, bounded; None where it belongs to a guest and is in that guest's group"),
    )


@dataclass
class ContainerLabel:
    """A label in use by containers."""

    context: str = field(metadata=doc("label"))
    pids: list[int] = field(default_factory=list, metadata=doc("up to eight of its processes"))
    processes: int = field(default=0, metadata=doc("number of its processes"))


@dataclass
class Storage:
    """A mounted file system that holds guests' files, or that guests here could have files on."""

    mount: str = field(metadata=doc("mount point"))
    type: str = field(metadata=doc("file system type, for example ext4 or nfs4"))
    source: str = field(metadata=doc("device or server:export"))
    labelled: bool = field(metadata=doc("files carry labels of their own (seclabel)"))
    context: str | None = field(default=None, metadata=doc("label given by a context= mount option"))
    identity: str | None = field(
        default=None, metadata=doc("what two hosts that share it agree on: nfs:SERVER:/EXPORT, uuid:FSUUID, …")
    )
    remote: bool = field(default=False, metadata=doc("the file system is reached over a network or is clustered"))
    exports: list[str] = field(
        default_factory=list, metadata=doc("folders under this mount that the host exports by NFS, sorted")
    )
    labelled_exports: list[str] = field(
        default_factory=list, metadata=doc("those of them that are exported with security_label, sorted")
    )


@dataclass
class Orphan:
    """A file that carries a guest's categories though no guest here owns it."""

    path: str = field(metadata=doc("path"))
    label: str = field(metadata=doc("raw label"))
    mount: str | None = field(default=None, metadata=doc("mount point; key into storage"))
    device: str | None = field(default=None, metadata=doc("MAJOR:MINOR of the file system"))
    inode: int | None = field(default=None, metadata=doc("inode number"))


@dataclass
class Xen:
    """Xen, where it is the hypervisor under libvirt."""

    flask: str | None = field(default=None, metadata=doc("XSM/FLASK: enforcing, permissive, disabled; None: unknown"))


@dataclass
class Host:
    """Who the host is, and who looked."""

    name: str = field(metadata=doc("node name, as the host has it"))
    machine_id: str | None = field(default=None, metadata=doc("/etc/machine-id"))
    os: str | None = field(default=None, metadata=doc("PRETTY_NAME of os-release"))
    os_id: str | None = field(default=None, metadata=doc("ID of os-release"))
    os_like: list[str] = field(default_factory=list, metadata=doc("ID_LIKE of os-release: what it descends from"))
    kernel: str | None = field(default=None, metadata=doc("kernel release"))
    booted_at: int | None = field(default=None, metadata=doc("boot time, seconds since the epoch"))
    root: bool = field(default=False, metadata=doc("the probe ran as root"))
    python: str = field(default="", metadata=doc("version of Python that the probe ran under"))


@dataclass
class Snapshot:
    """One host, read once."""

    host: Host = field(metadata=doc("the host"))
    selinux: SELinux = field(metadata=doc("SELinux"))
    libvirt: Libvirt = field(metadata=doc("libvirt"))
    coverage: dict[str, Coverage] = field(metadata=doc("per area: could it be looked at"))
    taken_at: float = field(metadata=doc("time of the probe, seconds since the epoch, by the host's clock"))
    guests: list[Guest] = field(default_factory=list, metadata=doc("guests, by uuid"))
    processes: list[Process] = field(default_factory=list, metadata=doc("QEMU and helper processes, by pid"))
    containers: list[ContainerLabel] = field(default_factory=list, metadata=doc("labels of containers, sorted"))
    storage: list[Storage] = field(
        default_factory=list,
        metadata=doc("mounts that hold guests' files or are reached over a network, by mount point"),
    )
    orphans: list[Orphan] = field(default_factory=list, metadata=doc("orphan labels, by path"))
    xen: Xen | None = field(default=None, metadata=doc("Xen, where libvirt drives it"))
    schema: str = field(default=SCHEMA, metadata=doc("svirt.fleet/snapshot/1"))
