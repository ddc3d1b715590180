# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart of libvirt's daemon by its unit, with a survey of the guests before and after.

When the daemon does not come back, or comes back without one of the guests, the configuration of its last start is
restored. No guest is touched: the daemon finds them again by itself.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from ..._core.errors import DomainXmlError, HostReadError, HostWriteError, SvirtError
from ..._core.harden import daemon_restart as gate
from ..._core.libvirt.domain_xml import MAX_XML, job_under_way
from ..._core.result import Reason
from ..._core.snapshot.model import OK
from ..base import conf_values, file_write
from ..base.daemons import SOCKETS
from ..base.deadline import Job
from ..base.journal import Entry, Journal, entries_of
from ..base.root import Root, reason
from ..probe import guests
from ..probe.daemon import CONF, changes, drives, setup_doubt, started_at
from ..probe.probe import Options, Probe, Tools
from ..probe.system import RunCommand
from . import folders_and_links, hooks

SYSTEMD = "/etc/systemd/system"
_UNITS = tuple(f"{name}.service" for name in SOCKETS)
_FOLLOWERS = ("RequiredBy", "BoundBy", "ConsistsOf")
_SHOWN = ",".join(
    ("Id", "LoadState", "ActiveState", "SubState", "MainPID", "KillMode", "NeedDaemonReload", *_FOLLOWERS)
)
#: systemd 254 and later: the unit's state is "failed", but systemd starts it again at once.
_NOT_THE_END = "failed-before-auto-restart"
#: Seconds that systemd itself may take to answer, where the daemon is not given more.
_SYSTEMCTL = 30.0
#: A daemon that ends before it answers is started again by its socket; a second end may still be chance.
_LIVES = 2
#: Lines of the daemon's log in a report of a failure.
_LAST_WORDS = 3
#: Most time that a daemon gets that shows signs of life, in time limits.
_MOST_PATIENCE = 5
#: Seconds for the last survey of a daemon that runs.
_LAST_LOOK = 10.0
#: Seconds between two looks at a daemon that is to come back.
_PAUSE = 0.3


