# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests from their XML, and what hostile XML does: nothing."""

from __future__ import annotations

import pathlib
from xml.sax.saxutils import escape, quoteattr

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import DomainXmlError
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import domain_xml, file_labels
from hypothesis import given, settings
from hypothesis import strategies as st

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
UUID = "6d0c9b1e-3f43-4a53-9a34-3a2d8a7f0c11"

HOSTILE = [
    "{{ lookup('pipe', 'id') }}",
    "<script>alert(1)</script>",
    "a\nb",
    "\x9b31mred",  # the one control sequence that XML allows: U+009B
    "a:b c'd\"e",
    "../../etc/shadow",
    "é\u202e\U0001f4a5",
    "x" * 1024,
    "]]>",
]


def load(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


def minimal(inner: str = "", name: str = "n", attributes: str = "type='kvm'") -> str:
    return f"<domain {attributes}><name>{escape(name)}</name><uuid>{UUID}</uuid>{inner}</domain>"


def devices(inner: str) -> domain_xml.Domain:
    return domain_xml.parse_domain(minimal(f"<devices>{inner}</devices>"))


def test_identity_and_labels() -> None:
    domain = domain_xml.parse_domain(load("everything.xml"))
    assert (domain.uuid, domain.name, domain.kind, domain.id) == (UUID, "everything", "kvm", 7)
    assert domain.emulator == "/usr/bin/qemu-system-x86_64"
    assert [(item.model, item.type, item.relabel) for item in domain.seclabels] == [
        ("selinux", "dynamic", True),
        ("dac", "dynamic", True),
    ]
    assert domain.seclabels[0].imagelabel == "system_u:object_r:svirt_image_t:s0:c1,c2"
    assert domain.short_name == "7-everything"


def test_emulated_static_guest_of_el10() -> None:
    domain = domain_xml.parse_domain(load("el10_emulated.xml"))
    seclabel = domain.seclabels[0]
    assert (domain.kind, domain.risks) == ("qemu", [])
    assert (seclabel.type, seclabel.relabel) == ("static", False)
    assert seclabel.label == "system_u:system_r:svirt_tcg_t:s0:c100,c300,c600,c900"


def test_status_xml_of_el9() -> None:
    status = domain_xml.parse_status(load("status_el9.xml"))
    assert (status.state, status.reason, status.pid) == ("running", "booted", 4242)
    assert (status.mount_namespace, status.remember_owner) == (True, True)
    assert (status.domain.name, status.domain.logd) == ("web", True)
    assert status.domain.state_dirs == ["/var/lib/libvirt/qemu/domain-3-web"]
    assert status.domain.risks == ["custom_argv"]
    assert status.domain.interfaces[0].source == "br0"


@pytest.mark.parametrize(
    ("channels", "more"),
    [
        ("/var/lib/libvirt/qemu/channel/target/domain-2-web1", ["/var/lib/libvirt/qemu/channel/target/domain-2-web1"]),
        ("/run/libvirt/qemu/channel/2-web1", []),
    ],
)
def test_directory_of_the_channels_counts_where_images_are_searched_for(channels: str, more: list[str]) -> None:
    own = "/var/lib/libvirt/qemu/domain-2-web1"
    dirs = f"<libDir path='{own}'/><channelTargetDir path='{channels}'/>"
    status = domain_xml.parse_status(f"<domstatus state='running'>{dirs}{minimal()}</domstatus>")
    assert status.domain.state_dirs == [own, *more]


def test_status_xml_without_options() -> None:
    status = domain_xml.parse_status(f"<domstatus state='paused' pid='x'>{minimal()}</domstatus>")
    assert (status.state, status.reason, status.pid) == ("paused", None, None)
    assert (status.mount_namespace, status.remember_owner, status.domain.logd) == (False, False, False)


def test_disk_details() -> None:
    disks = {item.target: item for item in domain_xml.parse_domain(load("everything.xml")).devices if item.target}
    chain = [source.path for source in disks["vda"].backing]
    assert chain == ["/srv/images/middle.qcow2", "/srv/images/base.raw"]
    assert (disks["vda"].source.format, disks["vda"].backing[1].format) == ("qcow2", "raw")
    assert (disks["vdb"].source.type, disks["vdb"].shareable, disks["vdb"].readonly) == ("block", True, True)
    assert (disks["sda"].kind, disks["sda"].readonly) == ("cdrom", True)
    assert disks["sdb"].source.path is None
    assert disks["vdd"].source.data_file == domain_xml.Source("file", "/srv/images/meta.data", "raw")
    assert disks["vde"].source.seclabels[0].label == "system_u:object_r:svirt_image_t:s0:c7"
    assert disks["vdh"].source.path is None
    assert (disks["vdi"].source.pool, disks["vdi"].source.volume) == ("default", "vol1")
    assert disks["vdj"].source.address == "0000:01:00.0"
    assert disks["vdl"].transient
    assert disks["vdm"].mirror == domain_xml.Source("file", "/srv/images/copy.qcow2", "qcow2")


def test_host_devices_name_what_a_reader_can_resolve() -> None:
    found = {item.target: item.source for item in domain_xml.parse_domain(load("everything.xml")).devices}
    assert found["hostdev0"].path == "/dev/bus/usb/001/004"
    assert found["hostdev1"].address == "0000:3b:00.1"
    assert found["hostdev2"].address == "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
    assert found["hostdev3"].address == "0:0:1:2"
    assert (found["hostdev4"].path, found["hostdev4"].address) == (None, None)


def test_interfaces() -> None:
    first, second = domain_xml.parse_domain(load("everything.xml")).interfaces
    assert (first.type, first.mac, first.source, first.target) == ("network", "52:54:00:00:00:01", "default", "vnet0")
    assert (first.filter, first.parameters) == ("clean-traffic", ["CTRL_IP_LEARNING=none", "IP=192.0.2.10"])
    assert (second.type, second.source, second.filter) == ("vhostuser", "/run/openvswitch/vhu0", None)


def test_risks_of_everything() -> None:
    assert domain_xml.parse_domain(load("everything.xml")).risks == [
        "host_filesystem",
        "input_passthrough",
        "passthrough_mdev",
        "passthrough_pci",
        "passthrough_scsi",
        "passthrough_scsi_host",
        "passthrough_usb",
        "raw_io",
        "shared_memory",
        "transient_disk",
        "vhostuser",
    ]


@pytest.mark.parametrize(
    ("inner", "risk"),
    [
        ("<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>", "passthrough_tpm"),
        ("<disk type='block' device='lun' sgio='unfiltered'><source dev='/dev/sda'/></disk>", "passthrough_lun"),
        ("<disk type='block' device='lun' sgio='unfiltered'><source dev='/dev/sda'/></disk>", "unfiltered_sgio"),
        ("<disk type='vhostvdpa'><source dev='/dev/vhost-vdpa-0'/></disk>", "vdpa"),
        ("<interface type='hostdev'/>", "passthrough_pci"),
        ("<interface type='vdpa'/>", "vdpa"),
        ("<shmem name='s'/>", "shared_memory"),
        ("<emulator>/home/me/qemu</emulator>", "custom_emulator"),
        ("<emulator>/usr/bin/../../home/me/qemu</emulator>", "custom_emulator"),
        ("<hostdev mode='capabilities' type='storage'><source><block>/dev/sdf1</block></source></hostdev>",
         "host_capability"),
    ],
)  # fmt: skip
def test_risk(inner: str, risk: str) -> None:
    assert risk in devices(inner).risks


@pytest.mark.parametrize(
    ("tag", "risk"),
    [("commandline", "custom_argv"), ("override", "custom_override"), ("capabilities", "custom_capabilities")],
)
def test_risks_of_the_qemu_namespace(tag: str, risk: str) -> None:
    inner = f"<q:{tag}/>"
    namespace = "type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'"
    assert domain_xml.parse_domain(minimal(inner, attributes=namespace)).risks == [risk]
    # The same tag without the namespace means nothing to libvirt.
    assert domain_xml.parse_domain(minimal(f"<{tag}/>")).risks == []


def test_every_risk_is_documented() -> None:
    found = set(domain_xml.parse_domain(load("everything.xml")).risks)
    assert found <= set(domain_xml.RISKS)
    assert set(domain_xml._HOSTDEV_RISK.values()) <= set(domain_xml.RISKS)
    assert {risk for risk in domain_xml._TAINTS.values() if risk} <= set(domain_xml.RISKS)


@pytest.mark.parametrize(
    ("text", "uuid"),
    [(UUID, UUID), (UUID.upper(), UUID), (UUID.replace("-", ""), UUID), (f" {UUID}\n", UUID)],
)
def test_uuid_is_canonical(text: str, uuid: str) -> None:
    assert domain_xml.parse_domain(f"<domain type='kvm'><name>n</name><uuid>{text}</uuid></domain>").uuid == uuid


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        ("", "xml_malformed"),
        ("<domain", "xml_malformed"),
        ("<network/>", "xml_root"),
        ("<domain type='kvm'/>", "no_name"),
        ("<domain type='kvm'><name>n</name></domain>", "no_uuid"),
        (f"<domain><name>n</name><uuid>{UUID}x</uuid></domain>", "no_uuid"),
        (minimal("<unclosed>", name="web"), "xml_malformed"),
        (minimal("&undefined;"), "xml_malformed"),
        (minimal(name="x" * 4097), "text_too_long"),
        (minimal(f"<os><kernel>/{'x' * 4096}</kernel></os>"), "text_too_long"),
        (minimal("\0"), "xml_malformed"),
    ],
)
def test_rejections(xml: str, code: str) -> None:
    assert code_of(xml) == code


