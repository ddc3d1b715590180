# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots to JSON and back, and what is refused on the way."""

from __future__ import annotations

import contextlib
import json
import pathlib
import typing as t
from dataclasses import fields, is_dataclass

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import SchemaError
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import domain_xml, file_labels, qemu_conf
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import document as schema
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.controller  # which alone reads documents

FIXTURES = pathlib.Path(__file__).parents[1] / "libvirt" / "fixtures"


def full() -> model.Snapshot:
    """A snapshot with something in every list."""
    domain = domain_xml.parse_domain((FIXTURES / "everything.xml").read_text(encoding="utf-8"))
    resources = file_labels.resources(domain, True, file_labels.ImageTypes())
    resources[0].file = model.FileFacts(True, "", "file", "u:r:t:s0", remembered=model.Remembered("u:r:t:s0", 1))
    return model.Snapshot(
        host=model.Host("kvm1", root=True),
        selinux=model.SELinux(
            "enforcing",
            boot_entries=[model.BootEntry("grub.cfg", "t", "ro")],
            types=[model.TypeFacts("svirt_t", True, False, True)],
            booleans=[model.Boolean("virt_use_nfs", False, False)],
            access=[model.Access("a", "b", True, False)],
        ),
        libvirt=model.Libvirt(
            daemon=model.Daemon("libvirtd", started_at=1.5),
            conf=model.QemuConf("qemu.conf", True, *qemu_conf.parse('namespaces = [ "mount" ]\nx = 1\n')),
            models=[model.SecurityModel("selinux", "0", {"kvm": "l"})],
        ),
        coverage={area: model.Coverage("ok") for area in model.AREAS},
        taken_at=1.0,
        guests=[
            model.Guest(
                domain.uuid,
                domain.name,
                "running",
                True,
                live=domain.seclabels,
                resources=resources,
                interfaces=domain.interfaces,
                risks=domain.risks,
            )
        ],
        processes=[model.Process(1, "qemu")],
        containers=[model.ContainerLabel("l", [1])],
        storage=[model.Storage("/", "ext4", "/dev/sda1", True)],
        orphans=[model.Orphan("/a", "l")],
        xen=model.Xen("enforcing"),
    )


def document() -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(json.dumps(schema.encode(full()))))


def test_round_trip() -> None:
    assert schema.decode_snapshot(document()) == full()


def put(path: str, value: t.Any) -> dict[str, t.Any]:
    """The document with one place changed."""
    result = document()
    place: t.Any = result
    *way, last = path.split(".")
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return result


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", "svirt.fleet/snapshot/2", "this version reads"),
        ("schema", None, "not a snapshot"),
        ("unknown", 1, r"snapshot: unknown field 'unknown'"),
        ("host.extra", 1, r"snapshot\.host: unknown field 'extra'"),
        ("host.name", 5, r"snapshot\.host\.name: expected str, found 5"),
        ("host.root", 1, r"snapshot\.host\.root: expected bool, found 1"),
        ("host", [], r"snapshot\.host: expected an object, found list of 0"),
        ("guests", {}, r"snapshot\.guests: expected a list"),
        ("guests.0.pid", True, r"snapshot\.guests\[0\]\.pid: expected int, found True"),
        ("guests.0.pid", "1", r"snapshot\.guests\[0\]\.pid: expected int, found '1'"),
        ("guests.0.name", None, r"snapshot\.guests\[0\]\.name: expected str, found None"),
        ("guests.0.name", "x" * 65537, "a text of 65537 characters is longer than 65536"),
        ("guests.0.risks", ["a", 1], r"snapshot\.guests\[0\]\.risks\[1\]: expected str"),
        ("taken_at", "now", r"snapshot\.taken_at: expected float"),
        ("taken_at", True, r"snapshot\.taken_at: expected float"),
        ("libvirt.conf.assignments.0.value", {"a": 1}, "expected a text, a whole number or a list of texts"),
        ("libvirt.conf.assignments.0.value", [["a"]], "expected str"),
        ("libvirt.conf.assignments.0.value", True, "expected a text"),
        ("libvirt.models.0.baselabels", {"kvm": 1}, r"baselabels\.kvm: expected str"),
        ("coverage", {}, "coverage lacks selinux"),
        ("coverage.selinux.status", 1, r"coverage\.selinux\.status: expected str"),
        ("selinux.types.0", None, r"types\[0\]: expected an object, found None"),
    ],
)
def test_rejections(path: str, value: t.Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        schema.decode_snapshot(put(path, value))


@pytest.mark.parametrize("name", ["host", "selinux", "libvirt", "coverage", "taken_at"])
def test_missing_field(name: str) -> None:
    result = document()
    del result[name]
    with pytest.raises(SchemaError, match=f"field '{name}' is missing"):
        schema.decode_snapshot(result)


@pytest.mark.parametrize("found", [None, [], "x", 1, {}])
def test_no_snapshot_at_all(found: t.Any) -> None:
    with pytest.raises(SchemaError, match="not a snapshot"):
        schema.decode_snapshot(found)


def test_optional_fields_take_none_and_whole_numbers_pass_for_times() -> None:
    decoded = schema.decode_snapshot(put("taken_at", 5))
    assert decoded.taken_at == 5
    assert schema.decode_snapshot(put("xen", None)).xen is None


def test_a_snapshot_from_before_reasons_had_codes() -> None:
    result = document()
    for entry in result["coverage"].values():
        del entry["codes"]
    assert {tuple(entry.codes) for entry in schema.decode_snapshot(result).coverage.values()} == {()}


def test_lists_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MAX_ITEMS", 70)
    with pytest.raises(SchemaError, match="a list of at most 70, found list of 71"):
        schema.decode_snapshot(put("guests.0.risks", ["a"] * 71))


def test_every_field_is_documented() -> None:
    def walk(kind: type) -> t.Iterator[tuple[type, str, str]]:
        for item in fields(kind):
            yield kind, item.name, item.metadata.get("doc", "")

    kinds = [kind for kind in vars(model).values() if isinstance(kind, type) and is_dataclass(kind)]
    undocumented = [(kind.__name__, name) for found in kinds for kind, name, text in walk(found) if not text]
    assert undocumented == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_PLACES = st.sampled_from(("host", "selinux", "guests", "coverage", "guests.0", "guests.0.live", "libvirt.conf", "xen"))


@given(_PLACES, _JSON)
def test_any_json_is_a_snapshot_or_refused(path: str, value: t.Any) -> None:
    with contextlib.suppress(SchemaError):
        assert isinstance(schema.decode_snapshot(put(path, value)), model.Snapshot)
