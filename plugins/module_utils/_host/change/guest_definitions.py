# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests' definitions, read and changed through libvirt by one read-write connection, in a child with a deadline.

A definition is changed only while it is still what the plan was made from, and read again afterwards: one that libvirt
did not take as it was meant gets the old one back. The filter of a running guest's interface is changed by an update of
that interface with its own live XML, in which nothing else differs.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..._core.errors import DomainXmlError, HostReadError, HostWriteError, SvirtError
from ..._core.harden.guest_definition import Define, Definition, Live, Step, Survey
from ..._core.libvirt import domain_edit as edit
from ..._core.selinux.context import type_of
from ..._core.selinux.policy_access import Check
from ..._core.snapshot.model import Daemon, SecurityModel
from ..base.deadline import Job
from ..base.journal import WAIT, Entry, Journal
from ..base.loaded_policy import LoadedPolicy
from ..base.root import Root, reason
from ..probe import daemon, processes, selinux
from ..probe import libvirt_reader as readings

GUEST, INTERFACE = "guest", "interface"

_INACTIVE, _SECURE = 2, 1  # VIR_DOMAIN_XML_…
_AFFECT_LIVE = 1  # VIR_DOMAIN_AFFECT_LIVE
_RUN = "/run/libvirt/qemu"
#: The daemon that sees to network filters itself; of the others, one of their own does.
_MONOLITHIC = "libvirtd"
#: What it takes to watch packets.
_WATCHING = ("create", "bind", "setopt", "map", "read")
_NO_DOMAIN = 42  # VIR_ERR_NO_DOMAIN
#: Seconds that putting one thing back may take.
_RESTORE_TIME = 60.0

T = t.TypeVar("T")


@dataclass(repr=False, eq=False)
class Session:
    """An open connection, and the binding that it came from; tests put their own in."""

    libvirt: t.Any
    handle: t.Any
    root: Root = field(default_factory=Root)

    @property
    def error(self) -> type[Exception]:
        """What the binding raises."""
        return t.cast("type[Exception]", self.libvirt.libvirtError)

    def guest(self, uuid: str) -> t.Any:
        """The guest, or None when there is none any more."""
        try:
            return self.handle.lookupByUUIDString(uuid)
        except self.error as error:
            if getattr(error, "get_error_code", int)() == _NO_DOMAIN:
                return None
            raise


def connect() -> Session:
    """Connect to the host's daemon. Only for a child: nothing here has a deadline of its own. Raises HostReadError."""
    try:
        import libvirt  # here, not above: half a second on a slow host, and a child's business only
    except ImportError as error:
        raise HostReadError(readings.missing_binding(Root())) from error
    libvirt.registerErrorHandler(lambda *_args: None, None)
    try:
        return Session(libvirt, libvirt.open(readings.QEMU_URI))
    except libvirt.libvirtError as error:
        raise HostReadError(f"libvirt: {error}") from error


def within(timeout: float, work: t.Callable[[Session], t.Any]) -> t.Any:
    """Do the work in a child with a connection of its own, and hand back what it gives. Raises HostWriteError.

    What the child changed before it was stopped is in the journal.
    """

    def child() -> t.Iterator[dict[str, t.Any]]:
        try:
            yield {"result": work(connect())}
        except SvirtError as error:
            yield {"error": str(error)}

    # Another run on the host may keep the journal for a while; that is not libvirt's time.
    job = Job(child, timeout + WAIT)
    found = list(job.items())
    if job.problem or not found:
        raise HostWriteError(f"libvirt: {job.problem or 'it gave no answer'}; what was changed is in the journal")
    if "error" in found[0]:
        raise HostWriteError(found[0]["error"])
    return found[0]["result"]


@dataclass(frozen=True)
class Facts:
    """What the host's files say, before libvirt is asked."""

    installed: bool
    guest_types: frozenset[str] = frozenset()
    daemon: str | None = None
    #: Types that libvirt gives to guests: the first under KVM, the last under emulation.
    base_types: tuple[str, ...] = ()
    #: Why libvirt cannot see which addresses guests use; empty when it can, or when that is not known.
    deaf: str = ""


