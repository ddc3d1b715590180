# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and changes guests' definitions through libvirt: one read-write connection, in a child with a deadline.

A definition is changed only while it is still the one that the plan was made from, and read again afterwards: where
libvirt stored something else than was meant, the old definition is restored. The filter of a running guest's interface
is changed by an update of that interface with its own live XML, in which nothing else differs.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field, replace

from ..._core.errors import DomainXmlError, HostReadError, HostWriteError, PlanError, SvirtError
from ..._core.harden import rollback
from ..._core.harden.guest_definition import Define, Definition, GuestChange, LiveFilter, Survey
from ..._core.libvirt import domain_edit as edit
from ..._core.libvirt.live_devices import disk_targets
from ..._core.result import Reason, Refusal
from ..._core.selinux.context import type_of
from ..._core.selinux.policy_access import Check
from ..._core.snapshot.model import Daemon, SecurityModel
from ..base.deadline import Job, alive
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
#: Types of virDomainJobInfo for a job that has not ended: bounded and unbounded.
_JOB_UNDER_WAY = (1, 2)
#: virDomainJobOperation.
_OPERATIONS = {
    1: "start",
    2: "save",
    3: "restore",
    4: "migration to this host",
    5: "migration to another host",
    6: "snapshot",
    7: "revert to a snapshot",
    8: "dump",
    9: "backup",
    10: "deletion of a snapshot",
}
#: virDomainState of guests that stand still.
_STILL = {3: "paused", 6: "crashed", 7: "asleep (suspended by its own system)"}
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


def _brief(error: BaseException) -> str:
    """The first line of an error: libvirt puts the XML around a fault into the lines after it, secrets and all."""
    return error_text(error).partition("\n")[0]


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
        raise HostReadError(f"libvirt: {_brief(error)}", "libvirt_error") from error


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
    # It counts anew from each step that the work reports.
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
    security = selinux.read(root)
    base_types = tuple(security.facts.guest_types[:2])
    types = selinux.guest_types(security.policy, security.facts)
    containers = security.facts.container_types
    reading = daemon.find(root, processes.read(root, types).daemons, container_types=containers)
    if not reading.installed:
        return LibvirtFacts(False)
    why = daemon.may_connect(root, reading)
    if why:
        raise HostReadError(why.text, "may_not_connect")
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


def survey(session: Session, libvirt_facts: LibvirtFacts) -> Survey:
    """All guests with their XML, and the host's filters and networks. Raises HostReadError."""
    try:
        alive(readings.CAPABILITIES, readings.CAPABILITIES_SECONDS)
        models = readings.security_models(session.handle.getCapabilities())
        bases = {type_of(base) for model in models if model.model == "selinux" for base in model.baselabels.values()}
        guests = [definition(session, domain) for domain in session.handle.listAllDomains()]
        return Survey(
            guests=sorted((guest for guest in guests if guest is not None), key=lambda guest: (guest.name, guest.uuid)),
            models=models,
            filters=readings.filters(readings.texts(session.libvirt, session.handle.listAllNWFilters)),
            networks=readings.networks(readings.texts(session.libvirt, session.handle.listAllNetworks)),
            guest_types=libvirt_facts.guest_types | {base for base in bases if base},
            daemon=libvirt_facts.daemon,
            deaf=libvirt_facts.deaf,
        )
    except session.error as error:
        raise HostReadError(f"libvirt: {_brief(error)}", "libvirt_error") from error


def with_driver(host_survey: Survey, libvirt_facts: LibvirtFacts) -> Survey:
    """The survey as it would be if libvirt ran with the SELinux driver."""
    if not libvirt_facts.base_types or any(model.model == "selinux" for model in host_survey.models):
        return host_survey
    kinds = {"kvm": libvirt_facts.base_types[0], "qemu": libvirt_facts.base_types[-1]}
    bases = {kind: f"system_u:system_r:{type_}:s0" for kind, type_ in kinds.items()}
    return replace(host_survey, models=[SecurityModel("selinux", "0", bases), *host_survey.models])


def definition(session: Session, domain: t.Any) -> Definition | None:
    """One guest; None if it was removed meanwhile."""
    alive("reading the guests")
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
            still=_STILL.get(domain.state()[0], "") if active else "",
        )
    except session.error:
        if session.guest(domain.UUIDString()) is None:
            return None
        raise


def with_jobs(session: Session, host_survey: Survey, keys: t.Iterable[str]) -> Survey:
    """The survey with the jobs of these guests (names or uuids) that are under way."""
    running = {guest.uuid for key in keys if (guest := host_survey.find(key)) is not None and guest.active}
    return replace(
        host_survey,
        guests=[
            replace(guest, jobs=jobs(session, session.guest(guest.uuid), guest.live))
            if guest.uuid in running
            else guest
            for guest in host_survey.guests
        ],
    )


