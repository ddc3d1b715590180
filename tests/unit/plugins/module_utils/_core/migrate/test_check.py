# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Whether guests may migrate: the smallest fault makes the answer another one."""

from __future__ import annotations

import copy
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import label_domains
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis as across
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage import all_storage
from ansible_collections.svirt.fleet.plugins.module_utils._core.migrate import check
from ansible_collections.svirt.fleet.plugins.module_utils._core.migrate.move import MoveFleet
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import CategorySet
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.fleets import PROCESS, disk, host, nfs
from tests.unit.support.fleets import guest as running

CODE = "s0:c40,c300,c600,c900"
OTHER = "s0:c41,c301,c601,c901"
BASE = f"{PROCESS}s0"
EXPORT = "/srv/vms"


def hypervisor(name: str, *guests: s.Guest, storage: t.Sequence[s.Storage] = ()) -> s.Snapshot:
    """A host that mounts the share and is as it should be."""
    daemon = s.Daemon("libvirtd", 900, "system_u:system_r:virtd_t:s0-s0:c0.c31", started_at=2000.0)
    conf = s.QemuConf("/etc/libvirt/qemu.conf", present=True, changed_at=1000.0)
    models = [s.SecurityModel("selinux", "0", {"kvm": BASE}), s.SecurityModel("dac")]
    libvirt = s.Libvirt(True, daemon, True, "QEMU", "11.3.0", conf, models)
    return host(name, guests, libvirt=libvirt, storage=list(storage) or [nfs("/share", "nfs:filer:/vol")])


def static(
    name: str, level: str = CODE, *files: str, active: bool = True, mount: str = "/share", **parts: t.Any
) -> s.Guest:
    label = s.SecLabel("selinux", "static", True, f"{PROCESS}{level}")
    paths = files or (f"/share/{name}.qcow2",)
    facts: dict[str, t.Any] = {"live": [label] if active else [], "persistent_labels": [label], "active": active}
    return running(f"uuid-{name}", level if active else None, *paths, mount=mount, name=name, **{**facts, **parts})


def dynamic(name: str, level: str = "s0:c1,c2", *files: str, mount: str = "/share", **parts: t.Any) -> s.Guest:
    label = s.SecLabel("selinux", "dynamic", True, f"{PROCESS}{level}")
    paths = files or (f"/share/{name}.qcow2",)
    return running(f"uuid-{name}", level, *paths, mount=mount, name=name, **{"live": [label], **parts})


def fleet(*hosts: s.Snapshot, **parts: t.Any) -> MoveFleet:
    return MoveFleet(
        "kvm2",
        {snapshot.host.name: snapshot for snapshot in hosts},
        [across.compared_host(snapshot.host.name, snapshot) for snapshot in hosts],
        [all_storage(snapshot.host.name, snapshot) for snapshot in hosts],
        **parts,
    )


def asked(*hosts: s.Snapshot, guest: str = "web", **parts: t.Any) -> check.MoveAnswer:
    (answer,) = check.check([guest], fleet(*hosts, **parts))
    return answer


def why(answer: check.MoveAnswer) -> list[str]:
    """Status and code of each objection."""
    return [f"{objection.status}: {objection.reason.code}" for objection in answer.objections]


def text(answer: check.MoveAnswer) -> str:
    return "\n".join(objection.reason.text for objection in answer.objections)


def source(*more: s.Guest, web: s.Guest | None = None) -> s.Snapshot:
    return hypervisor("kvm1", web or static("web"), *more)


TARGET = hypervisor("kvm2", static("db", OTHER))


def target(**parts: t.Any) -> s.Snapshot:
    return replace(copy.deepcopy(TARGET), **parts)


# -- yes -------------------------------------------------------------------------------------------------------------


def test_a_guest_of_its_own_label_may_go() -> None:
    answer = asked(source(), TARGET)
    assert (answer.verdict, why(answer)) == ("allowed", [])
    assert answer.document() == {
        "asked": "web",
        "guest": "web",
        "uuid": "uuid-web",
        "from": "kvm1",
        "to": "kvm2",
        "verdict": "allowed",
        "reasons": [],
    }
    assert asked(source(), TARGET, guest="uuid-web").verdict == "allowed"


def test_a_drawn_label_may_go_where_no_label_is_written_to_shared_storage() -> None:
    plain = [nfs("/share", "nfs:filer:/vol", labelled=False)]
    hosts = [hypervisor("kvm1", dynamic("web"), storage=plain), hypervisor("kvm2", storage=plain)]
    assert why(asked(*hosts)) == []


