# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Section D: every resource that libvirt labels is seen, and none that it does not label is judged."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import domain_xml, file_labels
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import guests

from tests.unit.cases.test_c import LEVEL, OWN, TYPES, guest_of, host_of
from tests.unit.support import factory, hosts
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.judging import found, status

DATA = Path(__file__).parent / "data"
VFIO = "/dev/vfio/42"
OPEN_LABEL = "system_u:object_r:container_file_t:s0"


def read(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def filled(tree: Tree, xml: str, running: bool = False, active: bool = True) -> tuple[s.Guest, list[str]]:
    """A guest with its files, as the probe lists them, and codes of what of them is not known."""
    domain = domain_xml.parse_status(xml).domain if running else domain_xml.parse_domain(xml)
    read_guest = guests.ReadGuest(s.Guest(domain.uuid, domain.name, "running", active), domain)
    problems = guests.fill_resources(CapturedRoot(tree), read_guest, TYPES)
    return read_guest.guest, [problem.code for problem in problems]


def listed(tree: Tree, xml: str, running: bool = False) -> list[tuple[str, str, str, str | None]]:
    return [(item.kind, item.path, item.role, item.expected) for item in filled(tree, xml, running)[0].resources]


def with_pci(address: str = "0000:06:02.0", group: str = "42") -> Tree:
    tree = Tree()
    tree.link(f"/sys/bus/pci/devices/{address}/iommu_group", f"../../../kernel/iommu_groups/{group}")
    return tree


def devices(text: str, memory: str = "") -> str:
    return (
        f"<domain type='kvm' id='3'><name>vm1</name><uuid>6d2b0b53-5c1e-4c3b-9e0c-9a3f2f6c0a09</uuid>{memory}"
        f"<devices>{text}</devices><seclabel type='dynamic' model='selinux' relabel='yes'>"
        f"<label>{factory.process_label(LEVEL)}</label><imagelabel>{OWN}</imagelabel></seclabel></domain>"
    )


@pytest.mark.parametrize("name", ["card-passed.xml", "card-of-network.xml"])
def test_d_host_device_behind_an_interface(name: str) -> None:
    assert listed(with_pci(), read(name)) == [("hostdev", VFIO, "image", OWN)]
    assert "passthrough_pci" in domain_xml.parse_domain(read(name)).risks


@pytest.mark.parametrize(
    ("interface", "paths"),
    [
        (
            "<interface type='hostdev'><source><address type='usb' bus='1' device='4'/></source></interface>",
            ["/dev/bus/usb/001/004"],
        ),
        ("<interface type='network'><source network='n'/><actual type='direct'/></interface>", []),
        ("<interface type='network'><source network='n'/></interface>", []),
        ("<interface type='bridge'><source bridge='br0'/></interface>", []),
        ("<interface type='hostdev'><source/></interface>", []),
    ],
)
def test_d_other_interfaces(interface: str, paths: list[str]) -> None:
    assert [item[1] for item in listed(with_pci(), devices(interface))] == paths


def test_d_device_behind_an_interface_is_judged_in_the_guests_dev() -> None:
    guest = filled(with_pci(), read("card-passed.xml"))[0]
    guest.kind, guest.context, guest.pid = "kvm", factory.process_label(LEVEL), 7
    guest.live = domain_xml.parse_domain(read("card-passed.xml")).seclabels
    (item,) = guest.resources
    item.in_namespace = True
    item.file = s.FileFacts(True, "", "char", "system_u:object_r:vfio_device_t:s0")
    assert ("IMG-010", "high", f"image {VFIO}") in found(host_of(guest))
    item.file.label = OWN
    assert not any(rule == "IMG-010" for rule, _severity, _subject in found(host_of(guest)))


def test_d_directory_of_the_guests_memory() -> None:
    rows = listed(Tree(), read("memory-in-files.status.xml"), running=True)
    assert ("memory_dir", "/var/lib/libvirt/qemu/ram/3-web", "image", OWN) in rows


@pytest.mark.parametrize(
    ("memory", "more", "there"),
    [
        ("", "", False),
        ("<memoryBacking><source type='memfd'/></memoryBacking>", "", False),
        ("<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>", "", True),
        ("<cpu><numa><cell id='0' memory='1' memAccess='shared'/></numa></cpu>", "", True),
        ("", "<memory model='dimm' access='shared'/>", True),
        ("", "<memory model='dimm'/>", False),
    ],
)
def test_d_when_memory_is_kept_in_files(memory: str, more: str, there: bool) -> None:
    xml = f"<domstatus pid='7'><memoryBackingDir path='/ram/3-vm1'/>{devices(more, memory)}</domstatus>"
    assert ("memory_dir" in {item[0] for item in listed(Tree(), xml, running=True)}) is there


@pytest.mark.parametrize(
    ("pages", "there"),
    [
        ("<hugepages/>", True),
        ("<hugepages><page size='2048' unit='KiB'/></hugepages>", True),
        ("<hugepages><page size='1' unit='G'/></hugepages>", True),
        ("<hugepages><page size='4' unit='KiB'/></hugepages>", False),
        ("", False),
    ],
)
def test_d_directories_of_huge_pages(pages: str, there: bool) -> None:
    tree = Tree()
    tree.file("/proc/self/mountinfo", "9 1 0:9 / /dev/hugepages rw - hugetlbfs hugetlbfs rw,seclabel,pagesize=2M\n")
    rows = listed(tree, devices("", f"<memoryBacking>{pages}</memoryBacking>"))
    assert rows == ([("hugepages_dir", "/dev/hugepages/libvirt/qemu/3-vm1", "image", OWN)] if there else [])


def test_d_socket_that_qemu_listens_on() -> None:
    path = "/var/lib/libvirt/qemu/channel/target/domain-1-vm1/org.qemu.guest_agent.0"
    assert listed(Tree(), read("agent-socket.xml")) == [("chardev", path, "image", OWN)]


def test_d_nvme_disk_is_a_passed_controller() -> None:
    tree = with_pci("0000:01:00.0")
    assert listed(tree, read("nvme-disk.xml")) == [("disk", VFIO, "image", OWN)]
    assert domain_xml.parse_domain(read("nvme-disk.xml")).risks == ["passthrough_pci"]


@pytest.mark.parametrize("active", [True, False])
def test_d_nvme_disk_leaves_no_rule_unknown(active: bool) -> None:
    guest = filled(with_pci("0000:01:00.0"), read("nvme-disk.xml"), active=active)[0]
    guest.kind, guest.context = "kvm", factory.process_label(LEVEL) if active else None
    guest.state = "running" if active else "shutoff"
    (item,) = guest.resources
    item.in_namespace = active
    label = OWN if active else "system_u:object_r:vfio_device_t:s0"
    item.file = s.FileFacts(True, "", "char", label, 0, 0, 0o600, "0:5", 9, None if active else "/dev")
    unknown = [number for number in range(1, 11) if status(host_of(guest), f"IMG-{number:03}") not in ("pass", "fail")]
    assert unknown == []


def test_d_seclabel_of_a_device_without_a_model_is_not_selinuxs() -> None:
    assert listed(Tree(), read("label-without-model.xml")) == [("disk", "/i/a", "image", OWN)]
    chardev = "<serial type='dev'><source path='/dev/ttyS1'><seclabel relabel='no'/></source></serial>"
    assert listed(Tree(), devices(chardev)) == [("chardev", "/dev/ttyS1", "image", OWN)]


@pytest.mark.parametrize(("write", "expected"), [(True, [("IMG-006", "critical", "image /i/a")]), (False, [])])
@pytest.mark.parametrize("label", [OPEN_LABEL, "system_u:object_r:custom_t:s0"])
def test_d_unlabelled_disk_of_a_type_that_the_policy_lets_guests_write(
    label: str, write: bool, expected: list[tuple[str, str, str]]
) -> None:
    guest = guest_of(read("disk-not-labelled.xml"), {"/i/a": label})
    snapshot = host_of(guest)
    snapshot.selinux.access.append(s.Access(factory.process_label("s0:c1022,c1023"), label, read=True, write=write))
    assert [item for item in found(snapshot) if item[0].startswith("IMG")] == expected


def test_d_label_with_categories_is_open_to_none() -> None:
    label = f"system_u:object_r:container_file_t:{LEVEL}"
    snapshot = host_of(guest_of(read("disk-not-labelled.xml"), {"/i/a": label}))
    snapshot.selinux.access.append(s.Access(factory.process_label("s0:c1022,c1023"), label, read=True, write=True))
    assert [item for item in found(snapshot) if item[0].startswith("IMG")] == []


def volume(pool: str, name: str, mode: str = "") -> str:
    attribute = f" mode='{mode}'" if mode else ""
    source = f"<source pool='{pool}' volume='{name}'{attribute}/>"
    return devices(f"<disk type='volume' device='disk'>{source}<target dev='vda'/></disk>")


def pool(type_: str, source: str = "", target: str = "/dev/disk/by-path") -> str:
    return f"<pool type='{type_}'><name>p1</name><source>{source}</source><target><path>{target}</path></target></pool>"


IQN = "iqn.2026-01.net.example:t1"


def pooled(text: str, folder: str = "/etc/libvirt/storage") -> Tree:
    tree = Tree()
    tree.file(f"{folder}/p1.xml", text)
    return tree


def test_d_volume_of_an_iscsi_pool_by_its_path() -> None:
    tree, name = pooled(read("pool-of-luns.xml")), f"ip-10.0.0.1:3260-iscsi-{IQN}-lun-1"
    tree.link(f"/dev/disk/by-path/{name}", "../../sdb")
    tree.link(f"/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-{IQN}-lun-11", "../../sdc")
    assert listed(tree, volume("p1", "unit:0:0:1")) == [("disk", f"/dev/disk/by-path/{name}", "image", OWN)]


def test_d_volume_of_an_iscsi_pool_by_its_session() -> None:
    tree = pooled(f"<poolstate>{read('pool-of-luns.xml')}</poolstate>", "/run/libvirt/storage")
    tree.file("/sys/class/iscsi_session/session2/targetname", f"{IQN}\n")
    tree.link("/sys/class/iscsi_session/session2/device", "../../../host5/session2")
    tree.folder("/sys/bus/scsi/devices/5:0:0:1/block/sdb")
    assert listed(tree, volume("p1", "unit:0:0:1")) == [("disk", "/dev/sdb", "image", OWN)]


@pytest.mark.parametrize(
    "adapter",
    [
        "<adapter type='scsi_host' name='scsi_host5'/>",
        "<adapter name='host5'/>",
        "<adapter type='fc_host' wwnn='20000000c9831b4b' wwpn='10000000c9831b4b'/>",
    ],
)
def test_d_volume_of_a_scsi_pool(adapter: str) -> None:
    tree = pooled(pool("scsi", adapter))
    tree.file("/sys/class/fc_host/host5/node_name", "0x20000000c9831b4b\n")
    tree.file("/sys/class/fc_host/host5/port_name", "0x10000000c9831b4b\n")
    tree.folder("/sys/bus/scsi/devices/5:0:2:1/block/sdd")
    assert listed(tree, volume("p1", "unit:0:2:1")) == [("disk", "/dev/sdd", "image", OWN)]


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        (pool("mpath", target="/dev/mapper"), "dm-3", "/dev/dm-3"),
        (pool("logical", target="/dev/vg"), "lv", "/dev/vg/lv"),
        (pool("disk", target="/dev"), "sdb1", "/dev/sdb1"),
        (pool("dir", target="/srv/images"), "a.qcow2", "/srv/images/a.qcow2"),
    ],
)
def test_d_volumes_of_other_pools(text: str, name: str, path: str) -> None:
    assert [item[1] for item in listed(pooled(text), volume("p1", name))] == [path]


