# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of what libvirt labels, and what it leaves."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import domain_xml, file_labels
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Resource, SecLabel

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
TYPES = file_labels.ImageTypes()

IMG = "system_u:object_r:svirt_image_t:s0:c1,c2"
FILE = "system_u:object_r:svirt_image_t:s0"
CONTENT = "system_u:object_r:virt_content_t:s0"
UUID = "6d0c9b1e-3f43-4a53-9a34-3a2d8a7f0c11"

# kind, target, path, role, label while running, set back when the guest stops
ROWS = [
    ("disk", "vda", "/srv/images/top.qcow2", "image", IMG, True),
    ("backing", "vda", "/srv/images/middle.qcow2", "content", CONTENT, False),
    ("backing", "vda", "/srv/images/base.raw", "content", CONTENT, False),
    ("disk", "vdb", "/dev/vg/shared", "shared", FILE, False),
    ("disk", "vdc", "/srv/images/readonly.img", "content", CONTENT, False),
    ("cdrom", "sda", "/srv/images/seed.iso", "content", CONTENT, False),
    ("disk", "vdd", "/srv/images/meta.qcow2", "image", IMG, True),
    ("data_file", "vdd", "/srv/images/meta.data", "image", IMG, True),
    ("disk", "vde", "/srv/images/own.qcow2", "own", "system_u:object_r:svirt_image_t:s0:c7", True),
    ("backing", "vde", "/srv/images/own-base.raw", "own", "system_u:object_r:svirt_image_t:s0:c7", False),
    ("disk", "vdf", "/srv/images/left.qcow2", "untouched", None, True),
    ("backing", "vdf", "/srv/images/left-base.raw", "untouched", None, False),
    ("disk", "vdg", "/srv/images/daconly.qcow2", "image", IMG, True),
    ("floppy", "fda", "/srv/dirdisk", "untouched", None, False),
    ("disk", "vdk", "/run/vhost/blk.sock", "untouched", None, True),
    ("disk", "vdl", "/srv/images/transient.qcow2.TRANSIENT-everything", "image", IMG, True),
    ("backing", "vdl", "/srv/images/transient.qcow2", "content", CONTENT, False),
    ("disk", "vdm", "/srv/images/copying.qcow2", "image", IMG, True),
    ("mirror", "vdm", "/srv/images/copy.qcow2", "image", IMG, True),
    ("filesystem", "tree", "/srv/tree", "untouched", None, True),
    ("nvram", "", "/var/lib/libvirt/qemu/nvram/everything_VARS.fd", "image", IMG, True),
    ("loader", "", "/usr/share/OVMF/OVMF_CODE_4M.fd", "untouched", None, True),
    ("kernel", "", "/srv/boot/vmlinuz", "content", CONTENT, True),
    ("initrd", "", "/srv/boot/initrd", "content", CONTENT, True),
    ("shim", "", "/srv/boot/shimx64.efi", "content", CONTENT, True),
    ("dtb", "", "/srv/boot/board.dtb", "content", CONTENT, True),
    ("acpi", "slic", "/srv/boot/slic.dat", "content", CONTENT, True),
    ("fw_cfg", "opt/com.coreos/config", "/srv/ignition/config.ign", "content", CONTENT, True),
    ("smartcard", "", "/srv/nssdb", "content", CONTENT, True),
    ("pstore", "", "/srv/pstore", "image", IMG, True),
    ("input", "", "/dev/input/event1", "image", IMG, True),
    ("memory", "nvdimm", "/srv/nvdimm", "image", IMG, True),
    ("memory", "virtio-pmem", "/srv/pmem", "image", IMG, True),
    ("memory", "sgx-epc", "/dev/sgx_vepc", "image", IMG, True),
    ("memory", "sgx-epc", "/dev/sgx_provision", "image", IMG, True),
    ("tpm", "", f"/var/lib/libvirt/swtpm/{UUID}/tpm2", "image", IMG, True),
    ("tpm_log", "", "/var/log/swtpm/libvirt/qemu/everything-swtpm.log", "image", IMG, True),
    ("tpm_socket", "", "/run/libvirt/qemu/swtpm/7-everything-swtpm.sock", "image", IMG, True),
    ("chardev", "serial0", "/var/log/everything.log", "untouched", None, True),
    ("chardev", "serial1", "/srv/own.log", "own", "system_u:object_r:svirt_image_t:s0:c9", True),
    ("chardev", "serial2", "/dev/ttyS1", "image", IMG, True),
    ("chardev", "serial3", "/srv/pipe", "image", IMG, True),
    ("chardev", "serial3", "/srv/pipe.in", "image", IMG, True),
    ("chardev", "serial3", "/srv/pipe.out", "image", IMG, True),
    ("chardev", "console0", "/var/log/everything.log", "untouched", None, True),
    ("chardev", "org.example.connect", "/srv/connect.sock", "image", IMG, True),
    (
        "chardev",
        "org.qemu.guest_agent.0",
        "/run/libvirt/qemu/channel/7-everything/org.qemu.guest_agent.0",
        "image",
        IMG,
        True,
    ),
    ("hostdev", "hostdev0", "/dev/bus/usb/001/004", "image", IMG, True),
    ("hostdev", "hostdev5", "/dev/vhost-scsi", "image", IMG, True),
    ("vsock", "", "/dev/vhost-vsock", "untouched", None, True),
    ("vhostuser", "52:54:00:00:00:02", "/run/openvswitch/vhu0", "untouched", None, True),
]