def jobs(session: Session, domain: t.Any, live: str | None) -> tuple[str, ...]:
    """The jobs of a running guest that are under way, named; one whose state cannot be read counts as one."""
    if domain is None or live is None:
        return ()
    named: list[str] = []
    try:
        info = domain.jobInfo() if hasattr(domain, "jobInfo") else [0]
        if info[0] in _JOB_UNDER_WAY:
            named.append(_OPERATIONS.get(_operation(session, domain), "a job (virsh domjobinfo)"))
    except session.error as error:
        if domain.isActive():
            named.append(f"perhaps one: libvirt does not say ({_brief(error)})")
    if hasattr(domain, "blockJobInfo"):
        for target in disk_targets(live):
            with contextlib.suppress(session.error):  # a disk without a medium has no jobs
                if domain.blockJobInfo(target, 0):
                    named.append(f"block job of disk {target}")
    return tuple(named)


def _operation(session: Session, domain: t.Any) -> int:
    try:
        return int(domain.jobStats().get("operation", 0))
    except (session.error, AttributeError):
        return 0


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
        alive(f"changing {change.subject}")
        try:
            reason = _define(session, change) if isinstance(change, Define) else _update(session, change)
        except (session.error, SvirtError) as error:
            reason = Reason("libvirt_error", _brief(error))
        if reason is not None:
            failed.append(Refusal(change.subject, reason))
    return failed


def _entry(change: GuestChange) -> Entry:
    if isinstance(change, Define):
        return Entry(GUEST, change.uuid, {"name": change.name, "xml": change.before}, {"xml": change.after})
    before = {"uuid": change.uuid, "mac": change.mac, "filterref": _filter_document(change.before)}
    after = {"filterref": _filter_document(change.after)}
    return Entry(INTERFACE, f"{change.uuid} {change.mac}", before, after)


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

RunInChild = t.Callable[[float, t.Callable[[Session], t.Any]], t.Any]


def restore(entry: Entry, run: RunInChild | None = None) -> None:
    """Restore a definition or an interface's filter from the journal, unless it was changed since.

    Raises PlanError where it is not, and HostWriteError.
    """
    restore_subject = {GUEST: _restore_guest, INTERFACE: _restore_interface}[entry.kind]

    def work(session: Session) -> dict[str, str] | None:
        try:
            refused = restore_subject(session, entry)
        except (session.error, DomainXmlError) as error:
            return {"failed": _brief(error)}
        return {"why": refused.text, "code": refused.code} if refused is not None else None

    answer = (run or within)(_RESTORE_TIME, work)
    if answer is None:
        return
    if "failed" in answer:
        raise HostWriteError(f"{entry.kind} {entry.subject}: {answer['failed']}", "libvirt_error")
    raise PlanError(answer["why"], answer["code"])


def look(entries: t.Sequence[Entry], run: RunInChild | None = None) -> list[t.Any]:
    """The present states of the journal's guests and interfaces, by one connection; None for those that are gone.

    The persistent XML of a guest; the filters of an interface, ``now`` and ``defined``; an HostReadError for a state
    that cannot be read. Raises HostWriteError.
    """
    read = {GUEST: _defined, INTERFACE: _filters}

    def work(session: Session) -> list[dict[str, t.Any]]:
        answers: list[dict[str, t.Any]] = []
        for entry in entries:
            try:
                uuid = entry.before.get("uuid", entry.subject)
                answers.append({"state": read[entry.kind](session, uuid, entry)})
            except (HostReadError, KeyError) as error:
                answers.append({"error": _brief(error)})
        return answers

    answers = (run or within)(_RESTORE_TIME + len(entries), work)
    return [HostReadError(answer["error"]) if "error" in answer else answer["state"] for answer in answers]


def _defined(session: Session, uuid: str, _entry: Entry) -> str | None:
    try:
        domain = session.guest(uuid)
        if domain is None or not domain.isPersistent():
            return None
        return str(domain.XMLDesc(_INACTIVE | _SECURE))
    except session.error as error:
        raise HostReadError(f"libvirt: {_brief(error)}", "libvirt_error") from error


def _filters(session: Session, uuid: str, entry: Entry) -> dict[str, t.Any] | None:
    """The filter of an interface now and in the persistent XML; None for a guest that is off, or an interface that is
    gone: its live filter ended with it.
    """
    try:
        domain = session.guest(uuid)
        if domain is None or not domain.isActive():
            return None
        live = {card.mac: card.filter for card in edit.cards(domain.XMLDesc(0))}
        inactive = domain.XMLDesc(_INACTIVE | _SECURE) if domain.isPersistent() else ""
    except (session.error, DomainXmlError) as error:
        raise HostReadError(f"libvirt: {_brief(error)}", "libvirt_error") from error
    mac = entry.before["mac"]
    if mac not in live:
        return None
    defined = next((card.filter for card in edit.cards(inactive) if card.mac == mac), None) if inactive else None
    return {"now": _filter_document(live[mac]), "defined": _filter_document(defined)}


def _restore_guest(session: Session, entry: Entry) -> Reason | None:
    verdict = rollback.judged_guest(entry, _defined(session, entry.subject, entry))
    if isinstance(verdict, Reason):
        return verdict
    if verdict:
        session.handle.defineXML(entry.before["xml"])
    return None


def _restore_interface(session: Session, entry: Entry) -> Reason | None:
    before = entry.before
    verdict = rollback.judged_interface(entry, _filters(session, before["uuid"], entry))
    if isinstance(verdict, Reason):
        return verdict
    if verdict:
        domain = session.guest(before["uuid"])
        _put_filter(domain, domain.XMLDesc(0), before["mac"], rollback.filter_of(before["filterref"]))
    return None