def facts(root: Root) -> Facts:
    """Read them. Raises HostReadError where libvirt must not be asked, or cannot be."""
    base_types = tuple(selinux.read(root).facts.guest_types[:2])
    types = frozenset((*selinux.GUEST_TYPES, *base_types))
    found = daemon.find(root, processes.read(root, types).daemons)
    if not found.installed:
        return Facts(False)
    why = daemon.may_connect(root, found)
    if why:
        raise HostReadError(why)
    return Facts(True, types, found.daemon.context if found.daemon else None, base_types, _deaf(root, found.daemon))


def _deaf(root: Root, found: Daemon | None) -> str:
    """Whether the loaded policy keeps libvirt from watching packets. It then drops all of a guest whose address it is
    to learn, also of one that runs. Debian's policy does: it forbids the memory that libpcap shares with the kernel.
    """
    policy = LoadedPolicy(root)
    if found is None or found.context is None or found.name != _MONOLITHIC or not policy.enforcing:
        return ""
    verdict = policy.verdict(Check(found.context, found.context, "packet_socket", _WATCHING))
    if not verdict.denied or verdict.permissive:
        return ""
    missing = " ".join(verdict.denied)
    return f"the loaded policy does not let libvirt's daemon watch packets (packet_socket {missing} to itself)"


def survey(session: Session, known: Facts) -> Survey:
    """All guests with their XML, and what is defined on the host. Raises HostReadError."""
    try:
        models = readings.security_models(session.handle.getCapabilities())
        bases = {type_of(base) for model in models if model.model == "selinux" for base in model.baselabels.values()}
        guests = [_definition(session, domain) for domain in session.handle.listAllDomains()]
        return Survey(
            guests=sorted((guest for guest in guests if guest is not None), key=lambda guest: (guest.name, guest.uuid)),
            models=models,
            filters=readings.filters(readings.texts(session.libvirt, session.handle.listAllNWFilters)),
            networks=readings.networks(readings.texts(session.libvirt, session.handle.listAllNetworks)),
            guest_types=known.guest_types | {base for base in bases if base},
            daemon=known.daemon,
            deaf=known.deaf,
        )
    except session.error as error:
        raise HostReadError(f"libvirt: {error}") from error


def with_driver(found: Survey, known: Facts) -> Survey:
    """The survey as it would be were libvirt to run with the SELinux driver."""
    if not known.base_types or any(model.model == "selinux" for model in found.models):
        return found
    kinds = {"kvm": known.base_types[0], "qemu": known.base_types[-1]}
    bases = {kind: f"system_u:system_r:{type_}:s0" for kind, type_ in kinds.items()}
    return replace(found, models=[SecurityModel("selinux", "0", bases), *found.models])


def _definition(session: Session, domain: t.Any) -> Definition | None:
    """One guest; None for one that ended and went meanwhile."""
    try:
        active, persistent = bool(domain.isActive()), bool(domain.isPersistent())
        return Definition(
            uuid=domain.UUIDString(),
            name=domain.name(),
            active=active,
            inactive=domain.XMLDesc(_INACTIVE | _SECURE) if persistent else None,
            live=domain.XMLDesc(0) if active else None,
            process=process_label(session, domain) if active else None,
            managed_save=bool(domain.hasManagedSaveImage()) if persistent else False,
        )
    except session.error:
        if session.guest(domain.UUIDString()) is None:
            return None
        raise


def process_label(session: Session, domain: t.Any) -> str | None:
    """The label of a running guest's process, as the kernel has it.

    The policy may keep libvirt from reading the label of a guest that runs unconfined, which Debian's does, and without
    the driver it reads none; then it is read here.
    """
    try:
        label = str(domain.securityLabel()[0])
    except session.error:
        label = ""
    return label or _kernels_label(session.root, domain.name())


def _kernels_label(root: Root, name: str) -> str | None:
    pid = root.line(f"{_RUN}/{name}.pid")
    label = root.line(f"/proc/{pid}/attr/current") if pid and pid.isdigit() else None
    return label.rstrip("\0") or None if label else None


# -- changing --------------------------------------------------------------------------------------------------------


