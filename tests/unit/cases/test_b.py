# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Section B: a file that no XML names has an owner all the same, and whoever holds its categories is named."""

from __future__ import annotations

import contextlib
import re
import struct
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules import catalogue, image_repairs
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules import fleet as fleet_rules
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostReadError
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import image_header
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases.test_e import contained_guest
from tests.unit.support import factory, fleets, hosts
from tests.unit.support.captured import Tree
from tests.unit.support.faults.case import guest
from tests.unit.support.judging import found, status

IMAGES = "/var/lib/libvirt/images"
OWN = hosts.IMAGE_LABEL
STALE = "system_u:object_r:svirt_image_t:s0:c41,c264"
JOB = (
    "<backups><domainbackup mode='pull'><server transport='unix' socket='/run/b.sock'/><disks>"
    "<disk name='vda' backup='yes' type='file' state='running'><driver type='qcow2'/><scratch file='{}'/></disk>"
    "</disks></domainbackup></backups>"
)
BLOCK_JOB = (
    "<blockjobs active='yes'><blockjob name='commit-vda' type='commit' state='running'><chains>"
    "<disk type='file' format='qcow2'><source file='{}'/><backingStore/></disk></chains></blockjob></blockjobs>"
)


def qcow2(backing: str = "", format_: str = "qcow2", data_file: str = "", version: int = 3) -> bytes:
    """First bytes of an image."""
    extensions = b""
    for number, name in ((0xE2792ACA, format_ if backing else ""), (0x44415441, data_file)):
        if name:
            text = name.encode()
            extensions += struct.pack(">II", number, len(text)) + text.ljust((len(text) + 7) // 8 * 8, b"\0")
    extensions += bytes(8)
    start = 104 if version == 3 else 72
    offset = start + len(extensions)
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, offset if backing else 0, len(backing), 16, *[0] * 8)
    if version == 3:
        head += struct.pack(">QQQII", 4 if data_file else 0, 0, 0, 4, 104)
    return head + extensions + backing.encode()


def off_guest(tree: Tree, name: str = "vm", disk: str = f"{IMAGES}/top.qcow2") -> None:
    """A second guest, which is off; its definition names the top of its chain only."""
    uuid = hosts.UUID[:-1] + "2"
    xml = hosts.domain(f"<source file='{disk}'/>", name=name).replace(hosts.UUID, uuid)
    item = {"uuid": uuid, "name": name, "state": "shutoff", "active": False, "persistent": True, "inactive": xml}
    tree.libvirt.insert(1, item)


def running_with(tree: Tree, more: str) -> None:
    """The status file of the running guest has a job."""
    text = hosts.status().replace("<domain ", f"{more}<domain ", 1)
    tree.file("/run/libvirt/qemu/web.xml", text, mode=0o600)


def looked(tree: Tree) -> s.Snapshot:
    """The snapshot; all areas are known."""
    snapshot = hosts.look(tree)
    assert {area: item.why for area, item in snapshot.coverage.items() if item.status == "unknown"} == {}
    return snapshot


def owned(snapshot: s.Snapshot, path: str) -> tuple[str, str] | None:
    """Guest and kind that a file has."""
    return next(((g.name, item.kind) for g in snapshot.guests for item in g.resources if item.path == path), None)


def across(*snapshots: s.Snapshot) -> list[tuple[str, str, str]]:
    """Rules, severities and subjects of all hosts compared."""
    compared_hosts = [analysis.compared_host(one.host.name, one) for one in snapshots]
    return [(item.rule, item.severity, item.subject) for item in analysis.judge(compared_hosts).findings]


def image_rules(snapshot: s.Snapshot) -> list[tuple[str, str, str]]:
    return [item for item in found(snapshot) if item[0].startswith(("IMG", "CAT"))]


def test_b1_scratch_file_of_a_backup_is_its_guests() -> None:
    tree, scratch = hosts.el9(), f"{IMAGES}/web.scratch"
    tree.file(scratch, label=OWN)
    running_with(tree, JOB.format(scratch))
    snapshot = looked(tree)
    assert (owned(snapshot, scratch), snapshot.orphans) == (("web", "backup"), [])
    assert (image_rules(snapshot), across(snapshot)) == ([], [])


def test_b1_scratch_file_with_another_label_is_wrong() -> None:
    tree, scratch = hosts.el9(), f"{IMAGES}/web.scratch"
    tree.file(scratch, label=STALE)
    running_with(tree, JOB.format(scratch))
    assert ("IMG-001", "high", f"image {scratch}") in found(hosts.look(tree))


