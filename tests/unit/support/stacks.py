# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Hosts as management stacks leave them: their domain XML, paths, owners, labels, daemons. None of them was run.

Each stack has a clean state, in which all that it lets its operator set is set well, and its typical fault. The shapes
are from the stacks' own sources and documentation (docs/stacks.md).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from . import hosts
from .captured import Tree

#: A guest's level, its labels, and the path of its QEMU.
LEVEL = "s0:c100,c200"
OWN = f"system_u:object_r:svirt_image_t:{LEVEL}"
QEMU = "/usr/libexec/qemu-kvm"
DISK_ID, OTHER_ID = "5d2f0f3e-7a4c-4c1e-9b57-1f4a3a1c0001", "5d2f0f3e-7a4c-4c1e-9b57-1f4a3a1c0002"
NOVA = "/var/lib/nova/instances"
BASE = f"{NOVA}/_base/731d527f50917ff3364203ebbcf8d4c22dc7919c"
RHEV = "/rhev/data-center/mnt"
ONE = "/var/lib/one//datastores/0/42"
CLOUDSTACK = "/mnt/07eb495b-5590-3877-9fb7-23c6e9a40d40"
DAEMON = 900
NUMBER = 253 << 8 | 3
SESSION = ("unconfined_u:unconfined_r:svirt_t:s0:c7,c8", 1000, "/user.slice/user-1000.slice/user@1000.service/x")
KUBEPODS = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/crio-0123.scope"
CONF = 'security_driver = "selinux"\nsecurity_require_confined = 1\n'


@dataclass(frozen=True)
class Stack:
    """One stack: a host in its clean state, what goes wrong with it, and the finding that shows it."""

    make: t.Callable[[], Tree]
    fault: t.Callable[[Tree], None]
    #: Rule and severity.
    shows: tuple[str, str]
    profile: str = "local"
    #: The finding is one across hosts.
    across: bool = False


@dataclass(frozen=True)
class Shape:
    """A guest's XML as its stack writes it."""

    name: str
    devices: str
    persistent: bool = True
    metadata: str = ""

    def xml(self, seclabel: str, live: bool) -> str:
        """The guest's definition, or with ``live`` what libvirt made of it."""
        number = " id='1'" if live else ""
        return (
            f"<domain type='kvm'{number}><name>{self.name}</name><uuid>{hosts.UUID}</uuid>{self.metadata}"
            "<os><type arch='x86_64' machine='q35'>hvm</type></os>"
            f"<devices><emulator>{QEMU}</emulator>{self.devices}</devices>{seclabel}</domain>"
        )


def seclabel(label: str = hosts.LABEL, image: str = OWN, kind: str = "dynamic") -> str:
    """The <seclabel> of a running guest."""
    return (
        f"<seclabel type='{kind}' model='selinux' relabel='yes'><label>{label}</label>"
        f"<imagelabel>{image}</imagelabel></seclabel>"
    )


def file_disk(path: str, backing: str = "", target: str = "vda", more: str = "", kind: str = "disk") -> str:
    """A disk in a file."""
    chain = f"<backingStore type='file'><format type='raw'/><source file='{backing}'/><backingStore/></backingStore>"
    readonly = "<readonly/>" if kind == "cdrom" else ""
    return (
        f"<disk type='file' device='{kind}'><driver name='qemu' type='qcow2' cache='none'/><source file='{path}'>{more}"
        f"</source>{chain if backing else '<backingStore/>'}<target dev='{target}' bus='virtio'/>{readonly}</disk>"
    )


OVS_CARD = (
    "<interface type='bridge'><mac address='fa:16:3e:00:00:01'/><source bridge='br-int'/>"
    "<virtualport type='openvswitch'/><target dev='tap0'/><model type='virtio'/></interface>"
)
FILTERED_CARD = (
    "<interface type='bridge'><mac address='56:6f:00:00:00:01'/><source bridge='ovirtmgmt'/>"
    "<filterref filter='clean-traffic'><parameter name='IP' value='192.0.2.7'/></filterref></interface>"
)
AGENT = (
    "<channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channels/{}.org.qemu.guest_agent.0'/>"
    "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
)