def test_the_guest_itself_is_nobodys_neighbour() -> None:
    defined = static("web", active=False)
    helper = s.Process(7, "swtpm", context=f"{PROCESS}{CODE}", guest="uuid-web")
    assert why(asked(source(), target(guests=[defined], processes=[helper]))) == []


def test_guest_that_is_off_is_judged_by_its_label_only() -> None:
    assert why(asked(source(web=static("web", active=False)), TARGET)) == []


# -- which guest -----------------------------------------------------------------------------------------------------


def test_a_guest_that_nobody_has() -> None:
    assert why(asked(source(), TARGET, guest="nobody")) == ["refused: no_such_guest"]
    answer = asked(source(), TARGET, guest="nobody", unread={"kvm9": "down"})
    assert (answer.verdict, answer.uuid) == ("unknown", None)
    assert why(answer) == ["unknown: guest_not_seen"]


def test_a_name_that_several_have() -> None:
    third = hypervisor("kvm3", replace(static("other", OTHER), name="web"))
    answer = asked(source(), TARGET, third)
    assert why(answer) == ["refused: name_not_unique"]
    assert "on kvm1, kvm3" in text(answer)
    assert asked(source(), TARGET, third, guest="uuid-web").name == "web"


def test_guest_that_is_there_already_or_runs_twice() -> None:
    there = target(guests=[static("web")])
    assert why(asked(TARGET, there)) == ["refused: already_there"]
    assert "refused: runs_elsewhere" in why(asked(source(), there))


def test_guests_of_another_kind() -> None:
    assert why(asked(source(web=static("web", kind="lxc")), TARGET)) == ["refused: not_qemu"]


# -- the target ------------------------------------------------------------------------------------------------------


def with_types(**facts: t.Any) -> s.SELinux:
    known = {"known": True, "permissive": False, "constrained": True}
    return s.SELinux(mode="enforcing", types=[s.TypeFacts("svirt_t", **{**known, **facts})])


def with_models(models: list[s.SecurityModel] | None) -> s.Libvirt:
    return replace(TARGET.libvirt, models=models)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"selinux": replace(TARGET.selinux, mode="permissive")}, "refused: not_enforcing"),
        ({"selinux": replace(TARGET.selinux, mode="disabled")}, "refused: not_enforcing"),
        ({"selinux": replace(TARGET.selinux, mls=False)}, "refused: no_categories"),
        (
            {"selinux": with_types(known=False)},
            "refused: type_not_in_policy",
        ),
        ({"selinux": with_types(permissive=True)}, "refused: type_permissive"),
        (
            {"selinux": with_types(constrained=False)},
            "refused: type_unconstrained",
        ),
        (
            {"selinux": with_types(constrained=None)},
            "unknown: type_unread",
        ),
        (
            {"selinux": s.SELinux(mode="enforcing")},
            "unknown: type_unread",
        ),
        ({"libvirt": with_models(None)}, "unknown: drivers_unread"),
        (
            {"libvirt": with_models([s.SecurityModel("dac")])},
            "refused: no_selinux_driver",
        ),
        (
            {"libvirt": with_models([s.SecurityModel("selinux", "0", {"kvm": BASE.replace("svirt_t", "other_t")})])},
            "refused: type_differs",
        ),
        (
            {"libvirt": with_models([s.SecurityModel("selinux", "0", {"qemu": BASE})])},
            "unknown: type_unknown",
        ),
    ],
)
def test_a_target_that_would_not_hold_it(parts: dict[str, t.Any], reason: str) -> None:
    answer = asked(source(), target(**parts))
    assert reason in why(answer)
    assert answer.verdict == reason.partition(":")[0]


@pytest.mark.parametrize("area", ["selinux", "libvirt", "guests", "processes", "containers", "storage"])
def test_what_of_the_target_was_not_read_is_no_yes(area: str) -> None:
    there = target()
    there.coverage[area] = s.Coverage(s.UNKNOWN, "not root")
    answer = asked(source(), there)
    assert answer.verdict == "unknown"
    assert set(why(answer)) == {"unknown: area_unread"}
    assert all("kvm2" in entry.reason.text and "not root" in entry.reason.text for entry in answer.objections)