def test_b1_file_of_a_block_job_and_file_that_qemu_has_open() -> None:
    tree = hosts.el9()
    for name in ("merged.qcow2", "handed-over.raw"):
        tree.file(f"{IMAGES}/{name}", label=OWN)
    running_with(tree, BLOCK_JOB.format(f"{IMAGES}/merged.qcow2"))
    tree.link(f"/proc/{hosts.PID}/fd/17", f"{IMAGES}/handed-over.raw")
    snapshot = looked(tree)
    assert owned(snapshot, f"{IMAGES}/merged.qcow2") == ("web", "blockjob")
    assert owned(snapshot, f"{IMAGES}/handed-over.raw") == ("web", "open")
    assert (snapshot.orphans, image_rules(snapshot), across(snapshot)) == ([], [], [])


def test_b1_file_that_only_the_definition_of_a_running_guest_names() -> None:
    tree, path = hosts.el9(), f"{IMAGES}/next.qcow2"
    tree.file(path, label=STALE)
    more = f"<disk type='file'><driver type='raw'/><source file='{path}'/><target dev='vdb'/></disk>"
    tree.libvirt[1]["inactive"] = hosts.domain(more=more)
    snapshot = looked(tree)
    assert (owned(snapshot, path), snapshot.orphans) == (("web", "defined"), [])


@pytest.mark.parametrize(
    ("label", "base", "owner"),
    [
        (OWN, "base.qcow2", ("web", "merged")),
        (OWN, "step.qcow2", ("web", "merged")),  # through another file that was merged
        (OWN, "other.qcow2", None),
        (STALE, "base.qcow2", None),  # a clone of the same base, of a guest that is gone
    ],
)
def test_b1_image_that_a_commit_merged_is_its_guests_while_it_runs(
    label: str, base: str, owner: tuple[str, str] | None
) -> None:
    tree, path = hosts.el9(), f"{IMAGES}/merged.qcow2"
    tree.file(path, qcow2(base), label=label)
    tree.file(f"{IMAGES}/step.qcow2", qcow2("base.qcow2"), label=hosts.CONTENT_LABEL)
    snapshot = looked(tree)
    assert owned(snapshot, path) == owner
    assert [item.path for item in snapshot.orphans] == ([] if owner else [path])


def test_b2_saved_state_dump_and_snapshots_have_owners() -> None:
    tree, lib = hosts.el9(), "/var/lib/libvirt/qemu"
    off_guest(tree)
    tree.file(f"{IMAGES}/top.qcow2", qcow2(), label=hosts.REST_LABEL, mode=0o600)
    files = {
        f"{lib}/save/vm.save": "save",
        f"{lib}/dump/7-vm-2026-11-30-09:00:00": "save",
        f"{IMAGES}/vm.memory": "memory_snapshot",
        f"{IMAGES}/vm.overlay": "snapshot",
        f"{IMAGES}/vm.before": "snapshot",
    }
    for path in files:
        tree.file(path, label=STALE)
    tree.file(
        f"{lib}/snapshot/vm/first.xml",
        f"<domainsnapshot><name>first</name><memory snapshot='external' file='{IMAGES}/vm.memory'/><disks>"
        f"<disk name='vda' snapshot='external' type='file'><source file='{IMAGES}/vm.overlay'/></disk></disks>"
        f"<domain><devices><disk type='file'><source file='{IMAGES}/vm.before'/></disk></devices></domain>"
        "</domainsnapshot>",
    )
    snapshot = looked(tree)
    assert {path: owned(snapshot, path) for path in files} == {path: ("vm", kind) for path, kind in files.items()}
    assert (snapshot.orphans, image_rules(snapshot), across(snapshot)) == ([], [], [])


def test_b2_saved_state_that_a_running_guest_can_read_is_a_breach() -> None:
    tree, path = hosts.el9(), "/var/lib/libvirt/qemu/save/vm.save"
    off_guest(tree)
    tree.file(path, label=OWN)
    assert across(looked(tree)) == [("CAT-002", "critical", "s0:c100,c200")]


