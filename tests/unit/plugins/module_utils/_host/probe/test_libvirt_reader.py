# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to libvirt, against a stand-in of its binding, and what the daemon's files say."""

from __future__ import annotations

import sys
import types
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    Libvirt,
    Network,
    Process,
    SecurityModel,
)
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import daemon, guests, libvirt_reader, storage

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.errors import raised


class Domain:
    """A guest of the stand-in."""

    def __init__(self, name: str, number: int, active: bool = False, broken: bool = False) -> None:
        self._name = name
        self._number = number
        self._active = active
        self._broken = broken

    def UUIDString(self) -> str:  # noqa: N802 - the binding's name
        return f"{self._number:032x}"

    def name(self) -> str:
        return self._name

    def ID(self) -> int:  # noqa: N802 - as above
        return self._number if self._active else -1

    def state(self) -> list[int]:
        return [1 if self._active else 5, 0]

    def XMLDesc(self, flags: int) -> str:  # noqa: N802 - as above
        if self._broken:
            raise LibvirtError("Domain not found")
        return f"<domain flags='{flags}'/>"


class LibvirtError(Exception):
    """The binding's own exception."""


class Described:
    """A filter or network of the stand-in."""

    def __init__(self, xml: str) -> None:
        self._xml = xml

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802 - as above
        if not self._xml:
            raise LibvirtError("it went meanwhile")
        return self._xml


class Connection:
    """A read-only connection. Whatever else is called on it is a mistake."""

    stats = True
    filters: t.ClassVar[t.Sequence[str] | None] = ("<filter name='clean-traffic'/>", "")

    def __init__(self, domains: list[Domain]) -> None:
        self._domains = domains

    def getType(self) -> str:  # noqa: N802 - as above
        return "QEMU"

    def getLibVersion(self) -> int:  # noqa: N802 - as above
        return 11003002

    def getCapabilities(self) -> str:  # noqa: N802 - as above
        return hosts.CAPABILITIES

    def listAllNWFilters(self) -> list[Described]:  # noqa: N802 - as above
        if self.filters is None:
            raise LibvirtError("this function is not supported by the connection driver")
        return [Described(xml) for xml in self.filters]

    def listAllNetworks(self) -> list[Described]:  # noqa: N802 - as above
        return [Described("<network><name>default</name><bridge name='virbr0'/></network>")]

    def listAllDomains(self, flags: int = 0) -> list[Domain]:  # noqa: N802 - as above
        return [item for item in self._domains if not flags or item.name() != "transient"]

    def getAllDomainStats(self, _stats: int) -> list[tuple[Domain, dict[str, int]]]:  # noqa: N802 - as above
        if not self.stats:
            raise LibvirtError("this function is not supported by the connection driver")
        return [(item, {"state.state": item.state()[0]}) for item in self._domains]