@pytest.mark.parametrize("area", ["guests", "images", "storage"])
def test_what_of_the_source_was_not_read_is_no_yes(area: str) -> None:
    here = source()
    here.coverage[area] = s.Coverage(s.UNKNOWN, "not root")
    answer = asked(here, TARGET)
    assert why(answer) == ["unknown: area_unread"]
    assert area in text(answer)


def test_a_target_without_libvirt() -> None:
    there = target()
    there.coverage["libvirt"] = s.Coverage(s.NOT_APPLICABLE, "no libvirt daemon for QEMU is installed")
    assert why(asked(source(), there))[0] == "refused: target_not_suitable"


def test_a_target_that_was_not_read() -> None:
    answer = asked(source(), unread={"kvm2": "it is down"})
    assert (answer.verdict, why(answer)) == ("unknown", ["unknown: target_unread"])
    assert why(asked(source())) == ["unknown: target_unread"]


# -- the label -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "word"),
    [
        (CODE, "has the categories of"),
        ("s0:c900,c600,c300,c40", "has the categories of"),
        ("s0:c40,c300", "holds the categories of"),
        ("s0", "holds the categories of"),
        ("s0:c0.c1023", "lies within the categories of"),
    ],
)
def test_a_label_that_meets_one_on_the_target(level: str, word: str) -> None:
    answer = asked(source(), target(guests=[static("db", level)]))
    assert why(answer) == ["refused: label_meets_neighbour"]
    assert f"{word} guest db on kvm2" in text(answer)


def test_a_label_that_a_guest_there_is_defined_with() -> None:
    waiting = static("db", OTHER, persistent_labels=[s.SecLabel("selinux", "static", True, f"{PROCESS}{CODE}")])
    for there in (static("db", active=False), waiting):
        answer = asked(source(), target(guests=[there]))
        assert why(answer) == ["refused: label_meets_neighbour"]
        assert "which is defined so" in text(answer)


def test_other_labels_on_the_target() -> None:
    stray = s.Process(9, "qemu", context=f"{PROCESS}{CODE}")
    assert "process 9 (qemu) on kvm2" in text(asked(source(), target(processes=[stray])))
    pod = s.ContainerLabel(f"system_u:system_r:container_t:{CODE}")
    assert "container on kvm2" in text(asked(source(), target(containers=[pod])))
    assert why(asked(source(), target(containers=[s.ContainerLabel("system_u:system_r:container_t:s0")]))) == []


def test_a_label_there_that_is_not_known() -> None:
    blind = static("db", OTHER, context=None)
    assert why(asked(source(), target(guests=[blind]))) == ["unknown: neighbour_unread"]
    odd = static("db", OTHER, context="odd")
    assert why(asked(source(), target(guests=[odd]))) == ["unknown: neighbour_invalid"]


@pytest.mark.parametrize(
    ("web", "reason"),
    [
        (static("web", active=False, saved_labels=[]), "refused: managed_save"),
        (static("web", live=[]), "unknown: live_xml_unread"),
        (static("web", live=[s.SecLabel("selinux", "none")]), "refused: unconfined"),
        (static("web", live=[s.SecLabel("selinux", "static", True, "x")]), "unknown: label_invalid"),
        (static("web", context=f"{PROCESS}{OTHER}"), "refused: label_pending"),
        (static("web", context=None), "unknown: label_unread"),
        (static("web", "s0:c40"), "refused: too_few_categories"),
        (static("web", error="odd XML"), "unknown: guest_unread"),
        (dynamic("web"), "refused: drawn_label_on_shared_storage"),
    ],
)
def test_a_guest_that_must_not_go_as_it_is(web: s.Guest, reason: str) -> None:
    assert reason in why(asked(source(web=web), TARGET))


def test_a_drawn_label_and_the_targets_type() -> None:
    plain = [nfs("/share", "nfs:filer:/vol", labelled=False)]
    there = replace(hypervisor("kvm2", storage=plain), selinux=with_types(permissive=True))
    assert why(asked(hypervisor("kvm1", dynamic("web"), storage=plain), there)) == ["refused: type_permissive"]


# -- shared storage --------------------------------------------------------------------------------------------------


def test_a_guest_of_a_third_host_with_files_that_the_target_mounts() -> None:
    second = nfs("/more", "nfs:filer:/more")
    there = hypervisor("kvm2", storage=[*TARGET.storage, second])
    third = hypervisor("kvm3", static("mail", CODE, "/more/mail.qcow2", mount="/more"), storage=[second])
    answer = asked(source(), there, third)
    assert why(answer) == ["refused: label_meets_on_storage"]
    assert "guest mail on kvm3" in text(answer)
    assert why(asked(source(), TARGET, third)) == []  # kvm2 does not mount it