@pytest.mark.parametrize(
    ("text", "name", "mode"),
    [
        (pool("rbd"), "image", ""),
        (pool("iscsi-direct"), "unit:0:0:1", ""),
        (pool("iscsi", f"<device path='{IQN}'/>"), "unit:0:0:1", "direct"),
    ],
)
def test_d_volumes_that_qemu_reaches_by_network_have_no_file(text: str, name: str, mode: str) -> None:
    guest, problems = filled(pooled(text), volume("p1", name, mode))
    assert (guest.resources, problems) == ([], [])


@pytest.mark.parametrize(("active", "problems"), [(True, ["volume_unresolved"]), (False, [])])
def test_d_volume_that_leads_nowhere_is_unknown_only_while_the_guest_runs(active: bool, problems: list[str]) -> None:
    guest, unknown = filled(pooled(read("pool-of-luns.xml")), volume("p1", "unit:0:0:1"), active=active)
    assert (guest.resources, unknown) == ([], problems)


def test_d_tpm_files_beside_its_state() -> None:
    passed = "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"
    assert listed(Tree(), devices(passed)) == [
        ("tpm", "/dev/tpm0", "image", OWN),
        ("tpm_cancel", "/sys/class/tpm/tpm0/device/cancel", "image", OWN),
    ]
    emulated = "<tpm><backend type='emulator' version='2.0'/></tpm>"
    rows = listed(Tree(), devices(emulated))
    assert ("tpm_socket", "/run/libvirt/qemu/swtpm/3-vm1-swtpm.sock", "image", OWN) in rows
    assert ("tpm_log", "/var/log/swtpm/libvirt/qemu/vm1-swtpm.log", "image", OWN) in rows


