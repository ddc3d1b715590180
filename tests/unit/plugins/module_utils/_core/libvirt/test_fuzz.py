# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated texts of libvirt and QEMU: each is read or refused, without a hang; what stays in it is never overlooked."""

from __future__ import annotations

import json
import random
import struct
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import DomainXmlError, HostReadError
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import (
    domain_edit,
    domain_xml,
    file_labels,
    hook_script,
    image_header,
    live_devices,
    network_filter,
    saved_states,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import SecLabel

from tests.unit.support.fuzzing import CASES, Cases, mutated

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FIXTURES.glob("*.xml"))}
DOMAINS = [TEXTS["everything.xml"], TEXTS["el10_emulated.xml"]]
STATUSES = [text for name, text in TEXTS.items() if "status" in name]
XML = (
    *("<", ">", "/>", "'", '"', "&", "&#10;", "&#0;", "<!--", "-->", "<![CDATA[", "]]>", "<!DOCTYPE x>", "\0", "\n"),
    *("<disk type='block'>", "<source file='/x'/>", "<source dev='/dev/sdb'/>", "<backingStore>", "</disk>", "\t"),
    *("<seclabel type='static' model='selinux'><label>x</label></seclabel>", "relabel='no'", "<seclabel/>", "id='7'"),
    *("<hostdev mode='subsystem' type='pci'>", "<address domain='0x' bus='9999999999999999'/>", "<dataStore>"),
    *(
        "<tpm><backend type='emulator'/></tpm>",
        "<memory model='nvdimm'/>",
        "<mirror>",
        "<os>",
        "é",
        "\ud800",
        "x" * 5000,
    ),
)
#: At the end of a text, so that nothing that was opened before it can be closed after it.
KEPT = SecLabel(model="selinux", type="none")
SECLABEL = "<seclabel type='none' model='selinux'/>"


def at_end(text: str, kept: str, end: str, chance: random.Random) -> str:
    """The text, mutated, with a part that stays before its last tag."""
    return mutated(text.rstrip().removesuffix(end), chance, XML) + kept + end


def read(reader: t.Callable[..., t.Any], *arguments: t.Any) -> t.Any:
    """What a reader makes of a text; None where it refuses the text."""
    try:
        return reader(*arguments)
    except (DomainXmlError, HostReadError):
        return None


def test_fuzz_of_domain_xml(cases: Cases) -> None:
    parsed = 0
    for number, chance in cases():
        text = at_end(chance.choice(DOMAINS), SECLABEL, "</domain>", chance)
        domain = read(domain_xml.parse_domain, text)
        if domain is None:
            continue
        parsed += 1
        assert KEPT in domain.seclabels, (number, text)
        for active in (True, False):
            for item in file_labels.resources(domain, active, file_labels.ImageTypes(), ("/dev/hugepages",)):
                assert item.path, (number, text)
                assert item.role != "untouched" or item.expected is None, (number, text)
    assert parsed > CASES // 20


def test_fuzz_of_status_xml(cases: Cases) -> None:
    parsed = 0
    for number, chance in cases():
        text = at_end(chance.choice(STATUSES), "<taint flag='high-privileges'/>", "</domstatus>", chance)
        status = read(domain_xml.parse_status, text)
        read(domain_xml.job_under_way, text)
        if status is not None:
            parsed += 1
            assert "high_privileges" in status.domain.risks, (number, text)
    assert parsed > CASES // 20


def test_fuzz_of_jobs_in_status_xml(cases: Cases) -> None:
    """A job that a restart would break off is seen in any status file that can be read."""
    for number, chance in cases():
        text = chance.choice(STATUSES).replace("<domain ", "<job type='none' async='migration out'/><domain ", 1)
        head, kept, tail = text.partition("<job type='none' async='migration out'/>")
        text = head + kept + mutated(tail, chance, XML)
        job = read(domain_xml.job_under_way, text)
        assert job is None or job[1] == "migration out", (number, text)


def test_fuzz_of_snapshot_xml(cases: Cases) -> None:
    seed = "<domainsnapshot><name>s</name><memory snapshot='external' file='/m'/><disks><disk name='vda'/></disks>"
    kept = "<disks><disk name='vdb'><source file='/kept'/></disk></disks>"
    for number, chance in cases():
        text = at_end(seed + chance.choice(DOMAINS), kept, "</domainsnapshot>", chance)
        files = read(saved_states.snapshot_files, text)
        assert files is None or ("snapshot", "/kept") in files, (number, text)


def test_fuzz_of_live_devices(cases: Cases) -> None:
    """A disk that the definition lacks is named, whatever else the live XML has."""
    definition = TEXTS["el10_emulated.xml"]
    kept = "<devices><disk type='file'><source file='/kept'/><target dev='vdkept'/></disk></devices>"
    for number, chance in cases():
        text = at_end(chance.choice(DOMAINS), kept, "</domain>", chance)
        lost = read(live_devices.live_only, text, definition)
        assert lost is None or any("vdkept" in item for item in lost), (number, text)