def test_a_guest_of_a_third_host_whose_files_are_elsewhere_is_not_met() -> None:
    root = s.Storage("/", "ext4", "/dev/vda1", True, identity="uuid:5eed")
    third = hypervisor("kvm3", static("mail", CODE, "/var/mail.qcow2", mount="/"), storage=[root, *TARGET.storage])
    assert why(asked(source(), TARGET, third)) == []


def test_a_third_host_that_is_not_known_wholly() -> None:
    third = hypervisor("kvm3", static("mail", OTHER, context="odd"))
    answer = asked(source(), TARGET, third)
    assert why(answer) == ["unknown: sharer_unread"]
    assert "guest 'mail'" in text(answer)
    answer = asked(source(), TARGET, unread={"kvm9": "down", "kvm8": "down"})
    assert why(answer) == ["unknown: hosts_unread"]
    assert "kvm8, kvm9" in text(answer)


# -- the disks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("storage", "allowed"),
    [
        ([nfs("/share", "nfs:filer:/vol")], True),
        ([nfs("/share", "nfs:filer:/vol"), nfs("/share/sub", "nfs:filer:/sub")], True),
        ([nfs("/other", "nfs:filer:/vol")], False),
        ([nfs("/share", "nfs:filer:/elsewhere")], False),
        ([nfs("/share", "nfs:filer:/vol"), s.Storage("/share/web.qcow2", "ext4", "/dev/sda", True)], False),
        ([s.Storage("/", "ext4", "/dev/sda1", True, identity="uuid:1")], False),
    ],
)
def test_the_disk_must_be_there_at_its_path(storage: list[s.Storage], allowed: bool) -> None:
    answer = asked(source(), hypervisor("kvm2", storage=storage))
    assert (answer.verdict == "allowed") is allowed
    if not allowed:
        assert why(answer)[0] == "refused: file_not_reached"


def test_a_disk_on_local_storage() -> None:
    root = s.Storage("/", "ext4", "/dev/vda1", True, identity="uuid:5eed")
    here = hypervisor("kvm1", static("web", CODE, "/var/web.qcow2", mount="/"), storage=[root])
    assert why(asked(here, hypervisor("kvm2", storage=[root]))) == ["refused: file_local"]


def resource(**facts: t.Any) -> s.Resource:
    item = disk("/share/web.qcow2", "/share")
    return replace(item, file=replace(item.file, **facts))


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (resource(mount=None), "unknown: file_unread"),
        (resource(exists=None, error="it hangs"), "unknown: file_unread"),
        (resource(resolved="/share/real"), "unknown: file_link"),
        (
            replace(resource(), path="/dev/vg/web", in_namespace=True),
            "unknown: device_unknown",
        ),
    ],
)
def test_a_disk_that_is_not_known(item: s.Resource, reason: str) -> None:
    answer = asked(source(web=static("web", resources=[item])), TARGET)
    assert answer.verdict == "unknown"
    assert reason in why(answer)


def test_what_libvirt_makes_on_the_target_need_not_be_there() -> None:
    nvram = replace(disk("/var/lib/libvirt/qemu/nvram/web.fd", "/"), kind="nvram")
    assert why(asked(source(web=static("web", resources=[disk("/share/a", "/share"), nvram])), TARGET)) == []


def test_block_devices_are_known_by_their_identity() -> None:
    item = disk("/dev/vg/web", "/dev/vg/web", kind="block")

    def on(name: str, identity: str | None, *guests: s.Guest) -> s.Snapshot:
        device = s.Storage("/dev/vg/web", "block", "253:1", True, identity=identity)
        return hypervisor(name, *guests, storage=[*TARGET.storage, device])

    here = on("kvm1", "lvm:a/b", static("web", resources=[item]))
    assert why(asked(here, on("kvm2", "lvm:a/b"))) == []
    assert why(asked(here, on("kvm2", "lvm:a/c"))) == ["refused: device_differs"]
    assert why(asked(here, on("kvm2", None))) == ["unknown: device_unknown"]


# -- the exporter ----------------------------------------------------------------------------------------------------


def exporter(conf: s.QemuConf | None) -> s.Snapshot:
    root = s.Storage("/", "ext4", "/dev/vda1", True, exports=[EXPORT], labelled_exports=[EXPORT])
    one = hypervisor("kvm1", static("web", CODE, f"{EXPORT}/web.qcow2", mount="/"), storage=[root])
    return replace(one, libvirt=replace(one.libvirt, conf=conf))