MACVTAP = "<interface type='direct'><source dev='eth0' mode='bridge'/><target dev='macvtap0'/></interface>"
RESOLVED = (
    "<interface type='network'><source network='n'/><target dev='macvtap0'/>"
    "<actual type='direct'><source dev='eth0' mode='vepa'/></actual></interface>"
)
TAP_LABEL = f"system_u:object_r:tun_tap_device_t:{LEVEL}"


def with_macvtap(tree: Tree | None = None) -> Tree:
    tree = tree or Tree()
    tree.file("/sys/class/net/macvtap0/ifindex", "17\n")
    return tree


@pytest.mark.parametrize("interface", [MACVTAP, RESOLVED])
def test_d_node_of_a_macvtap_has_the_range_of_the_process_and_its_own_type(interface: str) -> None:
    assert listed(with_macvtap(), devices(interface)) == [("tap", "/dev/tap17", "own", TAP_LABEL)]


MADE_BEFORE = "<interface type='ethernet'><target dev='macvtap0' managed='no'/></interface>"


@pytest.mark.parametrize("there", [True, False])
def test_d_a_macvtap_that_was_made_before_is_known_by_its_node(there: bool) -> None:
    tree = with_macvtap()
    if there:
        tree.file("/dev/tap17", type="c")
    assert listed(tree, devices(MADE_BEFORE)) == ([("tap", "/dev/tap17", "own", TAP_LABEL)] if there else [])