def code_of(xml: str) -> str:
    """Code of the error that the XML is refused with."""
    with pytest.raises(DomainXmlError) as caught:
        domain_xml.parse_domain(xml)
    return caught.value.code


def test_words_of_rejections() -> None:
    words = {}
    for xml in ("<network/>", "<domain type='kvm'><name>n</name></domain>", "<!DOCTYPE x>" + minimal(name="web")):
        with pytest.raises(DomainXmlError) as caught:
            domain_xml.parse_domain(xml)
        words[caught.value.code] = str(caught.value)
    assert words == {
        "xml_root": "expected <domain>, found <network>",
        "no_uuid": "the guest has no proper <uuid>: '' (guest 'n')",
        "xml_doctype": "the XML declares a DOCTYPE; libvirt never writes one, so it is refused (guest 'web')",
    }


@pytest.mark.parametrize(
    "prolog",
    [
        "<!DOCTYPE domain [<!ENTITY a 'aaaa'>]>",
        "<!DOCTYPE domain SYSTEM 'file:///etc/passwd'>",
        "<?xml version='1.0'?>\n<!-- c --><!DOCTYPE domain>",
        "\ufeff<!DOCTYPE domain>",
        "<!-- <domain> --> <?pi <domain> ?> <!DOCTYPE x>",
    ],
)
def test_doctype_is_refused(prolog: str) -> None:
    assert code_of(prolog + minimal()) == "xml_doctype"