def test_b2_metadata_that_root_did_not_write_names_nobody() -> None:
    tree = hosts.el9()
    tree.file(f"{IMAGES}/other.raw", label=STALE)
    xml = f"<domainsnapshot><memory snapshot='external' file='{IMAGES}/other.raw'/></domainsnapshot>"
    tree.file("/var/lib/libvirt/qemu/snapshot/web/x.xml", xml, uid=hosts.QEMU_UID)
    assert [item.path for item in looked(tree).orphans] == [f"{IMAGES}/other.raw"]


def test_b2_damaged_metadata_leaves_orphans_unknown() -> None:
    tree = hosts.el9()
    tree.file("/var/lib/libvirt/qemu/snapshot/web/x.xml", "<domainsnapshot")
    assert hosts.look(tree).coverage["orphans"].status == "unknown"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "name",
    [
        f"{IMAGES}/old.qcow2",
        "old.qcow2",
        "./old.qcow2",
        'json:{"driver":"qcow2","file":{"driver":"file","filename":"' + IMAGES + '/old.qcow2"}}',
        'json:{"file.filename":"' + IMAGES + '/old.qcow2"}',
    ],
)
def test_b3_old_top_that_only_the_header_names_is_part_of_the_chain(name: str, version: int) -> None:
    tree = hosts.el9()
    off_guest(tree)
    tree.file(f"{IMAGES}/top.qcow2", qcow2(name, version=version), label=hosts.REST_LABEL, mode=0o600)
    tree.file(f"{IMAGES}/old.qcow2", qcow2("base.raw", "raw", version=version), label=STALE)
    tree.file(f"{IMAGES}/base.raw", qcow2("/etc/shadow"), label=STALE)  # declared raw: never read
    snapshot = looked(tree)
    chain = sorted(item.path for item in guest(snapshot, "vm").resources if item.kind == "backing")
    assert [path.rpartition("/")[2] for path in chain] == ["base.raw", "old.qcow2"]
    assert (snapshot.orphans, image_rules(snapshot), across(snapshot)) == ([], [], [])


def test_b3_data_file_and_loop() -> None:
    tree = hosts.el9()
    off_guest(tree)
    tree.file(f"{IMAGES}/top.qcow2", qcow2("old.qcow2", data_file="top.data"), label=hosts.REST_LABEL, mode=0o600)
    tree.file(f"{IMAGES}/old.qcow2", qcow2("top.qcow2"), label=STALE)
    tree.file(f"{IMAGES}/top.data", label=STALE)
    kinds = {item.path.rpartition("/")[2]: item.kind for item in guest(looked(tree), "vm").resources}
    assert {name: kinds.get(name) for name in ("old.qcow2", "top.data")} == {
        "old.qcow2": "backing",
        "top.data": "data_file",
    }


@pytest.mark.parametrize("end", ["<backingStore/>", ""])
def test_b3_chain_that_the_xml_ends_is_not_followed(end: str) -> None:
    tree = hosts.el9()
    off_guest(tree, disk="/x.qcow2'/>" + end + "<!--")
    tree.libvirt[1]["inactive"] = hosts.domain(f"<source file='{IMAGES}/top.qcow2'/>{end}", name="vm").replace(
        hosts.UUID, hosts.UUID[:-1] + "2"
    )
    tree.file(f"{IMAGES}/top.qcow2", qcow2("old.qcow2"), label=hosts.REST_LABEL, mode=0o600)
    tree.file(f"{IMAGES}/old.qcow2", label=STALE)
    assert owned(looked(tree), f"{IMAGES}/old.qcow2") == (None if end else ("vm", "backing"))


def test_b3_a_format_is_never_probed() -> None:
    tree = hosts.el9()
    off_guest(tree)
    tree.libvirt[1]["inactive"] = tree.libvirt[1]["inactive"].replace("type='qcow2'", "type='raw'")
    tree.file(f"{IMAGES}/top.qcow2", qcow2(f"{IMAGES}/secret.raw"), label=hosts.REST_LABEL, mode=0o600)
    tree.file(f"{IMAGES}/secret.raw", label=STALE)
    snapshot = looked(tree)
    assert owned(snapshot, f"{IMAGES}/secret.raw") is None
    assert [item.path for item in snapshot.orphans] == [f"{IMAGES}/secret.raw"]


def test_b3_no_chain_is_followed_by_paths_of_a_container() -> None:
    tree = contained_guest()
    text = hosts.status().replace("<backingStore/>", "")
    tree.file("/run/libvirt/qemu/web.xml", text, mode=0o600)
    tree.file(hosts.BASE, qcow2("hidden.qcow2"), label=hosts.CONTENT_LABEL)  # the host's, not the container's
    snapshot = hosts.look(tree)
    assert owned(snapshot, f"{IMAGES}/hidden.qcow2") is None
    assert snapshot.coverage["images"].codes == ["chain_in_container"]