@dataclass(repr=False, eq=False)
class RestartActor:
    """Reads the state of a host's daemon and restarts it."""

    root: Root
    #: What the probe uses; ``run_command`` runs systemctl too.
    tools: Tools
    #: Time limit in seconds for a daemon without a sign of life, and for each answer of libvirt.
    timeout: float = 120.0
    #: Requested label of the daemon.
    context: str | None = None
    conf: str = CONF
    pause: float = _PAUSE

    def look(self, timeout: float | None = None) -> gate.RestartFacts:
        """The daemon, its unit and the running guests. Never raises, whatever the host holds."""
        options = Options(timeout=timeout or self.timeout, files=False)
        snapshot = Probe(self.root, options, self.tools).take()
        daemon = snapshot.libvirt.daemon
        look = gate.RestartFacts(snapshot, self._units(), context=self.context)
        if daemon is not None and daemon.pid is not None:
            look.started_at = started_at(self.root, daemon)
            judged = hooks.judged(self.root, hooks.installed(self.root), daemon.context or "")
            look.hooks = hooks.examined(self.root, judged)
        if daemon is not None:
            look.files = changes(self.root, [self.conf, *drop_ins(self.root, f"{daemon.name}.service")])
            look.unsettled = setup_doubt(self.root, daemon)
        look.jobs = jobs(self.root)
        look.installed_version = conf_values.installed_version(self.root)
        return look

    def reload(self) -> None:
        """Have systemd read its files again. Raises HostWriteError."""
        self._systemctl("daemon-reload")

    def _reload(self, wanted: bool) -> None:
        """The same; with its old files the daemon is restarted even when systemd was too slow to reload."""
        try:
            self.reload()
        except HostWriteError:
            if wanted:
                raise

    def restart(self, before: gate.RestartFacts, journal: Journal) -> RestartOutcome:
        """Restart the daemon, which the gate has allowed, and compare the guests before and after."""
        outcome = RestartOutcome(self._restart(before))
        if not outcome.problems:
            return outcome
        outcome.restored, outcome.kept = self._put_back(before, journal)
        if outcome.restored:
            outcome.again = self._restart(before, wanted=False)
        return outcome

    def _restart(self, before: gate.RestartFacts, wanted: bool = True) -> list[Reason]:
        """Restart and compare; gives what is wrong. ``wanted``: with the requested configuration, not the old one."""
        unit = before.unit
        if unit is None:
            return [Reason("no_unit", "no unit of systemd is known for the daemon")]
        old = self._pid_of(unit.name)
        try:
            if unit.stale or not wanted:
                self._reload(wanted)
                if self._unit(unit.name).kill_mode != "process":
                    why = f"{unit.name} would end the guests with the daemon (KillMode); it was not restarted"
                    return [Reason("kill_mode", why)]
            if wanted or not self._is_back(unit.name, old):
                if not wanted:
                    self._systemctl("reset-failed", unit.name)
                self._systemctl("--no-block", "restart", unit.name)
        except HostWriteError as error:
            return [Reason("systemctl", str(error))]
        problem = self._wait(unit.name, old, time.monotonic() + self.timeout)
        after = self._settled(unit.name)
        problems = [problem] if problem else []
        if after.snapshot.coverage["guests"].status != OK:
            why = f"libvirt's guests cannot be read: {after.snapshot.coverage['guests'].why}"
            problems += [Reason("guests_unread", why), *self._last_words(unit.name)]
        problems += gate.losses(gate.running(before.snapshot), gate.running(after.snapshot))
        return problems + (gate.shortfalls(after) if wanted and not problem else [])

    def _is_back(self, unit: str, old: int | None) -> bool:
        """Wait while the daemon starts; whether another process than ``old`` answers then.

        A daemon that is stopped while it builds a guest's network filters leaves chains half renamed, and with these
        it never starts again. One that refuses its configuration ends by itself, and its socket starts the next.
        """
        until = time.monotonic() + self.timeout
        while self._unit(unit).pid is not None and time.monotonic() < until:
            if self.look(max(1.0, until - time.monotonic())).libvirt.connected:
                return self._pid_of(unit) != old
            time.sleep(self.pause)
        return False

    def _wait(self, unit: str, old: int | None, until: float) -> Reason | None:
        """Wait for a new process of the unit; gives why there is none."""
        while True:
            now = self._unit(unit)
            if now.state == "active" and now.pid and now.pid != old:
                return None
            if now.state == "failed":
                return Reason("unit_failed", f"{unit} failed to start; journalctl -u {unit} says why")
            if time.monotonic() >= until:
                state = f"{unit} is {now.state} with pid {now.pid} after {self.timeout:g} s"
                return Reason("unit_too_slow", f"{state}; journalctl -u {unit} says why")
            time.sleep(self.pause)

    def _settled(self, unit: str) -> gate.RestartFacts:
        """The first survey in which libvirt lists all its guests, or the last one.

        The last one is made when the daemon has shown no sign of life for too long, or has ended too often before it
        answered. A question to a daemon that is not ready waits as long as its socket exists, through all its restarts.
        """
        lives: set[int] = set()
        sign, until, limit = None, 0.0, time.monotonic() + _MOST_PATIENCE * self.timeout
        while True:
            pid = self._pid_of(unit)
            lives |= {pid} if pid else set()
            if (now := self._sign_of_life(pid)) != sign or not until:
                sign, until = now, min(limit, time.monotonic() + self.timeout)
            left = until - time.monotonic()
            over = left <= 0 or len(lives) > _LIVES
            if over or not pid or drives(self.root, pid):
                last = min(self.timeout, _LAST_LOOK) if pid else 1.0  # an idle one is started by the question
                look = self.look(max(1.0, left) if pid and not over else max(1.0, last))
                if over or (look.libvirt.connected and look.snapshot.coverage["guests"].status == OK):
                    return look
            time.sleep(self.pause)

    def _sign_of_life(self, pid: int | None) -> tuple[object, ...]:
        """What changes while a daemon starts: its process, the processor time that it used, and whether it is ready."""
        if pid is None:
            return ()
        try:
            times = tuple(self.root.peek(f"/proc/{pid}/stat").rpartition(b")")[2].split()[11:13])
        except OSError:
            times = ()
        return pid, times, drives(self.root, pid)

    def _put_back(self, before: gate.RestartFacts, journal: Journal) -> tuple[list[str], list[str]]:
        """Restore the files of the daemon's last start: those restored, and why others were not."""
        restored: list[str] = []
        kept: list[str] = []
        for run in reversed(journal.runs()):
            try:
                if before.started_at is None or os.stat(run).st_mtime <= before.started_at:
                    break
                entries = entries_of(run)
                ours = [entry for entry in entries if self._is_ours(entry)]
                for entry in reversed(ours):
                    (folders_and_links if entry.kind == folders_and_links.KIND else file_write).restore(entry)
                    restored.append(entry.subject)
                if ours and len(ours) == len(entries):
                    journal.retire(run)
            except (OSError, SvirtError) as error:
                kept.append(reason(error))
        return list(dict.fromkeys(restored)), kept

    def _is_ours(self, entry: Entry) -> bool:
        folders = [f"{SYSTEMD}/{unit}.d" for unit in _UNITS]
        if entry.kind == folders_and_links.KIND:
            return entry.subject in folders
        return entry.kind == file_write.KIND and (
            entry.subject in (self.conf, os.path.realpath(self.conf)) or os.path.dirname(entry.subject) in folders
        )

    def _units(self) -> list[gate.DaemonUnit]:
        try:
            return units(self._systemctl("show", "-p", _SHOWN, *_UNITS))
        except HostWriteError:
            return []  # the gate says that no unit is known

    def _unit(self, name: str) -> gate.DaemonUnit:
        return next((unit for unit in self._units() if unit.name == name), gate.DaemonUnit(name, "unknown"))

    def _pid_of(self, name: str) -> int | None:
        return self._unit(name).pid

    def _last_words(self, unit: str) -> list[Reason]:
        """The last messages of the daemon, where the journal can be read."""
        lines = ("--lines", str(_LAST_WORDS), "--output", "cat", "--no-pager")
        # libvirt names no SYSLOG_IDENTIFIER, and systemd speaks of the unit, too.
        words = ["journalctl", "--unit", unit, *lines, f"_COMM={unit.partition('.')[0]}"]
        try:
            output = command(self.tools.run_command, self.timeout, *words).strip()
        except HostWriteError:
            return []
        text = f"its last messages are: {' / '.join(output.splitlines())[:1000]}"
        return [Reason("daemon_log", text)] if output else []

    def _systemctl(self, *words: str) -> str:
        return systemctl(self.tools.run_command, self.timeout, *words)