def test_doctype_text_in_metadata_hides_no_guest() -> None:
    inner = "<description><![CDATA[<!DOCTYPE x [<!ENTITY a 'b'>]>]]></description>"
    assert domain_xml.parse_domain(minimal(inner)).name == "n"


def test_bounds() -> None:
    assert code_of(minimal(f"<!--{'x' * domain_xml.MAX_XML}-->")) == "xml_too_large"
    assert code_of(minimal("<a/>" * 200_001)) == "xml_too_large"
    deep = "<a>" * 90_000 + "</a>" * 90_000
    assert domain_xml.parse_domain(minimal(f"<metadata>{deep}</metadata>")).name == "n"


def test_backing_chain_is_bounded() -> None:
    layer = "<backingStore type='file'><source file='/b'/>"
    chain = layer * 201 + "</backingStore>" * 201
    with pytest.raises(DomainXmlError) as caught:
        devices(f"<disk type='file'><source file='/a'/>{chain}</disk>")
    assert caught.value.code == "chain_too_deep"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_paths_come_through_unharmed(text: str) -> None:
    path = f"/srv/{text}"
    # An attribute's newline must be written as a reference, or XML turns it into a space.
    attribute = quoteattr(path, {"\n": "&#10;"})
    inner = f"<devices><disk type='file'><source file={attribute}/><target dev='vda'/></disk></devices>"
    domain = domain_xml.parse_domain(minimal(inner, name=text))
    assert domain.name == text
    assert domain.devices[0].source.path == path
    assert [item.path for item in file_labels.resources(domain, False, file_labels.ImageTypes())] == [path]


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("path", ["/vms/new\nline.raw", "/vms/tab\tbed.raw", "/vms/two\n\n<lines>.raw"])
def test_line_ends_in_a_path_stay_as_libvirt_writes_them(path: str, quote: str) -> None:
    disk = f"<disk type='file'>\n  <source file={quote}{escape(path)}{quote}/>\n  <target dev='vda'/></disk>"
    assert devices(disk).devices[0].source.path == path