def apply(session: Session, steps: t.Sequence[Step], journal: Journal) -> list[dict[str, str]]:
    """Take the steps, after what they change is in the journal; gives those that did not work, and why.

    Raises JournalError; then nothing was changed.
    """
    journal.record([_entry(step) for step in steps])
    failed: list[dict[str, str]] = []
    for step in steps:
        try:
            why = _define(session, step) if isinstance(step, Define) else _update(session, step)
        except (session.error, SvirtError) as error:
            why = reason(error)
        if why:
            failed.append({"subject": step.subject, "why": why})
    return failed


def _entry(step: Step) -> Entry:
    if isinstance(step, Define):
        return Entry(GUEST, step.uuid, {"name": step.name, "xml": step.before})
    before = step.before
    state = {"filter": before.name, "parameters": [list(item) for item in before.parameters]} if before else None
    return Entry(INTERFACE, f"{step.uuid} {step.mac}", {"uuid": step.uuid, "mac": step.mac, "filterref": state})


def _define(session: Session, step: Define) -> str:
    """Change a definition; gives why it is as it was."""
    domain = session.guest(step.uuid)
    if domain is None or not domain.isPersistent():
        return "its definition went meanwhile"
    if domain.XMLDesc(_INACTIVE | _SECURE) != step.before:
        return "somebody changed its definition meanwhile; it was left alone"
    made = session.handle.defineXML(step.after)
    place = edit.first_difference(step.after, made.XMLDesc(_INACTIVE | _SECURE))
    if not place:
        return ""
    session.handle.defineXML(step.before)
    return f"libvirt took the definition for another one, at {place[:200]}; the old one was put back"


def _update(session: Session, step: Live) -> str:
    """Change the filter of a running guest's interface; gives why it has the old one."""
    domain = session.guest(step.uuid)
    if domain is None or not domain.isActive():
        return ""  # it ended meanwhile, and its next start has the filter of its definition
    live = domain.XMLDesc(0)
    if _filter(live, step.mac) != step.before:
        return "somebody changed its filter meanwhile; it was left alone"
    _put_filter(domain, live, step.mac, step.after)
    found = _filter(domain.XMLDesc(0), step.mac)
    return "" if _sorted(found) == _sorted(step.after) else "libvirt did not take the filter"


def _put_filter(domain: t.Any, live: str, mac: str, wanted: edit.Filter | None) -> None:
    domain.updateDeviceFlags(edit.with_filter(edit.interface_xml(live, mac), mac, wanted), _AFFECT_LIVE)


def _filter(live: str, mac: str) -> edit.Filter | None:
    for card in edit.cards(live):
        if card.mac == mac:
            return card.filter
    raise DomainXmlError(f"it has no interface {mac} any more")


def _sorted(found: edit.Filter | None) -> tuple[t.Any, ...]:
    return () if found is None else (found.name, sorted(found.parameters))


# -- putting back ----------------------------------------------------------------------------------------------------


def restore(entry: Entry, run: t.Callable[[float, t.Callable[[Session], t.Any]], t.Any] = within) -> None:
    """Put a definition or an interface's filter back as the journal has it. Raises HostWriteError."""
    put = {GUEST: _restore_guest, INTERFACE: _restore_interface}[entry.kind]

    def work(session: Session) -> str:
        try:
            return put(session, entry.before, entry.subject)
        except (session.error, DomainXmlError) as error:
            return reason(error)

    why = run(_RESTORE_TIME, work)
    if why:
        raise HostWriteError(f"{entry.kind} {entry.subject}: {why}")


def _restore_guest(session: Session, before: dict[str, t.Any], uuid: str) -> str:
    domain = session.guest(uuid)
    if domain is None or not domain.isPersistent():
        return f"guest {before['name']} is not defined any more, so its old definition was not put back"
    session.handle.defineXML(before["xml"])
    return ""


def _restore_interface(session: Session, before: dict[str, t.Any], _subject: str) -> str:
    domain = session.guest(before["uuid"])
    if domain is None or not domain.isActive():
        return ""  # what it was ended with the process
    live, old = domain.XMLDesc(0), before["filterref"]
    if before["mac"] not in {card.mac for card in edit.cards(live)}:
        return ""  # unplugged since
    wanted = edit.Filter(old["filter"], tuple((name, value) for name, value in old["parameters"])) if old else None
    if _sorted(_filter(live, before["mac"])) != _sorted(wanted):
        _put_filter(domain, live, before["mac"], wanted)
    return ""