@pytest.fixture
def binding(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The stand-in, with two guests; it has no way to open a connection for writing."""
    made = types.ModuleType("libvirt")
    domains = [Domain("web", 1, active=True), Domain("transient", 2, active=True), Domain("off", 3)]
    parts: dict[str, t.Any] = {
        "libvirtError": LibvirtError,
        "registerErrorHandler": lambda _handler, _context: None,
        "openReadOnly": lambda _uri: Connection(domains),
        "domains": domains,
    }
    for name, value in parts.items():
        setattr(made, name, value)
    monkeypatch.setitem(sys.modules, "libvirt", made)
    return made


def ask(known: t.Collection[str] = ()) -> tuple[list[libvirt_reader.ListedGuest], libvirt_reader.LibvirtAnswer]:
    *listed, answer = libvirt_reader.gather(libvirt_reader.ask("qemu:///system", known))
    assert isinstance(answer, libvirt_reader.LibvirtAnswer)
    return [item for item in listed if isinstance(item, libvirt_reader.ListedGuest)], answer


@pytest.mark.parametrize("stats", [True, False])
def test_what_libvirt_is_asked(binding: types.ModuleType, monkeypatch: pytest.MonkeyPatch, stats: bool) -> None:
    monkeypatch.setattr(Connection, "stats", stats)
    listed, answer = ask(known=("transient",))
    assert [(item.name, item.state, item.active, item.persistent) for item in listed] == [
        ("web", "running", True, True),
        ("transient", "running", True, False),
        ("off", "shutoff", False, True),
    ]
    assert [(item.live, item.inactive) for item in listed] == [
        ("<domain flags='0'/>", "<domain flags='2'/>"),
        (None, None),  # its status file is there, and nothing of it is kept on disk
        (None, "<domain flags='2'/>"),
    ]
    assert (answer.connected, answer.driver, answer.version) == (True, "QEMU", "11.3.2")
    assert answer.models is not None
    assert [model.model for model in answer.models] == ["selinux", "dac"]
    assert answer.filters is not None
    assert [item.name for item in answer.filters] == ["clean-traffic"]
    assert answer.networks == [Network("default", None, "virbr0")]


@pytest.mark.parametrize("filters", [None, ("<filter/>",), ("<nonsense",)])
def test_filters_that_cannot_be_read(
    binding: types.ModuleType, monkeypatch: pytest.MonkeyPatch, filters: t.Sequence[str] | None
) -> None:
    monkeypatch.setattr(Connection, "filters", filters)
    _listed, answer = ask()
    assert answer.filters is None
    assert answer.models is not None


def test_a_guest_that_vanishes_meanwhile(binding: types.ModuleType) -> None:
    binding.domains.append(Domain("gone", 4, active=True, broken=True))
    listed, answer = ask()
    assert listed[-1].error == "libvirt: Domain not found"
    assert answer.connected is True


def test_a_daemon_that_refuses(binding: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_uri: str) -> t.NoReturn:
        raise LibvirtError("Failed to connect socket to '/run/libvirt/libvirt-sock-ro': Connection refused")

    monkeypatch.setattr(binding, "openReadOnly", refuse)
    with raised("libvirt_error", "Connection refused"):
        list(libvirt_reader.ask("qemu:///system", ()))


def test_a_python_without_the_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    with raised("no_binding", "install python3-libvirt"):
        list(libvirt_reader.ask("qemu:///system", ()))


def test_security_models() -> None:
    assert libvirt_reader.security_models(hosts.CAPABILITIES) == [
        SecurityModel(
            "selinux", "0", {"kvm": "system_u:system_r:svirt_t:s0", "qemu": "system_u:system_r:svirt_tcg_t:s0"}
        ),
        SecurityModel("dac", "0", {"kvm": "+107:+107"}),
    ]
    assert libvirt_reader.security_models("<capabilities/>") == []
    with raised("capabilities_malformed"):
        libvirt_reader.security_models("<secmodel><model></secmodel>")


def running(name: str, pid: int, uid: int = 0) -> Process:
    return Process(pid=pid, role=name, context=f"system_u:system_r:{name}_t:s0", uid=uid)


@pytest.mark.parametrize(
    ("daemons", "holder", "name", "pid"),
    [
        ([running("virtqemud", 901)], "901", "virtqemud", 901),
        ([running("libvirtd", 900), running("virtqemud", 901)], "900", "libvirtd", 900),
        ([running("libvirtd", 900), running("virtqemud", 901)], "", "virtqemud", 901),
        ([running("libvirtd", 950, uid=1000)], "", "virtqemud", None),  # somebody's session daemon
        ([], "", "virtqemud", None),
    ],
)
def test_the_daemon_in_charge(daemons: list[Process], holder: str, name: str, pid: int | None) -> None:
    tree = hosts.fedora()
    tree.file("/usr/sbin/libvirtd")
    tree.file("/run/libvirt/qemu/driver.pid", holder)
    found = daemon.find(CapturedRoot(tree), daemons)
    assert found.daemon is not None
    assert (found.installed, found.daemon.name, found.daemon.pid, found.daemon.socket) == (True, name, pid, True)


def test_no_daemon_in_charge() -> None:
    assert daemon.find(CapturedRoot(Tree()), []) == Libvirt()
    tree = Tree()
    tree.file("/usr/sbin/libvirtd")
    root = CapturedRoot(tree)
    found = daemon.find(root, [])
    assert (found.installed, found.daemon) == (True, None)
    problem = daemon.may_connect(root, found)
    assert problem is not None
    assert problem.code == "no_daemon"


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ("", (107, [36, 107])),
        ('user = "root"\n', (0, [0])),
        ('user = "+999"\n', (999, [])),
        ('user = "+107"\ngroup = "disk"\n', (107, [6, 36, 107])),
        ('user = "nobody-here"\n', (None, [])),
        ('group = "+77"\n', (107, [36, 77, 107])),
    ],
)
def test_who_guests_run_as(conf: str, expected: tuple[int | None, list[int]]) -> None:
    tree = Tree()
    hosts.users(tree)
    tree.file(daemon.CONF, conf)
    root = CapturedRoot(tree)
    assert daemon.qemu_user(root, daemon.configuration(root)[0]) == expected


def test_qemu_conf() -> None:
    tree = Tree()
    root = CapturedRoot(tree)
    conf, problem = daemon.configuration(root)
    assert conf is not None
    assert (conf.present, conf.assignments, problem) == (False, [], None)
    tree.file(daemon.CONF, 'security_driver = "selinux"\nsecurity_driver = "none"\n', mtime=12.5)
    conf, problem = daemon.configuration(root)
    assert conf is not None
    assert (conf.present, conf.changed_at, problem) == (True, 12.5, None)
    assert [item.value for item in conf.assignments] == ["selinux", "none"]
    assert [item.kind for item in conf.problems] == ["duplicate"]
    tree.entries[daemon.CONF].errno = 13
    assert daemon.configuration(root) == (None, Reason("unreadable", f"{daemon.CONF}: Permission denied"))
    assert daemon.qemu_user(root, None) == (None, [])


def test_a_status_file_that_is_not_roots_is_a_lie() -> None:
    tree = hosts.el9()
    tree.file("/run/libvirt/qemu/web.xml", hosts.status(), uid=107)
    files = guests.status_names(CapturedRoot(tree))
    assert (files.names, list(files.broken)) == ([], ["web"])


def test_addresses_become_paths() -> None:
    tree = hosts.el9()
    more = (
        "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x03' slot='0x00' function='0x1'/>"
        "</source></hostdev>"
        "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='u-1'/></source></hostdev>"
        "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x09' slot='0x00' function='0x0'/>"
        "</source></hostdev>"
        "<disk type='volume' device='disk'><source pool='fast' volume='v1.raw'/><target dev='vdb'/></disk>"
        "<disk type='volume' device='disk'><source pool='../x' volume='v1.raw'/><target dev='vdc'/></disk>"
    )
    tree.file("/run/libvirt/qemu/web.xml", hosts.status(more=more))
    tree.link("/sys/bus/pci/devices/0000:03:00.1/iommu_group", "../../../kernel/iommu_groups/42")
    tree.link("/sys/bus/mdev/devices/u-1/iommu_group", "../../../kernel/iommu_groups/43")
    tree.file("/etc/libvirt/storage/fast.xml", "<pool type='dir'><target><path>/srv/fast</path></target></pool>")
    tree.file("/srv/fast/v1.raw", label=hosts.IMAGE_LABEL)
    tree.file("/dev/vfio/42", type="c", label=hosts.IMAGE_LABEL)
    found = {(item.kind, item.path): item for item in hosts.look(tree).guests[0].resources}
    assert ("hostdev", "/dev/vfio/43") in found
    assert found["hostdev", "/dev/vfio/42"].in_namespace is True
    assert found["hostdev", "/dev/vfio/42"].file.label == hosts.IMAGE_LABEL
    assert found["disk", "/srv/fast/v1.raw"].file.label == hosts.IMAGE_LABEL
    assert len([kind for kind, _path in found if kind == "hostdev"]) == 2


@pytest.mark.parametrize(
    "text", ["<!DOCTYPE x><pool/>", "<pool", "<pool><target><path>relative</path></target></pool>"]
)
def test_a_pool_that_has_no_folder(text: str) -> None:
    tree = Tree()
    tree.file("/etc/libvirt/storage/p.xml", text)
    root = CapturedRoot(tree)
    assert (storage.pools(root), storage.pool_folder(root, "p")) == (["p"], None)