CLIENT = hypervisor(
    "kvm2", static("db", OTHER, f"{EXPORT}/db.qcow2", mount=EXPORT), storage=[nfs(EXPORT, f"nfs:kvm1:{EXPORT}")]
)


def conf(*folders: str, **parts: t.Any) -> s.QemuConf:
    assigned = [s.Assignment("shared_filesystems", list(folders), 1)] if folders else []
    return s.QemuConf("/etc/libvirt/qemu.conf", True, assigned, **{"changed_at": 1000.0, **parts})


def test_an_exporter_whose_libvirt_knows_it() -> None:
    assert why(asked(exporter(conf(EXPORT)), CLIENT)) == []
    assert why(asked(exporter(conf("/srv")), CLIENT)) == []


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (conf(), "refused: export_not_named"),
        (conf("/srv/vms-old"), "refused: export_not_named"),
        (None, "unknown: export_unknown"),
        (conf(EXPORT, changed_at=2003.0), "unknown: export_not_read"),
        (conf(EXPORT, changed_at=None), "unknown: export_not_read"),
        (
            conf(EXPORT, problems=[s.ConfProblem(3, "syntax", "", "expecting a value")]),
            "unknown: export_unknown",
        ),
    ],
)
def test_an_exporter_whose_libvirt_does_not(written: s.QemuConf | None, reason: str) -> None:
    answer = asked(exporter(written), CLIENT)
    assert why(answer) == [reason]


@pytest.mark.parametrize(
    ("written", "reason"),
    [(conf(), "refused: export_not_nameable"), (conf(EXPORT), "unknown: export_not_nameable")],
)
def test_an_exporter_whose_libvirt_ignores_the_key(written: s.QemuConf, reason: str) -> None:
    old = exporter(written)
    old = replace(old, libvirt=replace(old.libvirt, version="9.0.0"))
    assert why(asked(old, CLIENT)) == [reason]


# -- label domains ---------------------------------------------------------------------------------------------------


def domains(*entries: dict[str, t.Any]) -> dict[str, label_domains.LabelDomain]:
    named = label_domains.parse_domains(list(entries))
    return label_domains.by_host(label_domains.derive([], named))


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([{"name": "prod", "hosts": ["kvm1", "kvm2"]}], None),
        ([{"name": "prod", "hosts": ["kvm3"]}], None),
        ([{"name": "prod", "hosts": ["kvm1", "kvm2"], "migration": False}], "refused: domain_without_migration"),
        (
            [{"name": "prod", "hosts": ["kvm1"]}, {"name": "test", "hosts": ["kvm2"]}],
            "refused: other_label_domain",
        ),
        ([{"name": "prod", "hosts": ["kvm1"]}], "refused: other_label_domain"),
    ],
)
def test_a_guest_stays_in_its_domain(entries: list[dict[str, t.Any]], reason: str | None) -> None:
    assert why(asked(source(), TARGET, domains=domains(*entries))) == ([reason] if reason else [])


# -- against brute force ---------------------------------------------------------------------------------------------

SETS = st.sets(st.integers(0, 5), min_size=2, max_size=4)


@given(SETS, st.lists(SETS, max_size=4))
def test_a_static_label_goes_only_where_no_set_holds_another(own: set[int], others: list[set[int]]) -> None:
    def level(numbers: set[int]) -> str:
        return f"s0:{CategorySet.of(numbers)}"

    guests = [static(f"g{number}", level(numbers)) for number, numbers in enumerate(others)]
    answer = asked(source(web=static("web", level(own))), target(guests=guests))
    meets = any(own <= numbers or numbers <= own for numbers in others)
    assert answer.verdict == ("refused" if meets else "allowed")


def test_each_guest_has_an_answer_in_the_order_of_the_questions() -> None:
    answers = check.check(["nobody", "web", "nobody"], fleet(source(), TARGET))
    assert [(answer.asked, answer.verdict) for answer in answers] == [("nobody", "refused"), ("web", "allowed")]


def test_the_words_of_an_answer() -> None:
    assert asked(source(), target(guests=[static("db", CODE)])).document()["reasons"] == [
        {
            "status": "refused",
            "code": "label_meets_neighbour",
            "why": f"its label {PROCESS}{CODE} has the categories of guest db on kvm2 ({PROCESS}{CODE})",
        }
    ]