def test_line_ends_between_attributes_and_in_text_mean_nothing() -> None:
    domain = domain_xml.parse_domain(
        minimal("<title>it's\ntwo</title><devices>\n<emulator\n\t>/usr/bin/q</emulator></devices>")
    )
    assert domain.emulator == "/usr/bin/q"


def test_short_name_is_bounded_and_safe() -> None:
    xml = minimal(name="x" * 100, attributes="type='kvm' id='3'")
    assert domain_xml.parse_domain(xml).short_name == f"3-{'x' * 20}"
    assert domain_xml.parse_domain(minimal(name="a/b", attributes="type='kvm' id='3'")).short_name is None
    assert domain_xml.parse_domain(minimal()).short_name is None


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for xml in (text, minimal(text), f"<domstatus>{minimal(text)}</domstatus>"):
        for parse in (domain_xml.parse_domain, domain_xml.parse_status):
            try:
                found = parse(xml)
            except DomainXmlError:
                continue
            domain = found if isinstance(found, domain_xml.Domain) else found.domain
            assert (domain.name, domain.uuid) == ("n", UUID)


_TAGS = st.sampled_from(
    ("disk", "source", "backingStore", "seclabel", "label", "target", "hostdev", "address", "tpm", "backend", "os",
     "nvram", "memory", "path", "serial", "channel", "interface", "filterref", "parameter", "dataStore", "mirror")
)  # fmt: skip
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(("type", "file", "dev", "path", "mode", "bus", "device", "model", "relabel", "name", "slot")),
    st.sampled_from(("", "file", "block", "unix", "usb", "pci", "0x10", "-1", "9" * 30, "selinux", "no", "emulator")),
    max_size=4,
)


def _element(tag: str, attributes: dict[str, str], inner: str) -> str:
    return f"<{tag} {' '.join(f'{key}={value!r}' for key, value in attributes.items())}>{inner}</{tag}>"


_TREES = st.recursive(
    st.builds(_element, _TAGS, _ATTRIBUTES, st.just("")),
    lambda inner: st.builds(_element, _TAGS, _ATTRIBUTES, st.lists(inner, max_size=4).map("".join)),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(_TREES, st.booleans())
def test_any_tree_of_known_tags_gives_a_guest(tree: str, active: bool) -> None:
    domain = domain_xml.parse_domain(minimal(f"<devices>{tree}</devices><os>{tree}</os>{tree}"))
    for item in file_labels.resources(domain, active, file_labels.ImageTypes()):
        assert item.path
        assert item.role in ("image", "shared", "content", "own", "untouched")
        assert item.role != "untouched" or item.expected is None


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ("", ("network", None)),
        ("<actual type='bridge'><source bridge='b'/></actual>", ("network", None)),
        ("<actual type='direct'><source dev='eth0' mode='bridge'/></actual>", ("direct", None)),
        ("<actual type='bridge'><virtualport type='openvswitch'/></actual>", ("network", "openvswitch")),
    ],
)
def test_network_interface_is_of_the_type_of_its_actual_element(actual: str, expected: tuple[str, str | None]) -> None:
    card = f"<interface type='network'><source network='lan'/>{actual}</interface>"
    xml = f"<domain type='kvm'><name>a</name><uuid>{'0' * 32}</uuid><devices>{card}</devices></domain>"
    (found,) = domain_xml.parse_domain(xml).interfaces
    assert (found.type, found.virtualport) == expected