def load(name: str) -> domain_xml.Domain:
    return domain_xml.parse_domain((FIXTURES / name).read_text(encoding="utf-8"))


def by_key(found: list[Resource]) -> dict[tuple[str, str, str], Resource]:
    return {(item.kind, item.target, item.path): item for item in found}


def with_label(seclabel: SecLabel | None) -> domain_xml.Domain:
    return dataclasses.replace(load("everything.xml"), seclabels=[seclabel] if seclabel else [])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[2]}")
def test_running_guest(row: tuple[str, str, str, str, str | None, bool]) -> None:
    kind, target, path, role, label, restored = row
    found = by_key(file_labels.resources(load("everything.xml"), True, TYPES))[kind, target, path]
    assert (found.role, found.expected, found.restored) == (role, label, restored)


def test_running_guest_has_no_other_resources() -> None:
    found = file_labels.resources(load("everything.xml"), True, TYPES)
    assert {(item.kind, item.target, item.path) for item in found} == {row[:3] for row in ROWS}
    assert found == sorted(found, key=lambda item: (item.kind, item.target, item.path))


def test_guest_that_is_off_expects_no_label_but_keeps_its_roles() -> None:
    found = by_key(file_labels.resources(load("everything.xml"), False, TYPES))
    assert {item.expected for item in found.values()} == {None}
    assert found["disk", "vda", "/srv/images/top.qcow2"].role == "image"
    assert found["backing", "vda", "/srv/images/base.raw"].role == "content"
    # The overlay of a transient disk is there only while the guest runs.
    assert found["backing", "vdl", "/srv/images/transient.qcow2"].role == "content"
    assert not any(path.endswith(".TRANSIENT-everything") for _kind, _target, path in found)


def test_live_xml_that_names_the_transient_overlay_itself() -> None:
    domain = load("everything.xml")
    disk = next(device for device in domain.devices if device.transient)
    disk.backing, disk.source.path = (
        [domain_xml.Source("file", disk.source.path)],
        f"{disk.source.path}.TRANSIENT-everything",
    )
    found = by_key(file_labels.resources(domain, True, TYPES))
    assert found["disk", "vdl", "/srv/images/transient.qcow2.TRANSIENT-everything"].expected == IMG
    assert found["backing", "vdl", "/srv/images/transient.qcow2"].expected == CONTENT