def run(tree: Tree, shape: Shape, label: str = hosts.LABEL, xml: str = "", cgroup: str = "") -> None:
    """A running guest of a shape: its process, what libvirt says of it, and its files of state."""
    live = shape.xml(xml or seclabel(), live=True)
    scope = cgroup or f"/machine.slice/machine-qemu\\x2d1\\x2d{shape.name}.scope/libvirt/emulator"
    words = (QEMU, "-name", f"guest={shape.name},debug-threads=on", "-S", "-uuid", hosts.UUID)
    hosts.process(tree, hosts.PID, QEMU, label, words, hosts.QEMU_UID, scope)
    status = (
        f"<domstatus state='running' reason='booted' pid='{hosts.PID}'><namespaces><mount/></namespaces>"
        f"<libDir path='/var/lib/libvirt/qemu/domain-1-{shape.name[:20]}'/><chardevStdioLogd/>{live}</domstatus>"
    )
    tree.file(f"/run/libvirt/qemu/{shape.name}.xml", status, mode=0o600)
    tree.file(f"/run/libvirt/qemu/{shape.name}.pid", str(hosts.PID))
    tree.folder(f"/var/lib/libvirt/qemu/domain-1-{shape.name[:20]}", OWN)
    item = {"uuid": hosts.UUID, "name": shape.name, "state": "running", "active": True}
    item["persistent"] = shape.persistent
    if shape.persistent:
        inactive = shape.xml("", live=False)
        item["inactive"] = inactive
        tree.file(f"/etc/libvirt/qemu/{shape.name}.xml", inactive, mode=0o600)
    tree.libvirt[:] = [
        {"driver": "QEMU", "version": 10000000},
        item,
        {"filters": FILTERS},
        {"networks": []},
        {"capabilities": hosts.CAPABILITIES},
    ]


FILTERS = [
    (
        "<filter name='clean-traffic' chain='root'><filterref filter='no-mac-spoofing'/>"
        "<filterref filter='no-ip-spoofing'/><filterref filter='no-arp-spoofing'/></filter>"
    ),
    (
        "<filter name='no-mac-spoofing' chain='mac'>"
        "<rule action='return' direction='out'><mac srcmacaddr='$MAC'/></rule>"
        "<rule action='drop' direction='out'><mac/></rule></filter>"
    ),
    (
        "<filter name='no-ip-spoofing' chain='ipv4-ip'>"
        "<rule action='return' direction='out'><ip srcipaddr='$IP'/></rule>"
        "<rule action='drop' direction='out'/></filter>"
    ),
    (
        "<filter name='no-arp-spoofing'><filterref filter='no-arp-mac-spoofing'/>"
        "<filterref filter='no-arp-ip-spoofing'/></filter>"
    ),
    (
        "<filter name='no-arp-mac-spoofing' chain='arp-mac'><rule action='return' direction='out'>"
        "<arp arpsrcmacaddr='$MAC'/></rule><rule action='drop' direction='out'/></filter>"
    ),
    (
        "<filter name='no-arp-ip-spoofing' chain='arp-ip'><rule action='return' direction='out'>"
        "<arp arpsrcipaddr='$IP'/></rule><rule action='drop' direction='out'/></filter>"
    ),
    (
        "<filter name='vdsm-no-mac-spoofing' chain='root'><filterref filter='no-mac-spoofing'/>"
        "<filterref filter='no-arp-mac-spoofing'/></filter>"
    ),
]


def host(conf: str = CONF, booleans: t.Collection[str] = ()) -> Tree:
    """An EL host with the modular daemon, and no guest yet."""
    tree = Tree()
    hosts.kernel(tree)
    hosts.selinux(tree)
    hosts.users(tree)
    hosts.bls(tree)
    hosts.virtqemud(tree, DAEMON)
    tree.file(f"{hosts.STORE}/100/virt/cil", "(type svirt_t)\n(typepermissive virtqemud_t)\n")
    tree.file("/etc/libvirt/qemu.conf", conf, mtime=1699990000.0)
    tree.file("/etc/os-release", 'ID="rhel"\nPRETTY_NAME="RHEL 10"\n')
    for name in ("virt_use_nfs", "virt_use_samba", "virt_use_fusefs", "virt_use_sanlock"):
        value = int(name in booleans)
        tree.file(f"/sys/fs/selinux/booleans/{name}", f"{value} {value}")
    return tree