@dataclass(repr=False, eq=False)
class RestartOutcome:
    """Outcome of a restart."""

    #: What was wrong after it; empty when all went well.
    problems: list[Reason]
    #: Files that were restored for that.
    restored: list[str] = field(default_factory=list)
    #: Why others could not be.
    kept: list[str] = field(default_factory=list)
    #: What was wrong after the second restart, with the restored files.
    again: list[Reason] = field(default_factory=list)


def units(text: str) -> list[gate.DaemonUnit]:
    """Units in the output of ``systemctl show``, without those that are not installed."""
    installed = []
    for block in text.strip().split("\n\n"):
        facts = dict(line.partition("=")[::2] for line in block.split("\n"))
        if facts.get("LoadState", "not-found") == "not-found" and facts.get("ActiveState") != "active":
            continue
        pid = facts.get("MainPID", "0")
        installed.append(
            gate.DaemonUnit(
                name=facts.get("Id", ""),
                state="activating" if facts.get("SubState") == _NOT_THE_END else facts.get("ActiveState", "unknown"),
                pid=int(pid) if pid.isdigit() and pid != "0" else None,
                kill_mode=facts.get("KillMode", ""),
                stale=facts.get("NeedDaemonReload") == "yes",
                followers=tuple(name for key in _FOLLOWERS for name in facts.get(key, "").split()),
            )
        )
    return installed


def drop_ins(root: Root, unit: str) -> list[str]:
    """Files with which an administrator changes a unit, and their folder, whose time changes when one is removed."""
    folder = f"{SYSTEMD}/{unit}.d"
    try:
        names = [name for name in root.names(folder) if name.endswith(".conf")]
    except (OSError, HostReadError):
        names = []
    return [f"{SYSTEMD}/{unit}", folder, *(f"{folder}/{name}" for name in names)]


def jobs(root: Root) -> dict[str, str]:
    """Running jobs of guests by uuid; the probe reports files that cannot be read."""
    running = {}
    for name in guests.status_names(root).names:
        try:
            uuid, job = job_under_way(root.read_text(f"{guests.RUN}/{name}.xml", MAX_XML))
        except (OSError, HostReadError, DomainXmlError):
            continue
        if job:
            running[uuid] = job
    return running


def systemctl(run: RunCommand | None, timeout: float, *words: str) -> str:
    """Output of systemctl. Raises HostWriteError when it fails or hangs."""
    return command(run, timeout, "systemctl", *words)


def command(run: RunCommand | None, timeout: float, *words: str) -> str:
    """Output of a command. Raises HostWriteError when it fails or hangs."""
    if run is None:
        raise HostWriteError(f"{words[0]} cannot be run here", "program_missing")
    problem = "no output"
    job = Job(lambda: iter([_called(run, list(words))]), max(_SYSTEMCTL, timeout))
    for status, out, err in job.items():
        if status == 0:
            return str(out)
        problem = str(err or out).strip()[:500] or f"exit status {status}"
    raise HostWriteError(f"{' '.join(words)}: {job.problem or problem}", "command_failed")


def _called(run: RunCommand, command: list[str]) -> tuple[int, str, str]:
    return run(command)
