# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch: one run of the probe and of the rules about one host, on that host, without Ansible.

systemd starts it by a timer, and once more with ``--ended`` after each run: where the run was ended by its limits, the
verdict is then unknown. Nothing listens, and nothing stays in memory between two runs.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import syslog
import tempfile
import time
import typing as t
from dataclasses import dataclass

from .._core.audit.watch import guard_log, state, verdict
from .._core.audit.watch.guard_log import GuardCounts
from .._core.audit.watch.settings import METRICS, WatchSettings, read_settings
from .._core.audit.watch.state import WatchState, read_state
from .._core.audit.watch.verdict import OwnVerdict
from .._core.errors import SvirtError
from .._core.facts.boot import complete
from .._core.system.own_files import WATCH_SETTINGS, WATCH_STATE
from .._host.base.root import Root, reason
from .._host.probe.probe import Options, Probe, Tools
from .host_root import SandboxedRoot
from .programs import run_command

OK, FAULT = 0, 70
_MAX_FILE = 4 * 1024 * 1024
_JOURNAL = ("journalctl", "--no-pager", "-o", "json", f"--output-fields={','.join(guard_log.FIELDS)}")
#: Anybody may log under the guard's name, and only root as root.
_GUARD = ("-n", str(guard_log.MOST), f"SYSLOG_IDENTIFIER={guard_log.IDENTIFIER}", "_UID=0")


@dataclass(repr=False, eq=False)
class Watch:
    """The host and the files of the watch; tests put their own in."""

    root: Root
    top: str = ""
    tools: Tools | None = None
    run: t.Callable[..., tuple[int, str, str]] = run_command
    log: t.Callable[[int, str], None] = syslog.syslog
    now: t.Callable[[], float] = time.time

    def watch(self) -> int:
        """One run. Returns the exit status: a verdict is no failure, whatever it is."""
        settings = self._settings()
        before = self._state()
        try:
            own = self._judge(settings)
        except Exception as error:  # whatever it is, the verdict is unknown, and the metrics say so
            own = verdict.unknown(f"the run failed: {type(error).__name__}: {reason(error)}")
        guard = self._guard(before.guard)
        self._tell(settings, before, own, guard)
        return OK if own.read else FAULT

    def ended(self, result: str) -> int:
        """After a run, with systemd's result of it."""
        if result == "success":
            return OK
        settings = self._settings()
        before = self._state()
        own = verdict.unknown(f"the run was ended: {result}")
        self._tell(settings, before, own, self._guard(before.guard))
        return OK

    def self_test(self) -> int:
        """Whether this Python can do the work, and the settings can be read; the host's guests are not looked at."""
        self._settings()
        sys.stdout.write("svirt-watch: ok\n")
        sys.stdout.flush()
        return OK

    def _judge(self, settings: WatchSettings) -> OwnVerdict:
        tools = self.tools or Tools(run_command=self.run)
        probe = Probe(self.root, Options(float(settings.timeout), boot=True), tools)
        snapshot = complete(probe.take(), probe.boot_files)
        now = datetime.datetime.fromtimestamp(self.now(), datetime.timezone.utc)
        return verdict.judge(settings, snapshot, now)

    def _guard(self, before: GuardCounts) -> GuardCounts | None:
        """Totals of the guard's log; None where it cannot be read."""
        status, out, err = self.run([*_JOURNAL, *_GUARD])
        return guard_log.counted(before, out) if status == 0 and guard_log.NO_JOURNAL not in err else None

    def _tell(self, settings: WatchSettings, before: WatchState, own: OwnVerdict, guard: GuardCounts | None) -> None:
        """Log what changed, then write metrics and state: a line may come twice after a crash, and is never lost."""
        for priority, text in state.log_lines(before, own):
            self.log(priority, text)
        now = self.now()
        fresh = state.after(before, own, guard or before.guard, now)
        text = state.metrics(settings, fresh, own, now, guard is not None)
        write(self.top + os.path.join(settings.directory, METRICS), text)
        write(self.top + WATCH_STATE, fresh.text())

    def _settings(self) -> WatchSettings:
        return read_settings(_read(self.top + WATCH_SETTINGS))

    def _state(self) -> WatchState:
        try:
            return read_state(_read(self.top + WATCH_STATE))
        except OSError:
            return WatchState()


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(_MAX_FILE)


def write(path: str, text: str) -> None:
    """Write a file as a whole or not at all, readable by all. The collector reads names that end with .prom only."""
    folder, name = os.path.split(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def main(arguments: t.Sequence[str], watch: Watch | None = None) -> int:
    """The program. Exit status 70: the host could not be judged, or the result could not be written."""
    watch = watch or Watch(SandboxedRoot())
    syslog.openlog("svirt-watch", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    try:
        if list(arguments) == ["--self-test"]:
            return watch.self_test()
        if list(arguments) == ["--ended"]:
            return watch.ended(os.environ.get("SERVICE_RESULT", "unknown"))
        return watch.watch()
    except (SvirtError, OSError) as error:
        text = f"the host was not judged: {reason(error)}"
        watch.log(syslog.LOG_ERR, text)
        sys.stderr.write(f"svirt-watch: {text}\n")
        return FAULT