@pytest.mark.parametrize(
    "content", [b"", b"QFI\xfb", qcow2("a")[:40], b"\0" * 600, qcow2("x")[:70], b"QFI\xfb" + b"\xff" * 600]
)
@pytest.mark.parametrize("format_", image_header.FORMATS)
def test_b3_damaged_header_names_nothing(content: bytes, format_: str) -> None:
    with contextlib.suppress(HostReadError):
        assert image_header.parse_header(content, format_) == image_header.ImageHeader()


@pytest.mark.parametrize(
    "name", ["nbd://host/x", "rbd:pool/x", "HTTPS://host/x", 'json:{"driver":"nbd","host":"x"}', ""]
)
def test_b3_what_is_no_local_file(name: str) -> None:
    assert image_header.local_path(name, "/i/a") is None


NOT_FOLLOWED = [
    "json:{",
    "json:" + "[" * 1000,
    "file:///i/b",
    "fat:/i",
    'json:{"driver":"quorum","children":[{"driver":"file","filename":"/i/b"}]}',
    'json:{"driver":"nvme","device":"0000:01:00.0"}',
    'json:{"driver":"qcow2","file":{"driver":"file","filename":"/i/b"},"backing":{"driver":"file","filename":"/i/c"}}',
]


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_b3_what_is_not_understood_is_no_end_of_a_chain(name: str) -> None:
    with pytest.raises(HostReadError, check=lambda error: error.code == "chain_not_followed"):
        image_header.local_path(name, "/i/a")


@pytest.mark.parametrize("name", NOT_FOLLOWED[2:5])
def test_b3_a_chain_that_is_not_followed_leaves_files_and_orphans_unknown(name: str) -> None:
    tree = hosts.el9()
    off_guest(tree)
    tree.file(f"{IMAGES}/top.qcow2", qcow2(name), label=hosts.REST_LABEL, mode=0o600)
    snapshot = hosts.look(tree)
    assert {area: snapshot.coverage[area].status for area in ("images", "orphans")} == {
        "images": "unknown",
        "orphans": "unknown",
    }
    assert "chain_not_followed" in snapshot.coverage["images"].codes


def vmdk(parent: str) -> bytes:
    text = f'# Disk DescriptorFile\nversion=1\nparentFileNameHint="{parent}"\n'.encode()
    return b"KDMV".ljust(0x200, b"\1") + text.ljust(0x5000, b"\0") + b'parentFileNameHint="/etc/shadow"'


@pytest.mark.parametrize("parent", [f"{IMAGES}/old.vmdk", "old.vmdk"])
def test_b3_parent_of_a_vmdk_is_part_of_the_chain_and_ends_it(parent: str) -> None:
    tree = hosts.el9()
    off_guest(tree)
    tree.libvirt[1]["inactive"] = tree.libvirt[1]["inactive"].replace("type='qcow2'", "type='vmdk'")
    tree.file(f"{IMAGES}/top.qcow2", vmdk(parent), label=hosts.REST_LABEL, mode=0o600)
    tree.file(f"{IMAGES}/old.vmdk", vmdk("older.vmdk"), label=STALE)  # no format is declared for it: never read
    tree.file(f"{IMAGES}/older.vmdk", label=STALE)
    snapshot = looked(tree)
    assert owned(snapshot, f"{IMAGES}/old.vmdk") == ("vm", "backing")
    assert [item.path for item in snapshot.orphans] == [f"{IMAGES}/older.vmdk"]


@pytest.mark.parametrize(
    ("format_", "content", "status"),
    [
        ("vmdk", b'# Disk DescriptorFile\nRW 8 FLAT "x-flat.vmdk" 0\n', "unknown"),
        ("vmdk", vmdk(""), "ok"),
        ("cow", b"OOOM", "unknown"),
        ("vdi", vmdk("old.vmdk"), "ok"),
        ("raw", qcow2("old.vmdk"), "ok"),
    ],
)
def test_b3_a_format_whose_chain_is_not_followed_is_unknown(format_: str, content: bytes, status: str) -> None:
    tree = hosts.el9()
    off_guest(tree)
    tree.libvirt[1]["inactive"] = tree.libvirt[1]["inactive"].replace("type='qcow2'", f"type='{format_}'")
    tree.file(f"{IMAGES}/top.qcow2", content, label=hosts.REST_LABEL, mode=0o600)
    assert hosts.look(tree).coverage["images"].status == status