def test_flags_of_shared_and_readonly_files() -> None:
    found = by_key(file_labels.resources(load("everything.xml"), True, TYPES))
    shared = found["disk", "vdb", "/dev/vg/shared"]
    assert (shared.shareable, shared.readonly) == (True, True)
    assert found["cdrom", "sda", "/srv/images/seed.iso"].readonly
    assert found["backing", "vda", "/srv/images/base.raw"].readonly
    assert not found["disk", "vda", "/srv/images/top.qcow2"].readonly


def test_data_file_of_a_backing_file_is_content_and_stays() -> None:
    domain = load("everything.xml")
    disk = next(device for device in domain.devices if device.target == "vda")
    disk.backing[0].data_file = domain_xml.Source("file", "/srv/images/middle.data")
    found = by_key(file_labels.resources(domain, True, TYPES))["data_file", "vda", "/srv/images/middle.data"]
    assert (found.role, found.restored) == ("content", False)


@pytest.mark.parametrize(
    ("shareable", "readonly", "role", "restored"),
    [
        (False, False, "image", True),
        (True, False, "shared", False),
        (False, True, "content", False),
        (True, True, "shared", False),
    ],
)
def test_scsi_host_device(shareable: bool, readonly: bool, role: str, restored: bool) -> None:
    domain = load("everything.xml")
    device = next(item for item in domain.devices if item.source.type == "scsi" and item.source.address)
    device.source.path, device.shareable, device.readonly = "/dev/sg3", shareable, readonly
    found = by_key(file_labels.resources(domain, True, TYPES))["hostdev", "hostdev3", "/dev/sg3"]
    assert (found.role, found.restored) == (role, restored)


@pytest.mark.parametrize(("type_", "target"), [("nvme", "vdj"), ("volume", "vdi")])
def test_path_that_a_reader_filled_in(type_: str, target: str) -> None:
    domain = load("everything.xml")
    device = next(item for item in domain.devices if item.source.type == type_)
    device.source.path = "/dev/vfio/12"
    assert by_key(file_labels.resources(domain, True, TYPES))["disk", target, "/dev/vfio/12"].expected == IMG


def test_file_chardev_without_logd_is_labelled() -> None:
    domain = dataclasses.replace(load("everything.xml"), logd=False)
    found = by_key(file_labels.resources(domain, True, TYPES))
    assert found["chardev", "serial0", "/var/log/everything.log"].expected == IMG


def test_fd_passed_image_is_not_known_to_be_set_back() -> None:
    domain = load("everything.xml")
    disk = next(device for device in domain.devices if device.target == "vda")
    disk.source.fdgroup = "group1"
    assert not by_key(file_labels.resources(domain, True, TYPES))["disk", "vda", "/srv/images/top.qcow2"].restored


@pytest.mark.parametrize(
    ("backend", "role"),
    [
        ("<backend type='passthrough'><device path='/dev/tpm1'/></backend>", "image"),
        ("<backend type='external'><source type='unix' mode='connect' path='/dev/tpm1'/></backend>", "untouched"),
        ("<backend type='emulator'><source type='dir' path='/dev/tpm1'/></backend>", "image"),
    ],
)
def test_tpm_backends(backend: str, role: str) -> None:
    domain = minimal(f"<tpm>{backend}</tpm>")
    found = [(item.path, item.role) for item in file_labels.resources(domain, True, TYPES) if item.kind == "tpm"]
    assert found == [("/dev/tpm1", role)]


def minimal(devices: str) -> domain_xml.Domain:
    return domain_xml.parse_domain(
        f"<domain type='kvm'><name>n</name><uuid>{UUID}</uuid><devices>{devices}</devices>"
        f"<seclabel model='selinux' type='dynamic'><imagelabel>{IMG}</imagelabel></seclabel></domain>"
    )


