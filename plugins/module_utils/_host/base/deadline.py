# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work with a deadline in a forked child, so that a hang in it, even in the kernel, does not hang the probe.

The child sends its results item by item as lines of JSON, so that those before a hang are kept. Nothing is
executed and nothing is shared: the child has no descriptor of ours but its end of the pipe, for a child that the
kernel will not let die would keep the connection to the controller open.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import select
import signal
import time
import typing as t

from ..._core.errors import SvirtError
from ..._core.result import UNEXPECTED, Reason
from .root import reason, trouble

#: The most bytes that a child may send.
MAX_BYTES = 256 * 1024 * 1024
_PIPE_BYTES = 1024 * 1024
_F_SETPIPE_SZ = 1031  # fcntl has the name from Python 3.10 on
_GRACE = 0.5
#: Work that only sends items takes no longer than so many times its time limit.
_MOST_TIMES = 10
#: Seconds before work is done again.
_PAUSE = 0.2

ITEM, END, ERROR, BUG, ALIVE = "item", "end", "error", "bug", "alive"

#: In a child: report the next step, and restart its time limit.
_reports: list[t.Callable[[str, float], None]] = []


def alive(step: str, seconds: float = 0.0) -> None:
    """A sign of life of the work: the time limit counts from here, and names this step. Without a child: nothing.

    ``seconds``: what the step may take, where that is more than the work's own time limit.
    """
    for report in _reports[-1:]:
        report(step, seconds)