@given(content=st.binary(max_size=400), format_=st.sampled_from(image_header.FORMATS), version=st.sampled_from([2, 3]))
def test_b3_any_bytes_give_a_header_or_an_error(content: bytes, format_: str, version: int) -> None:
    whole = qcow2("backing.qcow2", data_file="data", version=version)
    cut = len(content) % len(whole)
    for damaged in (content, whole[:cut] + content, whole[:cut] + content[:8] + whole[cut + 8 :]):
        with contextlib.suppress(HostReadError):
            header = image_header.parse_header(damaged, format_)
            assert all(name is None or len(name) <= image_header.MAX_NAME for name in vars(header).values())


def test_b4_remembered_owner_of_a_backing_file_of_a_guest_that_is_off() -> None:
    tree = hosts.el9()
    off_guest(tree)
    tree.file(f"{IMAGES}/top.qcow2", qcow2("old.qcow2"), label=hosts.REST_LABEL, mode=0o600)
    tree.file(f"{IMAGES}/old.qcow2", label=STALE)
    tree.remembers(f"{IMAGES}/old.qcow2", hosts.REST_LABEL, 1)
    assert image_rules(looked(tree)) == [("IMG-009", "low", f"image {IMAGES}/old.qcow2")]


KINDS = ("backing", "cdrom", "kernel", "initrd", "disk", "nvram", "data_file", "save")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["local", "shared here", "shared elsewhere"])
def test_b5_file_of_a_guest_that_is_off_with_the_pair_of_a_running_guest(kind: str, where: str) -> None:
    shared = where != "local"
    mount = "/share" if shared else "/"
    runner = fleets.guest("a", "s0:c17,c42", f"{mount}/own.qcow2", mount=mount)
    item = factory.resource(kind, f"{mount}/b", "image", factory.image_label("s0:c17,c42"), restored=False)
    item.file.mount = mount
    owner = fleets.guest("b", None, active=False, state="shutoff", resources=[item])
    disks = [fleets.nfs("/share", "nfs:filer:/vol"), s.Storage("/", "xfs", "/dev/vda", True)]
    here = fleets.host("kvm1", [owner, *([] if where == "shared elsewhere" else [runner])], storage=disks)
    there = fleets.host("kvm2", [runner] if where == "shared elsewhere" else [], storage=disks)
    rule = "CAT-001" if where == "shared elsewhere" else "CAT-002"
    reported = [one for one in across(here, there) if one[0] in ("CAT-001", "CAT-002")]
    assert (rule, "critical", "s0:c17,c42") in reported
    assert not any(one[0] == "IMG-001" for one in found(here))


@pytest.mark.parametrize("level", ["s0:c17,c42", "s0:c17,c42,c99"])
def test_b5_orphan_with_the_pair_of_a_guest_that_runs_here(level: str) -> None:
    snapshot = factory.host()
    web = guest(snapshot, "web")
    web.context = factory.process_label(level)
    snapshot.orphans = [s.Orphan(f"{IMAGES}/x.raw", factory.image_label("s0:c17,c42"), "/", "253:1", 99)]
    compared_hosts = [analysis.compared_host("kvm1", snapshot)]
    (finding,) = analysis.judge(compared_hosts).findings
    assert (finding.rule, finding.severity, finding.cost) == ("CAT-002", "critical", "none")
    shown = repr(finding.evidence)
    assert "'web'" in shown
    assert "x.raw" in shown
    assert not [item for item in image_rules(snapshot) if item[0] == "IMG-005"]


def test_b5_file_at_the_level_of_no_running_guest_is_no_breach() -> None:
    snapshot = factory.host()
    snapshot.orphans = [s.Orphan(f"{IMAGES}/x.raw", factory.image_label("s0:c1,c2"), "/", "253:1", 99)]
    assert across(snapshot) == []
    assert image_rules(snapshot) == [("IMG-005", "medium", f"image {IMAGES}/x.raw")]


def test_b5_file_that_a_running_guest_uses_is_its_own() -> None:
    snapshot = factory.host()
    disk = guest(snapshot, "spare").resources[1]
    used = guest(snapshot, "web").resources[1]
    disk.path, disk.file = used.path, used.file
    assert [item for item in across(snapshot) if item[0] == "CAT-002"] == []