def test_static_guest_without_relabel_keeps_its_files_but_not_its_tpm_state() -> None:
    found = file_labels.resources(load("el10_emulated.xml"), True, TYPES)
    assert [(item.kind, item.role, item.expected) for item in found] == [
        ("disk", "untouched", None),
        ("tpm", "image", "system_u:object_r:svirt_image_t:s0:c100,c300,c600,c900"),
        ("tpm_log", "image", "system_u:object_r:svirt_image_t:s0:c100,c300,c600,c900"),
        ("tpm_socket", "untouched", None),
    ]
    assert found[1].path.endswith("/tpm1.2")


@pytest.mark.parametrize(
    "seclabel",
    [
        SecLabel(model="selinux", type="none"),
        SecLabel(model="selinux", type="none", relabel=False, imagelabel=FILE),
        SecLabel(model="selinux", type="static", label="u:r:svirt_t:s0:c1,c2", imagelabel=IMG),
        SecLabel(model="selinux", type="static", relabel=False, imagelabel=IMG),
        None,  # the driver is off, so the live XML has no seclabel for SELinux
    ],
)
def test_nothing_is_labelled_without_relabel(seclabel: SecLabel | None) -> None:
    found = file_labels.resources(with_label(seclabel), True, TYPES)
    others = [item for item in found if item.kind not in ("tpm", "tpm_log")]
    assert {item.role for item in others} == {"untouched"}
    assert {item.expected for item in others} == {None}


def test_type_none_labels_the_tpm_state_open() -> None:
    found = file_labels.resources(with_label(SecLabel("selinux", "none", False, imagelabel=FILE)), True, TYPES)
    assert [item.expected for item in found if item.kind == "tpm"] == [FILE]


def test_static_guest_with_relabel_is_labelled_like_a_dynamic_one() -> None:
    seclabel = SecLabel(model="selinux", type="static", relabel=True, label="u:r:svirt_t:s0:c1,c2", imagelabel=IMG)
    assert file_labels.resources(with_label(seclabel), True, TYPES) == file_labels.resources(
        load("everything.xml"), True, TYPES
    )


@pytest.mark.parametrize(
    ("labels", "relabels"),
    [
        ([], True),
        ([SecLabel(type="none")], False),
        ([SecLabel(model="none", type="none")], True),  # names another driver: SELinux makes a dynamic label
        ([SecLabel(model="dac", type="none"), SecLabel(model="selinux", type="static")], False),
        ([SecLabel(model="dac", type="static", relabel=False)], True),
        ([SecLabel(model="selinux", type="static", relabel=True)], True),
    ],
)
def test_persistent_seclabels(labels: list[SecLabel], relabels: bool) -> None:
    assert file_labels.relabels(file_labels.confinement(labels)) is relabels


def test_own_types_of_a_policy() -> None:
    types = file_labels.ImageTypes.of(["my_image_t", "my_content_t"])
    found = by_key(file_labels.resources(load("everything.xml"), True, types))
    assert found["disk", "vdb", "/dev/vg/shared"].expected == "system_u:object_r:my_image_t:s0"
    assert found["kernel", "", "/srv/boot/vmlinuz"].expected == "system_u:object_r:my_content_t:s0"
    assert file_labels.ImageTypes.of([]) == TYPES
    assert file_labels.ImageTypes.of(["a_t"]).content == "virt_content_t"


def test_state_directory_of_a_running_guest() -> None:
    status = domain_xml.parse_status((FIXTURES / "status_el9.xml").read_text(encoding="utf-8"))
    label = "system_u:object_r:svirt_image_t:s0:c107,c434"
    found = {item.kind: (item.path, item.expected) for item in file_labels.resources(status.domain, True, TYPES)}
    assert found == {
        "disk": ("/var/lib/libvirt/images/web.qcow2", label),
        "state_dir": ("/var/lib/libvirt/qemu/domain-3-web", label),
        "tpm": ("/var/lib/libvirt/swtpm/0d5b1bb4-8c2b-4a7e-9a2c-3f6ad1f2f001/tpm2", label),
        "tpm_log": ("/var/log/swtpm/libvirt/qemu/web-swtpm.log", label),
        "tpm_socket": ("/run/libvirt/qemu/swtpm/3-web-swtpm.sock", label),
    }
    assert "state_dir" not in {item.kind for item in file_labels.resources(status.domain, False, TYPES)}


