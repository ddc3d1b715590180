# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and changes guests' definitions through libvirt: one read-write connection, in a child with a deadline.

A definition is changed only while it is still the one that the plan was made from, and read again afterwards: where
libvirt stored something else than was meant, the old definition is restored. The filter of a running guest's interface
is changed by an update of that interface with its own live XML, in which nothing else differs.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..._core.errors import DomainXmlError, HostReadError, HostWriteError, SvirtError
from ..._core.harden.guest_definition import Define, Definition, GuestChange, LiveFilter, Survey
from ..._core.libvirt import domain_edit as edit
from ..._core.result import Reason, Refusal
from ..._core.selinux.context import type_of
from ..._core.selinux.policy_access import Check
from ..._core.snapshot.model import Daemon, SecurityModel
from ..base.deadline import Job
from ..base.journal import WAIT, Entry, Journal
from ..base.loaded_policy import LoadedPolicy
from ..base.root import Root
from ..base.root import reason as error_text
from ..probe import daemon, processes, selinux
from ..probe import libvirt_reader as readings

GUEST, INTERFACE = "guest", "interface"

_INACTIVE, _SECURE = 2, 1  # VIR_DOMAIN_XML_…
_AFFECT_LIVE = 1  # VIR_DOMAIN_AFFECT_LIVE
_RUN = "/run/libvirt/qemu"
#: The monolithic daemon, which applies network filters itself; with modular daemons virtnwfilterd does.
_MONOLITHIC = "libvirtd"
#: Permissions of packet_socket that learning addresses takes.
_WATCHING = ("create", "bind", "setopt", "map", "read")
_NO_DOMAIN = 42  # VIR_ERR_NO_DOMAIN
#: Seconds for putting one entry of the journal back.
_RESTORE_TIME = 60.0

T = t.TypeVar("T")


@dataclass(repr=False, eq=False)
class Session:
    """An open connection, and the binding that it came from; tests pass their own."""

    libvirt: t.Any
    handle: t.Any
    root: Root = field(default_factory=Root)

    @property
    def error(self) -> type[Exception]:
        """The exception of the binding."""
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
    """Connect to the host's daemon. Only for a child: nothing here has a deadline. Raises HostReadError."""
    try:
        import libvirt  # here, not above: the import takes half a second on a slow host, and only the child needs it
    except ImportError as error:
        raise HostReadError(readings.missing_binding(Root()), "no_binding") from error
    libvirt.registerErrorHandler(lambda *_args: None, None)
    try:
        return Session(libvirt, libvirt.open(readings.QEMU_URI))
    except libvirt.libvirtError as error:
        raise HostReadError(f"libvirt: {error}", "libvirt_error") from error


def within(timeout: float, work: t.Callable[[Session], t.Any]) -> t.Any:
    """Do the work in a child with its own connection, and return its result. Raises HostWriteError.

    Changes that the child made before it was stopped are in the journal.
    """

    def child() -> t.Iterator[dict[str, t.Any]]:
        try:
            yield {"result": work(connect())}
        except SvirtError as error:
            yield {"error": str(error), "code": error.code}

    # Another run may hold the journal for a while; that wait is not counted against libvirt.
    job = Job(child, timeout + WAIT)
    answers = list(job.items())
    if job.problem or not answers:
        text = f"libvirt: {job.problem or 'it gave no answer'}; changes made so far are in the journal"
        raise HostWriteError(text, "libvirt_does_not_answer")
    if "error" in answers[0]:
        raise HostWriteError(answers[0]["error"], answers[0]["code"])
    return answers[0]["result"]


@dataclass(frozen=True)
class LibvirtFacts:
    """Facts from the host's files, before libvirt is asked."""

    installed: bool
    guest_types: frozenset[str] = frozenset()
    daemon: str | None = None
    #: Types that libvirt gives to guests: the first under KVM, the last under emulation.
    base_types: tuple[str, ...] = ()
    #: Why libvirt cannot see which addresses guests use; empty when it can, or when that is not known.
    deaf: str = ""


def facts(root: Root) -> LibvirtFacts:
    """Read them. Raises HostReadError where libvirt must not be asked, or cannot be."""
    base_types = tuple(selinux.read(root).facts.guest_types[:2])
    types = frozenset((*selinux.GUEST_TYPES, *base_types))
    reading = daemon.find(root, processes.read(root, types).daemons)
    if not reading.installed:
        return LibvirtFacts(False)
    why = daemon.may_connect(root, reading)
    if why:
        raise HostReadError(why, "may_not_connect")
    context = reading.daemon.context if reading.daemon else None
    return LibvirtFacts(True, types, context, base_types, _deaf(root, reading.daemon))


def _deaf(root: Root, running: Daemon | None) -> str:
    """Whether the loaded policy keeps libvirt from watching packets: it then drops all packets of a guest whose address
    it has to learn, also of a running one. Debian's policy does: it forbids the memory that libpcap shares with the
    kernel.
    """
    policy = LoadedPolicy(root)
    if running is None or running.context is None or running.name != _MONOLITHIC or not policy.enforcing:
        return ""
    verdict = policy.verdict(Check(running.context, running.context, "packet_socket", _WATCHING))
    if not verdict.denied or verdict.permissive:
        return ""
    missing = " ".join(verdict.denied)
    return f"the loaded policy does not let libvirt's daemon watch packets (packet_socket {missing} to itself)"