def data(tree: Tree, path: str, label: str | None = OWN, uid: int = hosts.QEMU_UID, mode: int = 0o600) -> None:
    """A guest's file."""
    tree.file(path.replace("//", "/"), label=label, uid=uid, gid=uid, mode=mode)


def mount(tree: Tree, where: str, source: str, options: str = "rw", kind: str = "nfs4", number: int = 49) -> None:
    """A mounted share."""
    line = f"{30 + number} 22 0:{number} / {where} rw,relatime - {kind} {source} {options}\n"
    tree.entries["/proc/self/mountinfo"].content += line.encode()
    tree.folder(where)


# -- nova ------------------------------------------------------------------------------------------------------------

NOVA_SHAPE = Shape(
    "instance-0000002a",
    file_disk(f"{NOVA}/{hosts.UUID}/disk", BASE)
    + file_disk(f"{NOVA}/{hosts.UUID}/disk.config", target="sda", kind="cdrom")
    + "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
    "<source protocol='rbd' name='volumes/volume-1'><host name='192.0.2.1' port='6789'/></source>"
    "<target dev='vdb' bus='virtio'/></disk>"
    + OVS_CARD
    + f"<serial type='pty'><log file='{NOVA}/{hosts.UUID}/console.log' append='off'/><target port='0'/></serial>",
    metadata="<metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>"
    "<nova:name>web</nova:name></nova:instance></metadata>",
)


def nova() -> Tree:
    """nova-compute of packages: the instance's folder, its base image in the cache, a volume in Ceph."""
    tree = host()
    run(tree, NOVA_SHAPE)
    nova_files(tree)
    return tree


def nova_files(tree: Tree, folder: str = NOVA) -> list[str]:
    """What nova and libvirt have in the instance's folder and in the image cache; their paths."""
    data(tree, f"{folder}/{hosts.UUID}/disk")
    data(tree, f"{folder}/{hosts.UUID}/disk.config", hosts.CONTENT_LABEL, mode=0o644)
    data(tree, f"{folder}/{hosts.UUID}/console.log", "system_u:object_r:virt_log_t:s0", uid=0)
    data(tree, f"{folder}/{BASE.removeprefix(NOVA + '/')}", hosts.CONTENT_LABEL, mode=0o644)
    return [path for path in tree.entries if path.startswith(f"{folder}/") and tree.entries[path].type == "f"]


def restorecon_over_nova(tree: Tree) -> None:
    """Somebody ran restorecon -F over the instances, as old guides for openstack-selinux say."""
    data(tree, f"{NOVA}/{hosts.UUID}/disk", "system_u:object_r:nova_var_lib_t:s0")


# -- oVirt -----------------------------------------------------------------------------------------------------------

_DOMAIN, _IMAGE = "1b2c3d4e-0000-4000-8000-0000000000d1", "1b2c3d4e-0000-4000-8000-0000000000a1"
OVIRT_CONF = (
    'security_driver = "selinux"\nsecurity_require_confined = 1\ndynamic_ownership = 1\nsave_image_format = "gzip"\n'
    'user = "qemu"\ngroup = "qemu"\nmax_core = "unlimited"\nlock_manager = "sanlock"\n'
)
OVIRT_BOOLEANS = ("virt_use_nfs", "virt_use_samba", "virt_use_fusefs", "virt_use_sanlock")
_KEPT = "<seclabel model='dac' relabel='no'/>"
_OVIRT_MORE = FILTERED_CARD + AGENT.format(hosts.UUID)
OVIRT_FILE = Shape(
    "web", file_disk(f"{RHEV}/filer:_vms/{_DOMAIN}/images/{_IMAGE}/{DISK_ID}", more=_KEPT) + _OVIRT_MORE, False
)
OVIRT_LINK = f"{RHEV}/blockSD/{_DOMAIN}/images/{_IMAGE}/{DISK_ID}"
OVIRT_BLOCK = Shape(
    "web",
    f"<disk type='block' device='disk' snapshot='no'><driver name='qemu' type='qcow2' cache='none'/>"
    f"<source dev='{OVIRT_LINK}'>{_KEPT}</source><backingStore/><target dev='vda' bus='virtio'/></disk>" + _OVIRT_MORE,
    False,
)