def test_fuzz_of_edited_xml(cases: Cases) -> None:
    """An edit changes the label and nothing else, or is refused."""
    for number, chance in cases(CASES // 4):
        text = mutated(chance.choice(DOMAINS), chance, XML)
        edited = read(domain_edit.with_seclabel, text, KEPT)
        if edited is None:
            continue
        left = read(domain_edit.without_labels_and_filters, text)
        right = read(domain_edit.without_labels_and_filters, edited)
        assert left is not None, (number, text)
        assert domain_edit.same_guest(left, right), (number, text)


def test_fuzz_of_network_filters(cases: Cases) -> None:
    """A filter that does not confine a guest is not taken for one that does."""
    seed = (
        "<filter name='weak' chain='root' priority='-700'><uuid>5c6d49af-b071-6127-b4ec-6f8ed4b55335</uuid>"
        "<rule action='drop' direction='out' priority='500'><mac match='no' srcmacaddr='$MAC'/></rule>"
    )
    for number, chance in cases():
        text = at_end(seed, "<filterref filter='no-such-filter'/>", "</filter>", chance)
        filter_ = read(network_filter.parse_filter, text)
        if filter_ is not None:
            assert network_filter.weakness([filter_], filter_.name), (number, text)
            assert not network_filter.is_defined([filter_], filter_.name), (number, text)
        network = mutated("<network><name>n</name><forward mode='nat'/><bridge name='b'/></network>", chance, XML)
        read(network_filter.parse_network, network)


# -- headers of images -------------------------------------------------------------------------------------------------

JSON = (
    *(
        "{",
        "}",
        "[",
        "]",
        '"',
        ":",
        ",",
        "null",
        "true",
        "1e999",
        "-1",
        '"driver"',
        '"file"',
        '"filename"',
        '"backing"',
    ),
    *('{"driver":["x"]}', '{"file":{"driver":{}}}', '"file.driver":7', "qcow2", "nbd", "json:", "\0", "é", "[" * 2000),
)
NAMES = (
    'json:{"driver":"qcow2","file":{"driver":"file","filename":"/base.qcow2"}}',
    'json:{"file.driver":"host_device","file.filename":"/dev/vg/base"}',
    "nbd://host/export",
    "../base.qcow2",
    "/base.qcow2",
)


def qcow2(name: bytes) -> bytes:
    """The first bytes of an image on another one."""
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 200, len(name), 16, *[0] * 8)
    head += struct.pack(">QQQII", 0, 0, 0, 4, 104) + struct.pack(">II", 0xE2792ACA, 5) + b"qcow2\0\0\0" + bytes(8)
    return head.ljust(200, b"\0") + name


def test_fuzz_of_names_in_headers(cases: Cases) -> None:
    for number, chance in cases():
        name = mutated(chance.choice(NAMES), chance, JSON)
        path = read(image_header.local_path, name, "/images/top.qcow2")
        assert path is None or (isinstance(path, str) and path), (number, name)


def test_fuzz_of_headers(cases: Cases) -> None:
    """A header is read or refused; what follows it changes nothing."""
    header = qcow2(b"/base.qcow2")
    for number, chance in cases():
        content = mutated((header + bytes(range(256))).decode("latin-1"), chance, ("\0", "\xff" * 8, "QFI\xfb"))
        for format_ in ("qcow2", "qcow", "qed", "vmdk", "raw"):
            read(image_header.parse_header, content.encode("latin-1"), format_)
        rest = mutated(json.dumps(NAMES), chance, JSON).encode("utf-8", "surrogatepass")
        assert image_header.parse_header(header + rest, "qcow2").backing == "/base.qcow2", number


# -- hooks -------------------------------------------------------------------------------------------------------------

HOOK = """#!/bin/sh
# Log each guest that starts; route its traffic.
GUEST="$1"; OP="$2"
if [ "$OP" = "start" ] || [ "$OP" = "reconnect" ]; then
    logger -t hook "guest ${GUEST}: ${OP}"
    case "$GUEST" in web*) iptables -C FORWARD -j ACCEPT || iptables -A FORWARD -j ACCEPT ;; esac
fi
for item in a b; do echo "$item" >/dev/null 2>&1; done
exit 0
"""
SHELL = (
    *(
        "'",
        '"',
        "\\",
        "`",
        "$(",
        "${",
        "}",
        ")",
        ";",
        "&",
        "&&",
        "||",
        "|",
        "<<E\n",
        "\nE\n",
        "!",
        "#",
        "\n",
        "\0",
        "é",
    ),
    *(
        "exit 0\n",
        "exit 3\n",
        "set -e\n",
        "trap 'exit 5' EXIT\n",
        "if true; then\n",
        "fi\n",
        "case x in x)\n",
        "esac\n",
    ),
    *(
        "while false; do\n",
        "done\n",
        "f() {\n",
        "}\n",
        "return 1\n",
        "exec false\n",
        "$((",
        "))",
        "[[ ",
        " ]]",
        "eval ",
    ),
)


@pytest.mark.parametrize("first", ["exit 3", "false || exit 1", "set -e; false"])
def test_fuzz_of_hooks(cases: Cases, first: str) -> None:
    """A script that ends in its second line as failed is never vouched for."""
    for number, chance in cases():
        rest = mutated(HOOK.partition("\n")[2], chance, SHELL)
        result = hook_script.outcome(f"#!/bin/sh\n{first}\n{rest}")
        hook_script.outcome(mutated(HOOK, chance, SHELL))
        assert result != hook_script.PASSES, (number, rest)