def survey(session: Session, known: LibvirtFacts) -> Survey:
    """All guests with their XML, and the host's filters and networks. Raises HostReadError."""
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
        raise HostReadError(f"libvirt: {error}", "libvirt_error") from error


def with_driver(seen: Survey, known: LibvirtFacts) -> Survey:
    """The survey as it would be if libvirt ran with the SELinux driver."""
    if not known.base_types or any(model.model == "selinux" for model in seen.models):
        return seen
    kinds = {"kvm": known.base_types[0], "qemu": known.base_types[-1]}
    bases = {kind: f"system_u:system_r:{type_}:s0" for kind, type_ in kinds.items()}
    return replace(seen, models=[SecurityModel("selinux", "0", bases), *seen.models])


def _definition(session: Session, domain: t.Any) -> Definition | None:
    """One guest; None for one that is gone meanwhile."""
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

    libvirt reads none without the SELinux driver, or where the policy forbids it, as Debian's does for an unconfined
    guest; then it is read from /proc here.
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


def apply(session: Session, changes: t.Sequence[GuestChange], journal: Journal) -> list[Refusal]:
    """Make the changes, after their objects are in the journal; gives those that failed.

    Raises JournalError; then nothing was changed.
    """
    journal.record([_entry(change) for change in changes])
    failed: list[Refusal] = []
    for change in changes:
        try:
            reason = _define(session, change) if isinstance(change, Define) else _update(session, change)
        except (session.error, SvirtError) as error:
            reason = Reason("libvirt_error", error_text(error))
        if reason is not None:
            failed.append(Refusal(change.subject, reason))
    return failed


def _entry(change: GuestChange) -> Entry:
    if isinstance(change, Define):
        return Entry(GUEST, change.uuid, {"name": change.name, "xml": change.before})
    before = {"uuid": change.uuid, "mac": change.mac, "filterref": _filter_document(change.before)}
    return Entry(INTERFACE, f"{change.uuid} {change.mac}", before)


def _filter_document(item: edit.Filter | None) -> dict[str, t.Any] | None:
    return {"filter": item.name, "parameters": [list(pair) for pair in item.parameters]} if item else None


def _define(session: Session, change: Define) -> Reason | None:
    """Change a definition; gives why it is as it was."""
    domain = session.guest(change.uuid)
    if domain is None or not domain.isPersistent():
        return Reason("changed_meanwhile", "its definition went meanwhile")
    if domain.XMLDesc(_INACTIVE | _SECURE) != change.before:
        return Reason("changed_meanwhile", "somebody changed its definition meanwhile; it was left alone")
    stored = session.handle.defineXML(change.after)
    place = edit.first_difference(change.after, stored.XMLDesc(_INACTIVE | _SECURE))
    if not place:
        return None
    session.handle.defineXML(change.before)
    text = f"libvirt stored another definition than was given, at {place[:200]}; the old one was restored"
    return Reason("stored_otherwise", text)


def _update(session: Session, change: LiveFilter) -> Reason | None:
    """Change the filter of a running guest's interface; gives why it has the old one."""
    domain = session.guest(change.uuid)
    if domain is None or not domain.isActive():
        return None  # it ended meanwhile, and its next start has the filter of its persistent XML
    live = domain.XMLDesc(0)
    if _filter(live, change.mac) != change.before:
        return Reason("changed_meanwhile", "somebody changed its filter meanwhile; it was left alone")
    _put_filter(domain, live, change.mac, change.after)
    if _parts(_filter(domain.XMLDesc(0), change.mac)) == _parts(change.after):
        return None
    return Reason("filter_not_taken", "libvirt did not take the filter")


def _put_filter(domain: t.Any, live: str, mac: str, wanted: edit.Filter | None) -> None:
    domain.updateDeviceFlags(edit.with_filter(edit.interface_xml(live, mac), mac, wanted), _AFFECT_LIVE)


def _filter(live: str, mac: str) -> edit.Filter | None:
    for card in edit.cards(live):
        if card.mac == mac:
            return card.filter
    raise DomainXmlError(f"it has no interface {mac} any more")


def _parts(item: edit.Filter | None) -> tuple[t.Any, ...]:
    return () if item is None else (item.name, sorted(item.parameters))


# -- putting back ----------------------------------------------------------------------------------------------------


def restore(entry: Entry, run: t.Callable[[float, t.Callable[[Session], t.Any]], t.Any] = within) -> None:
    """Put a definition or an interface's filter back as the journal has it. Raises HostWriteError."""
    put = {GUEST: _restore_guest, INTERFACE: _restore_interface}[entry.kind]

    def work(session: Session) -> str:
        try:
            return put(session, entry.before, entry.subject)
        except (session.error, DomainXmlError) as error:
            return error_text(error)

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
        return ""  # the live filter ended with the process
    live, old = domain.XMLDesc(0), before["filterref"]
    if before["mac"] not in {card.mac for card in edit.cards(live)}:
        return ""  # unplugged since
    wanted = edit.Filter(old["filter"], tuple((name, value) for name, value in old["parameters"])) if old else None
    if _parts(_filter(live, before["mac"])) != _parts(wanted):
        _put_filter(domain, live, before["mac"], wanted)
    return ""