def ovirt() -> Tree:
    """The host of an oVirt cluster: vdsm's section of qemu.conf, its booleans, sanlock."""
    tree = host(OVIRT_CONF, OVIRT_BOOLEANS)
    tree.file("/usr/lib64/libvirt/lock-driver/sanlock.so")
    tree.file(f"/var/lib/libvirt/qemu/channels/{hosts.UUID}.org.qemu.guest_agent.0", label=OWN, type="s", uid=107)
    return tree


def ovirt_file() -> Tree:
    """A file domain on NFS, whose files carry no labels of their own."""
    tree = ovirt()
    mount(tree, f"{RHEV}/filer:_vms", "filer:/vms")
    run(tree, OVIRT_FILE)
    data(tree, f"{RHEV}/filer:_vms/{_DOMAIN}/images/{_IMAGE}/{DISK_ID}", None, uid=36, mode=0o660)
    return tree


def ovirt_block() -> Tree:
    """A block domain: a link below /rhev to a logical volume, which the guest has in a /dev of its own."""
    tree = ovirt()
    run(tree, OVIRT_BLOCK)
    tree.link(OVIRT_LINK, f"/dev/{_DOMAIN}/{DISK_ID}")
    tree.link(f"/dev/{_DOMAIN}/{DISK_ID}", "../dm-3")
    tree.file("/dev/dm-3", type="b", rdev=NUMBER, uid=36, mode=0o660, label="system_u:object_r:fixed_disk_device_t:s0")
    own = f"/proc/{hosts.PID}/root"
    del tree.entries[own]
    tree.folder(own)
    tree.link(f"{own}/dev/{_DOMAIN}/{DISK_ID}", "/dev/dm-3")
    tree.file(f"{own}/dev/dm-3", type="b", rdev=NUMBER, label=OWN)
    tree.file("/sys/dev/block/253:3/dm/uuid", f"LVM-{'a' * 32}{'b' * 32}\n")
    socket = f"/var/lib/libvirt/qemu/channels/{hosts.UUID}.org.qemu.guest_agent.0"
    tree.add(f"{own}{socket}", tree.entries[socket])
    return tree


def driver_off(tree: Tree) -> None:
    """vdsm was built or configured without SELinux, as on hosts that run permissive at first: security_driver none."""
    tree.file("/etc/libvirt/qemu.conf", OVIRT_CONF.replace('"selinux"', '"none"'), mtime=1699990000.0)
    none = "<capabilities><host><secmodel><model>none</model><doi>0</doi></secmodel></host></capabilities>"
    tree.libvirt[-1] = {"capabilities": none}


def udev_rule(tree: Tree) -> None:
    """An udev rule set the node's label back while its guest ran (the volume was extended)."""
    node = tree.entries[f"/proc/{hosts.PID}/root/dev/dm-3"]
    node.xattrs["security.selinux"] = b"system_u:object_r:fixed_disk_device_t:s0\0"


# -- OpenNebula ------------------------------------------------------------------------------------------------------

ONE_UID = 9869
ONE_CONF = f'{CONF}user = "oneadmin"\ngroup = "oneadmin"\ndynamic_ownership = 0\n'
ONE_SHAPE = Shape(
    "one-42",
    file_disk(f"{ONE}/disk.0") + file_disk(f"{ONE}/disk.1", target="sda", kind="cdrom") + FILTERED_CARD,
    False,
    "<metadata><one:vm xmlns:one='http://opennebula.org/xmlns/libvirt/1.0'><one:vnc_password>x</one:vnc_password>"
    "</one:vm></metadata>",
)