class Job:
    """Work in a child process. ``items`` yields its items; afterwards ``problem`` says how it ended."""

    def __init__(
        self,
        work: t.Callable[[], t.Iterable[t.Any]],
        timeout: float,
        limit: int = MAX_BYTES,
        again: t.Callable[[t.Any], t.Hashable] | None = None,
    ) -> None:
        """Start the work; it may send ``limit`` bytes. Raises OSError.

        It has ``timeout`` seconds, counted anew from each step that it reports (``alive``), and from each item, but
        items alone keep it going for no more than _MOST_TIMES as long.

        ``again``: work without side effects, which is done again while there is time when its child was killed. It
        gives the identity of an item, so that those which came already are left out then.
        """
        self.problem: Reason | None = None
        #: The child ended by an unexpected error.
        self.bug = False
        self._work = work
        self._timeout = timeout
        self._step, self._within = "", timeout
        self._deadline = time.monotonic() + timeout
        self._latest = time.monotonic() + _MOST_TIMES * timeout
        self._limit = self._left = limit
        self._again = again
        #: How the child ended, as os.waitpid gives it; None while that is not known.
        self._status: int | None = None
        self._start(timeout)

    def _start(self, timeout: float) -> None:
        self._pipe, out = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self._pipe)
            os.close(out)
            raise
        if self._pid == 0:
            _child(self._work, out, timeout)
        os.close(out)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._pipe, _F_SETPIPE_SZ, _PIPE_BYTES)

    def items(self) -> t.Iterator[t.Any]:
        """Items of the child as they arrive, until it ends, its deadline, or the bound."""
        sent: set[t.Hashable] = set()
        killed: Reason | None = None
        while True:
            for item in self._attempt():
                identity = self._again(item) if self._again is not None else None
                if self._again is None or identity not in sent:
                    sent.add(identity)
                    self._deadline = max(self._deadline, min(time.monotonic() + self._timeout, self._latest))
                    yield item
            if killed and self.problem and not self._killed:
                self.problem = Reason(self.problem.code, f"{self.problem}, and before that: {killed}")
            remaining = self._deadline - time.monotonic() - _PAUSE
            if self._again is None or not self._killed or remaining <= 0:
                return
            time.sleep(_PAUSE)
            killed = self.problem
            self.problem, self._left, self._status = None, self._limit, None
            self._start(remaining)

    def _attempt(self) -> t.Iterator[t.Any]:
        """The items of one child."""
        ended = closed = False
        self._killed = False
        try:
            for line in self._lines():
                kind, value = json.loads(line)
                if kind == ITEM:
                    yield value
                    continue
                if kind == ALIVE:
                    self._step, seconds = value
                    self._within = max(seconds, self._timeout)
                    self._deadline = time.monotonic() + self._within
                    continue
                ended = True
                self.bug = kind == BUG
                self.problem = Reason(*value) if value else None
                break
            closed = not ended and not self.problem
        finally:
            os.close(self._pipe)
            if closed:
                self._reap(kill=False)  # it ended by itself, and says how
                self._killed, self.problem = self._how_it_ended()
            self._reap(kill=not ended)

    def _how_it_ended(self) -> tuple[bool, Reason]:
        """Whether the child was killed, not by its own time limit, and the problem."""
        how = ""
        if self._status is not None and os.WIFSIGNALED(self._status):
            number = os.WTERMSIG(self._status)
            if number == signal.SIGALRM:
                return False, self._too_late()
            how = f" was killed by signal {number} ({_signal_name(number)})"
        elif self._status is not None:
            how = f" ended with status {os.WEXITSTATUS(self._status)}"
        return True, Reason("reader_ended", f"the reader{how or ' ended'} before it was done")

    def _too_late(self) -> Reason:
        step = f" ({self._step})" if self._step else ""
        return Reason("timed_out", f"no answer within {self._within:g} s{step}")

    def _lines(self) -> t.Iterator[bytes]:
        rest = b""
        while True:
            part = self._part()
            if not part:
                return
            *lines, rest = (rest + part).split(b"\n") if b"\n" in part else (rest + part,)
            yield from lines

    def _part(self) -> bytes:
        """The next bytes; none at the end, the deadline or the bound."""
        wait = max(0.0, self._deadline - time.monotonic())
        poll = select.poll()  # not select(): a descriptor may be above 1023
        poll.register(self._pipe, select.POLLIN)
        if not poll.poll(wait * 1000):
            self.problem = self._too_late()
            return b""
        part = os.read(self._pipe, 1 << 18)
        self._left -= len(part)
        if self._left < 0:
            self.problem = Reason("answer_too_large", "the answer is larger than the probe takes")
            return b""
        return part

    def _reap(self, kill: bool) -> None:
        """Release the child without a long wait: a child that hangs in the kernel dies when it can."""
        until = time.monotonic() + _GRACE
        pause = 0.001
        if kill and not self._ended():
            self._kill()
        while not self._ended() and time.monotonic() < until:
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def _ended(self) -> bool:
        """Whether the child has ended; stores its status."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid:
                self._status = status
        return self._status is not None

    def _kill(self) -> None:
        for kill in (os.killpg, os.kill):  # its group has what it started; it may not have made the group yet
            with contextlib.suppress(OSError):
                kill(self._pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _child(work: t.Callable[[], t.Iterable[t.Any]], out: int, timeout: float) -> t.NoReturn:
    try:
        os.setsid()
        # The parent may be killed first; the child must not keep its open files, above all the journal's lock.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        _wind_up(timeout)
        _close_all_but(out)
        _reports.append(functools.partial(_extend, out, timeout))
        latest = time.monotonic() + _MOST_TIMES * timeout
        for item in work():
            if time.monotonic() + timeout < latest:
                _wind_up(timeout)
            _send(out, ITEM, item)
        _send(out, END, None)
    except (OSError, SvirtError) as error:
        why = trouble(error)
        _send(out, ERROR, (why.code, why.text))
    except BaseException as error:  # the parent tells; there is nobody else to
        _send(out, BUG, (UNEXPECTED, f"{type(error).__name__}: {reason(error)}"))
    finally:
        os._exit(0)


def _wind_up(timeout: float) -> None:
    """Let the child end itself when its parent is gone."""
    signal.setitimer(signal.ITIMER_REAL, max(timeout, 0) + _GRACE)


def _extend(out: int, timeout: float, step: str, seconds: float) -> None:
    _wind_up(max(seconds, timeout))
    _send(out, ALIVE, (step, seconds))


def _close_all_but(keep: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number > 2 and number != keep:
            with contextlib.suppress(OSError):
                os.close(number)


def _send(out: int, kind: str, value: t.Any) -> None:
    data = memoryview(json.dumps((kind, value), separators=(",", ":")).encode() + b"\n")
    while data:
        data = data[os.write(out, data) :]