@pytest.mark.parametrize("kind", ["save", "memory_snapshot", "snapshot", "defined"])
def test_b5_file_of_an_earlier_run_with_the_pair_of_another_running_guest(kind: str) -> None:
    snapshot = factory.host()
    label = factory.image_label("s0:c17,c42")
    guest(snapshot, "db").resources.append(factory.resource(kind, f"{IMAGES}/db.{kind}", "untouched", label))
    assert across(snapshot) == [("CAT-002", "critical", "s0:c17,c42")]
    guest(snapshot, "web").resources.append(factory.resource(kind, f"{IMAGES}/web.{kind}", "untouched", label))
    guest(snapshot, "db").resources.pop()
    assert across(snapshot) == []  # its own level


def test_b5_directory_that_libvirt_did_not_make_leaves_the_guests_files_known() -> None:
    snapshot = factory.host()
    missing = factory.resource("memory_dir", "/var/lib/libvirt/qemu/ram/1-web", "image", None, "x")
    missing.file = s.FileFacts(exists=False)
    guest(snapshot, "web").resources.append(missing)
    (web,) = [item for item in analysis.compared_host("kvm1", snapshot).guests if item.name == "web"]
    assert web.files is not None


def orphan_host(name: str, *guests: s.Guest, orphan: bool = True) -> s.Snapshot:
    orphans = [s.Orphan("/share/x.raw", factory.image_label("s0:c7,c8"), "/share", "0:50", 7)] if orphan else []
    return fleets.host(name, guests, storage=[fleets.nfs("/share", "nfs:filer:/vol")], orphans=orphans)


@pytest.mark.parametrize("runs_on", ["kvm1", "kvm2"])
def test_b6_diskless_guest_at_an_orphans_level_does_not_own_it(runs_on: str) -> None:
    runner = fleets.guest("a", "s0:c7,c8")
    snapshots = [orphan_host(name, *([runner] if name == runs_on else [])) for name in ("kvm1", "kvm2")]
    assert "IMG-005" in {item[0] for item in across(*snapshots)}


@pytest.mark.parametrize("level", ["s0:c7,c8", "s0:c7,c8,c9"])
def test_b5_orphan_on_a_share_that_a_running_guest_reaches_is_critical(level: str) -> None:
    runner = fleets.guest("a", level, "/share/own.qcow2", mount="/share")
    snapshots = [orphan_host("kvm1"), orphan_host("kvm2", runner)]
    assert ("IMG-005", "critical", "image /share/x.raw") in across(*snapshots)


def test_b5_orphan_on_a_share_that_a_guest_of_the_only_audited_host_reaches() -> None:
    runner = fleets.guest("a", "s0:c7,c8", "/share/own.qcow2", mount="/share")
    assert ("IMG-005", "critical", "image /share/x.raw") in across(orphan_host("kvm1", runner))


def test_b6_guest_whose_files_are_not_known_may_own_it() -> None:
    runner = fleets.guest("a", "s0:c7,c8", error="its XML could not be read")
    compared_hosts = [
        analysis.compared_host(name, orphan_host(name, *guests)) for name, guests in (("kvm1", ()), ("kvm2", (runner,)))
    ]
    result = analysis.judge(compared_hosts)
    assert result.findings == ()
    assert ("IMG-005", "unknown") in {(item.rule, item.status) for item in result.outcomes["kvm1"]}


def test_no_repair_says_delete() -> None:
    rules: list[t.Any] = [*catalogue.RULES, *fleet_rules.RULES]
    texts = {rule.id: rule.fix for rule in rules}
    texts.update(
        {item.fix: item.fix for item in vars(image_repairs).values() if isinstance(item, image_repairs.Repair)}
    )
    word = re.compile(r"\b(delet|rm |unlink|destroy)", re.IGNORECASE)
    assert [key for key, text in texts.items() if word.search(text)] == []


def test_holders_of_the_categories_are_named() -> None:
    snapshot = factory.host()
    spare = guest(snapshot, "spare").resources[0]
    spare.file.label = factory.image_label("s0:c17,c42")
    (finding,) = [
        item for item in analysis.judge([analysis.compared_host("kvm1", snapshot)]).findings if item.rule == "CAT-002"
    ]
    assert {"web", "spare"} <= {item["guest"] for item in finding.evidence["guests"]}
    assert status(snapshot, "IMG-001") == "pass"