def opennebula() -> Tree:
    """A node of OpenNebula: transient guests from /var/lib/one, whose files stay with the user oneadmin."""
    tree = host(ONE_CONF)
    tree.file("/etc/passwd", f"root:x:0:0::/:/\nqemu:x:107:107::/:/\noneadmin:x:{ONE_UID}:{ONE_UID}::/:/\n")
    tree.file("/etc/group", f"root:x:0:\nqemu:x:107:\nkvm:x:36:oneadmin\noneadmin:x:{ONE_UID}:\n")
    run(tree, ONE_SHAPE)
    data(tree, f"{ONE}/disk.0", uid=ONE_UID, mode=0o660)
    data(tree, f"{ONE}/disk.1", hosts.CONTENT_LABEL, uid=ONE_UID, mode=0o660)
    return tree


def raw_without_label(tree: Tree) -> None:
    """RAW = [ TYPE = kvm, DATA = "<seclabel type='none'/>" ], copied from a forum to get past a denial."""
    label = "system_u:system_r:virtqemud_t:s0"
    run(tree, ONE_SHAPE, label, "<seclabel type='none' model='selinux'/>")


# -- CloudStack ------------------------------------------------------------------------------------------------------

CLOUDSTACK_SHAPE = Shape(
    "i-2-33-VM",
    file_disk(f"{CLOUDSTACK}/{DISK_ID}", f"{CLOUDSTACK}/{OTHER_ID}")
    + "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='hdc' bus='ide'/><readonly/></disk>"
    + OVS_CARD,
    False,
)


def cloudstack() -> Tree:
    """A host of CloudStack: transient guests on primary storage, here NFS without labels, and Open vSwitch."""
    tree = host(CONF, ("virt_use_nfs",))
    mount(tree, CLOUDSTACK, "filer:/primary")
    run(tree, CLOUDSTACK_SHAPE)
    data(tree, f"{CLOUDSTACK}/{DISK_ID}", None)
    data(tree, f"{CLOUDSTACK}/{OTHER_ID}", None, uid=0, mode=0o644)
    return tree


def permissive(tree: Tree) -> None:
    """The installation guide's step: SELinux permissive."""
    tree.file("/sys/fs/selinux/enforce", "0")
    tree.file("/etc/selinux/config", "SELINUX=permissive\nSELINUXTYPE=targeted\n")


# -- containers' guests ----------------------------------------------------------------------------------------------


def node() -> Tree:
    """A node of Kubernetes: no libvirt of its own."""
    tree = Tree()
    hosts.kernel(tree)
    hosts.selinux(tree)
    hosts.bls(tree)
    for name in ("virt_use_nfs", "virt_sandbox_use_netlink"):
        tree.file(f"/sys/fs/selinux/booleans/{name}", "0 0")
    tree.file("/etc/os-release", 'ID="rhcos"\nID_LIKE="rhel fedora"\n')
    return tree


def kubevirt() -> Tree:
    """KubeVirt: virtqemud and QEMU in a pod, both with the pod's label."""
    tree = node()
    label = "system_u:system_r:container_t:s0:c15,c700"
    words = (QEMU, "-name", "guest=default_web,debug-threads=on", "-S")
    hosts.process(tree, 300, "/usr/bin/virt-launcher", label, uid=107, cgroup=KUBEPODS)
    hosts.process(tree, 301, "/usr/sbin/virtqemud", label, uid=107, cgroup=KUBEPODS)
    hosts.process(tree, 302, QEMU, label, words, 107, KUBEPODS)
    return tree


def launcher_unconfined(tree: Tree) -> None:
    """A sidecar or an old release with selinuxLauncherType spc_t."""
    words = (QEMU, "-name", "guest=default_web,debug-threads=on", "-S")
    hosts.process(tree, 302, QEMU, "system_u:system_r:spc_t:s0", words, 107, KUBEPODS)


