# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Debian's Chromium without a window, asked by its DevTools protocol over a pipe: no network, no driver.

python -m tests.browser.chromium      installs Debian's package where it is missing
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.tools import environment

PACKAGE = "chromium"
_PATIENCE = 120.0
_ASKED, _ANSWERS = 3, 4  # the descriptors that --remote-debugging-pipe reads and writes


class BrowserError(Exception):
    """There is no browser, or it did not answer."""


def program() -> str | None:
    """The browser, where it is installed."""
    return shutil.which(PACKAGE)


def install() -> None:
    """Install Debian's package, where it is missing."""
    if program() is None:
        environment.install_packages([PACKAGE])


class Page:
    """One page. ``told`` are its console messages, exceptions and log entries, ``asked`` the addresses it loads."""

    def __init__(self, asked: int, answers: int) -> None:
        self.told: list[str] = []
        self.asked: list[str] = []
        self._asked, self._answers = asked, answers
        self._number = 0
        self._session = ""
        self._read = b""
        self._events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for area in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{area}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._asked, json.dumps(message).encode() + b"\0")
        while (answer := self._message()).get("id") != self._number:
            self._events.append(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, path: Path) -> None:
        """Load a file and wait until it is loaded."""
        self.call("Page.navigate", url=path.as_uri())
        self._wait()
        self.settle()

    def open_without_scripts(self) -> None:
        """Load the page again, and let it run none of its scripts."""
        self.call("Emulation.setScriptExecutionDisabled", value=True)
        self.call("Page.reload")
        self._wait()
        self.call("Emulation.setScriptExecutionDisabled", value=False)
        self.settle()

    def _wait(self) -> None:
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._message())

    def settle(self) -> None:
        """Sort what the page has told so far."""
        self.run("new Promise(done => setTimeout(done, 200))")
        for event in self._events:
            method, values = event["method"], event["params"]
            if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.told.append(json.dumps(values))
            elif method == "Network.requestWillBeSent":
                self.asked.append(values["request"]["url"])
            elif method == "Page.javascriptDialogOpening":
                self.told.append(f"dialog: {values['message']}")
        self._events.clear()

    def run(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key, given by its name or character."""
        text = {"Enter": "\r", "Space": " "}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Tab": 9, "Space": 32}.get(key, 0)
        named = {"key": " " if key == "Space" else key, "windowsVirtualKeyCode": code, "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def picture(self, path: Path) -> None:
        """Write a picture of the whole page."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._read:
            ready, _writable, _failed = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._answers, 1 << 20) if ready else b""
            if not part:
                raise BrowserError("the browser did not answer")
            self._read += part
        message, _end, self._read = self._read.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded


@contextmanager
def browser() -> Iterator[Page]:
    """A browser for as long as the block lasts."""
    found = program()
    if found is None:
        raise BrowserError(f"no {PACKAGE}: apt-get install {PACKAGE}")
    home = tempfile.mkdtemp(prefix="svirt-chromium-")
    theirs, asked = os.pipe()
    answers, ours = os.pipe()
    # A shell moves the pipes to the descriptors that the browser takes.
    moved = f'exec "$@" {_ASKED}<&{theirs} {_ANSWERS}>&{ours}'
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}", "--remote-debugging-pipe"]
    running = subprocess.Popen(
        ["bash", "-c", moved, "bash", found, *options],
        pass_fds=(theirs, ours),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": home},
    )
    os.close(theirs)
    os.close(ours)
    try:
        yield Page(asked, answers)
    finally:
        os.close(asked)
        os.close(answers)
        running.terminate()
        running.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    install()