@pytest.mark.parametrize(
    ("interface", "active"),
    [
        (MACVTAP, False),
        (MACVTAP.replace("<target dev='macvtap0'/>", ""), True),
        (MACVTAP.replace("macvtap0", "macvtap9"), True),
        (RESOLVED.replace("type='direct'", "type='bridge'"), True),
        ("<interface type='bridge'><source bridge='b'/><target dev='macvtap0'/></interface>", True),
    ],
)
def test_d_interfaces_without_such_a_node(interface: str, active: bool) -> None:
    guest, _problems = filled(with_macvtap(), devices(interface), active=active)
    assert [item for item in guest.resources if item.expected] == []


@pytest.mark.parametrize(("label", "rules"), [(TAP_LABEL, []), (TAP_LABEL.replace(LEVEL, "s0"), ["IMG-001"])])
def test_d_node_of_a_macvtap_is_the_hosts_and_not_in_the_guests_dev(label: str, rules: list[str]) -> None:
    tree, expected = with_macvtap(hosts.el9()), TAP_LABEL.replace(LEVEL, "s0:c100,c200")
    tree.file("/run/libvirt/qemu/web.xml", hosts.status(more=MACVTAP), mode=0o600)
    tree.file("/dev/tap17", label=label.replace(LEVEL, "s0:c100,c200"), type="c")
    snapshot = hosts.look(tree)
    (item,) = [item for guest in snapshot.guests for item in guest.resources if item.kind == "tap"]
    assert (item.in_namespace, item.file.exists, item.expected) == (False, True, expected)
    assert [rule for rule, _severity, subject in found(snapshot) if "tap17" in subject] == rules