def kata() -> Tree:
    """Kata: a QEMU for each pod, with a type of its own that the engine asked for."""
    tree = node()
    label = "system_u:system_r:container_kvm_t:s0:c21,c84"
    words = ("/usr/libexec/qemu-kvm", "-name", "sandbox-0123,debug-threads=on", "-machine", "q35,accel=kvm")
    hosts.process(tree, 310, "/usr/libexec/virtiofsd", label, cgroup=KUBEPODS)
    hosts.process(tree, 311, words[0], label, words, cgroup=KUBEPODS)
    return tree


def selinux_disabled_in_kata(tree: Tree) -> None:
    """disable_selinux = true in Kata's configuration: QEMU stays in the engine's domain."""
    words = ("/usr/libexec/qemu-kvm", "-name", "sandbox-0123,debug-threads=on", "-machine", "q35,accel=kvm")
    hosts.process(tree, 311, words[0], "system_u:system_r:container_runtime_t:s0", words, cgroup=KUBEPODS)


# -- daemons in containers -------------------------------------------------------------------------------------------

THERE = f"/proc/{DAEMON}/root"


def contained(cgroup: str, bind: str) -> Tree:
    """nova's libvirt in a privileged container; ``bind`` is the host's folder that is /var/lib/nova there."""
    tree = host()
    for name in ("/usr/sbin/virtqemud", "/usr/sbin/virtproxyd", "/etc/libvirt/qemu.conf"):
        del tree.entries[name]  # the host has no libvirt of its own
    hosts.process(tree, DAEMON, "/usr/sbin/virtqemud", "system_u:system_r:spc_t:s0", cgroup=cgroup)
    del tree.entries[THERE]
    tree.folder(f"{THERE}/etc/libvirt")
    tree.file(f"{THERE}/etc/libvirt/qemu.conf", f'{CONF}user = "nova"\n', mtime=1699990000.0)
    tree.file(f"{THERE}/etc/passwd", "root:x:0:0::/:/\nnova:x:107:107::/:/\n")
    run(tree, NOVA_SHAPE, cgroup="/machine/qemu-1-instance-0000002a.libvirt-qemu/emulator")
    inside = f"/proc/{hosts.PID}/root"
    del tree.entries[inside]
    tree.folder(inside)
    mounts = "90 89 0:70 / / rw - overlay overlay rw\n"
    for number, (folder, place) in enumerate(((bind, "/var/lib/nova"), ("/var/lib/libvirt", "/var/lib/libvirt"))):
        mounts += f"{91 + number} 90 254:1 {folder} {place} rw - xfs /dev/vda1 rw\n"
    tree.file(f"/proc/{hosts.PID}/mountinfo", mounts)
    for path in nova_files(tree, f"{bind}/instances"):
        tree.add(f"{inside}/var/lib/nova{path.removeprefix(bind)}", tree.entries[path])
    state = f"/var/lib/libvirt/qemu/domain-1-{NOVA_SHAPE.name}"
    tree.add(f"{inside}{state}", tree.entries[state])
    return tree


KOLLA_VOLUME = "/var/lib/docker/volumes/nova_compute/_data"


def kolla() -> Tree:
    """Kolla: nova_libvirt under Docker, the instances in a volume; the operator made its hosts enforcing."""
    return contained("/docker/0123", KOLLA_VOLUME)


def driver_off_in_container(tree: Tree) -> None:
    """The container's own qemu.conf turns the driver off; the host has no such file to look at."""
    tree.file(f"{THERE}/etc/libvirt/qemu.conf", 'security_driver = "none"\nuser = "nova"\n', mtime=1699990000.0)
    none = "<capabilities><host><secmodel><model>none</model><doi>0</doi></secmodel></host></capabilities>"
    tree.libvirt[-1] = {"capabilities": none}


def tripleo() -> Tree:
    """TripleO and the first releases of EDPM: nova_virtqemud under podman, the host's /var/lib/nova bound in."""
    return contained("/machine.slice/libpod-0123.scope/container", "/var/lib/nova")


def relabelled_volume(tree: Tree) -> None:
    """The volume option :z gave everything below /var/lib/nova the containers' label, a running guest's disk too."""
    data(tree, f"{NOVA}/{hosts.UUID}/disk", "system_u:object_r:container_file_t:s0")
    tree.add(f"/proc/{hosts.PID}/root{NOVA}/{hosts.UUID}/disk", tree.entries[f"{NOVA}/{hosts.UUID}/disk"])


