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
import json
import os
import select
import signal
import time
import typing as t

from ..._core.errors import SvirtError
from .root import reason

#: The most bytes that a child may send.
MAX_BYTES = 256 * 1024 * 1024
_PIPE_BYTES = 1024 * 1024
_F_SETPIPE_SZ = 1031  # fcntl has the name from Python 3.10 on
_GRACE = 0.5

ITEM, END, ERROR, BUG = "item", "end", "error", "bug"


class Job:
    """Work in its own child. ``items`` yields what it sends; then ``problem`` says how it ended."""

    def __init__(self, work: t.Callable[[], t.Iterable[t.Any]], timeout: float, limit: int = MAX_BYTES) -> None:
        """Start the work; it has ``timeout`` seconds from now and may send ``limit`` bytes. Raises OSError."""
        self.problem = ""
        #: The child ended by an error that nobody foresaw.
        self.bug = False
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._left = limit
        self._pipe, out = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self._pipe)
            os.close(out)
            raise
        if self._pid == 0:
            _child(work, out, timeout)
        os.close(out)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._pipe, _F_SETPIPE_SZ, _PIPE_BYTES)

    def items(self) -> t.Iterator[t.Any]:
        """What the child sends, as it comes; ends when the child does, at its deadline, or at the bound."""
        ended = False
        try:
            for line in self._lines():
                kind, value = json.loads(line)
                if kind == ITEM:
                    yield value
                    continue
                ended = True
                self.bug = kind == BUG
                self.problem = value
                break
            if not ended and not self.problem:
                self.problem = "the reader died before it was done"
        finally:
            os.close(self._pipe)
            self._reap(kill=not ended)

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
            self.problem = f"no answer within {self._timeout:g} s"
            return b""
        part = os.read(self._pipe, 1 << 18)
        self._left -= len(part)
        if self._left < 0:
            self.problem = "the answer is larger than the probe takes"
            return b""
        return part

    def _reap(self, kill: bool) -> None:
        """Let go of the child, without a long wait: one that hangs in the kernel dies when it can."""
        until = time.monotonic() + _GRACE
        pause = 0.001
        if kill:
            self._kill()
        while True:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self._pid, os.WNOHANG)[0] == 0 and time.monotonic() < until:
                    time.sleep(pause)
                    pause = min(pause * 2, 0.05)
                    continue
            return

    def _kill(self) -> None:
        for kill in (os.killpg, os.kill):  # its group has what it started; it may not have made the group yet
            with contextlib.suppress(OSError):
                kill(self._pid, signal.SIGKILL)


def _child(work: t.Callable[[], t.Iterable[t.Any]], out: int, timeout: float) -> t.NoReturn:
    try:
        os.setsid()
        # Whoever started it may be killed first; it must not keep what it holds, the journal's lock above all.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, max(timeout, 0) + _GRACE)
        _close_all_but(out)
        for item in work():
            _send(out, ITEM, item)
        _send(out, END, "")
    except (OSError, SvirtError) as error:
        _send(out, ERROR, reason(error))
    except BaseException as error:  # the parent tells; there is nobody else to
        _send(out, BUG, f"{type(error).__name__}: {reason(error)}")
    finally:
        os._exit(0)


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