def test_d_backend_that_gets_its_device_handed_over_is_not_judged() -> None:
    address = "<source><address domain='0' bus='6' slot='2' function='0'/></source>"
    xml = devices(f"<hostdev mode='subsystem' type='pci'><driver iommufd='yes'/>{address}</hostdev>")
    assert listed(with_pci(), xml) == [("hostdev", VFIO, "untouched", None)]


def test_d_whole_host_with_all_of_them_is_clean() -> None:
    tree = hosts.el9()
    card = "<interface type='hostdev'><source><address type='pci' bus='0x06' slot='0x02'/></source></interface>"
    agent = "<channel type='unix'><source mode='bind' path='/run/a.sock'/><target type='virtio' name='a'/></channel>"
    tree.link("/sys/bus/pci/devices/0000:06:02.0/iommu_group", "../../../kernel/iommu_groups/42")
    tree.file(VFIO, label=hosts.IMAGE_LABEL, type="c")
    tree.file(f"/proc/{hosts.PID}/root{VFIO}", label=hosts.IMAGE_LABEL, type="c")
    tree.file("/run/a.sock", label=hosts.IMAGE_LABEL, type="s")
    tree.file("/run/libvirt/qemu/web.xml", hosts.status(more=card + agent), mode=0o600)
    snapshot = hosts.look(tree)
    kinds = {item.kind for guest in snapshot.guests for item in guest.resources}
    assert {"hostdev", "chardev", "disk", "backing", "state_dir"} <= kinds
    assert [item for item in found(snapshot) if item[0].startswith("IMG")] == []
    assert file_labels.IMAGE in {item.role for item in snapshot.guests[0].resources}


HOSTDEV = "<hostdev mode='subsystem' type='{}'><source>{}</source></hostdev>"


@pytest.mark.parametrize(("active", "problems"), [(True, ["device_unresolved"]), (False, [])])
@pytest.mark.parametrize(
    "device",
    [
        HOSTDEV.format("pci", "<address bus='6' slot='2' function='0'/>"),
        HOSTDEV.format("mdev", "<address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/>"),
        HOSTDEV.format("scsi", "<adapter name='scsi_host0'/><address bus='0' target='0' unit='0'/>"),
        "<disk type='nvme'><source type='pci' namespace='1'><address bus='6'/></source><target dev='vda'/></disk>",
        "<interface type='hostdev'><source><address type='pci' bus='6'/></source></interface>",
    ],
)
def test_d_device_that_leads_to_no_node_is_unknown_only_while_the_guest_runs(
    device: str, active: bool, problems: list[str]
) -> None:
    guest, unknown = filled(Tree(), devices(device), active=active)
    assert (guest.resources, unknown) == ([], problems)


def test_d_devices_without_a_node_of_their_own_are_no_gap() -> None:
    usb = "<hostdev mode='subsystem' type='usb'><source missing='yes'><address bus='1' device='2'/></source></hostdev>"
    disk = "<hostdev type='scsi'><source protocol='iscsi' name='iqn.x'><host name='h'/></source></hostdev>"
    rng = "<rng model='virtio'><backend model='egd' type='unix'><source mode='connect' path='/r'/></backend></rng>"
    assert filled(Tree(), devices(usb + disk + rng))[1] == []