# -- single hosts ----------------------------------------------------------------------------------------------------

_NAT_CARD = (
    "<interface type='network'><mac address='52:54:00:00:00:01'/><source network='default' bridge='virbr0'/>"
    "<filterref filter='clean-traffic'><parameter name='CTRL_IP_LEARNING' value='dhcp'/></filterref></interface>"
)
DESKTOP_SHAPE = Shape(
    "web", file_disk(hosts.IMAGE) + file_disk("/var/lib/libvirt/images/tools.iso", "", "sda", "", "cdrom")
)


def cockpit() -> Tree:
    """cockpit-machines: guests of the system's libvirt, in its default pool."""
    tree = host()
    run(tree, Shape("web", DESKTOP_SHAPE.devices + _NAT_CARD))
    tree.libvirt[-2] = {
        "networks": ["<network><name>default</name><forward mode='nat'/><bridge name='virbr0'/></network>"]
    }
    data(tree, hosts.IMAGE)
    data(tree, "/var/lib/libvirt/images/tools.iso", hosts.CONTENT_LABEL, mode=0o644)
    return tree


def user_session(tree: Tree) -> None:
    """A user without administrator's rights made a guest in cockpit: it runs under that user's own daemon."""
    label, uid, cgroup = SESSION
    words = (QEMU, "-name", "guest=mine,debug-threads=on", "-machine", "q35,accel=kvm", "-nodefaults")
    hosts.process(tree, 50, QEMU, label, words, uid, cgroup)


def cloned(tree: Tree) -> None:
    """virt-clone copied a static label with the definition; both guests run, as libvirt does not compare them."""
    other = "6d2b0b53-5c1e-4c3b-9e0c-9a3f2f6c0a02"
    static = seclabel(kind="static")
    run(tree, Shape("web", DESKTOP_SHAPE.devices + _NAT_CARD), xml=static)
    tree.libvirt[1]["inactive"] = tree.libvirt[1]["inactive"].replace("</domain>", f"{static}</domain>")
    clone = dict(tree.libvirt[1])
    path = hosts.IMAGE.replace("web", "web-clone")
    live = Shape("web-clone", file_disk(path)).xml(static, live=True).replace(hosts.UUID, other)
    words = (QEMU, "-name", "guest=web-clone,debug-threads=on", "-S", "-uuid", other)
    scope = "/machine.slice/machine-qemu\\x2d2\\x2dweb-clone.scope/libvirt/emulator"
    hosts.process(tree, 4343, QEMU, hosts.LABEL, words, hosts.QEMU_UID, scope)
    clone.update(uuid=other, name="web-clone", live=live, inactive=live.replace(" id='1'", ""))
    tree.file("/run/libvirt/qemu/web-clone.pid", "4343")
    tree.libvirt.insert(2, clone)
    data(tree, path)


STACKS: dict[str, Stack] = {
    "nova": Stack(nova, restorecon_over_nova, ("IMG-002", "critical")),
    "oVirt, file domain": Stack(ovirt_file, driver_off, ("LIB-001", "critical"), "ovirt"),
    "oVirt, block domain": Stack(ovirt_block, udev_rule, ("IMG-010", "critical"), "ovirt"),
    "OpenNebula": Stack(opennebula, raw_without_label, ("GST-002", "critical")),
    "CloudStack": Stack(cloudstack, permissive, ("SEL-002", "critical"), "nfs"),
    "KubeVirt": Stack(kubevirt, launcher_unconfined, ("GST-001", "critical")),
    "Kata": Stack(kata, selinux_disabled_in_kata, ("GST-001", "critical")),
    "Kolla": Stack(kolla, driver_off_in_container, ("LIB-001", "critical")),
    "TripleO, EDPM": Stack(tripleo, relabelled_volume, ("IMG-002", "critical")),
    "cockpit": Stack(cockpit, user_session, ("GST-001", "medium")),
    "virt-manager": Stack(cockpit, cloned, ("CAT-002", "critical"), across=True),
}