@pytest.mark.parametrize(
    ("label", "status"),
    [
        (IMG, file_labels.FITS),
        ("system_u:object_r:svirt_image_t:s0:c2,c1", file_labels.FITS),
        ("unconfined_u:object_r:svirt_image_t:s0:c1,c2\0", file_labels.FITS),
        ("system_u:object_r:svirt_image_t:s0:c1,c3", file_labels.DRIFT),
        ("system_u:object_r:svirt_image_t:s0:c1.c3", file_labels.DRIFT),
        (FILE, file_labels.DRIFT),
        ("system_u:object_r:virt_image_t:s0", file_labels.DRIFT),
        ("system_u:object_r:virt_image_t:SystemLow", file_labels.DRIFT),
        (None, file_labels.UNJUDGED),
    ],
)
def test_label_of_a_running_guests_image(label: str | None, status: str) -> None:
    found = Resource("disk", "vda", "/a", "image", IMG)
    assert file_labels.acceptable(found, True, label, TYPES).status == status


@pytest.mark.parametrize(
    ("role", "label", "status"),
    [
        ("image", "system_u:object_r:virt_image_t:s0", file_labels.FITS),
        ("image", IMG, file_labels.STALE),
        ("image", FILE, file_labels.STALE),
        ("image", CONTENT, file_labels.FITS),
        ("shared", FILE, file_labels.FITS),
        ("shared", IMG, file_labels.STALE),
        ("content", CONTENT, file_labels.FITS),
        ("content", "system_u:object_r:virt_image_t:s0", file_labels.FITS),
        ("content", FILE, file_labels.STALE),
        ("own", IMG, file_labels.STALE),
        ("untouched", IMG, file_labels.UNJUDGED),
    ],
)
def test_label_of_the_file_of_a_guest_that_is_off(role: str, label: str, status: str) -> None:
    assert file_labels.acceptable(Resource("disk", "vda", "/a", role), False, label, TYPES).status == status


def test_running_guest_without_known_expectation_is_not_judged() -> None:
    assert (
        file_labels.acceptable(Resource("disk", "vda", "/a", "image"), True, IMG, TYPES).status == file_labels.UNJUDGED
    )


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        (
            "db1",
            [
                ("backing", "/var/lib/libvirt/images/base1.qcow2", CONTENT),
                ("disk", "/var/lib/libvirt/images/db1.qcow2", "system_u:object_r:svirt_image_t:s0:c385,c718"),
                ("state_dir", "/var/lib/libvirt/qemu/domain-7-db1", "system_u:object_r:svirt_image_t:s0:c385,c718"),
            ],
        ),
        (
            "node1",
            [
                ("disk", "/srv/vms/node1.raw", "system_u:object_r:svirt_image_t:s0:c33,c287,c528,c789"),
                ("disk", "/srv/vms/quorum.raw", FILE),
                (
                    "state_dir",
                    "/var/lib/libvirt/qemu/domain-5-node1",
                    "system_u:object_r:svirt_image_t:s0:c33,c287,c528,c789",
                ),
            ],
        ),
    ],
)
def test_labels_that_the_lab_showed(name: str, rows: list[tuple[str, str, str]]) -> None:
    """The labels are those that the files carried on the host when its status XML was taken."""
    status = domain_xml.parse_status((FIXTURES / f"lab_status_{name}.xml").read_text(encoding="utf-8"))
    assert (status.mount_namespace, status.remember_owner, status.domain.logd) == (True, True, True)
    found = file_labels.resources(status.domain, True, TYPES)
    assert [(item.kind, item.path, item.expected) for item in found] == rows
