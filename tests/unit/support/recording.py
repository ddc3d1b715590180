# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures a host: takes a snapshot and writes down every answer that the host's files gave, for captured.py.

Runs on the host, under the Python there: ``python3 -m tests.unit.support.recording MANIFEST``, beside a
``plugins/module_utils`` of the collection. No secret gets in: only what the probe reads is there.
"""

from __future__ import annotations

import base64
import importlib
import json
import stat
import sys
import types
import typing as t
from pathlib import Path

_TYPES = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFBLK: "b",
    stat.S_IFCHR: "c",
    stat.S_IFSOCK: "s",
    stat.S_IFIFO: "p",
}


def _load() -> types.SimpleNamespace:
    """The probe: the collection's own name, where it can be imported by it, else the plain folder."""
    for prefix in ("ansible_collections.svirt.fleet.plugins", "plugins"):
        try:
            modules = {
                name.rpartition(".")[2]: importlib.import_module(f"{prefix}.module_utils._host.{name}")
                for name in _WANTED
            }
            modules["errors"] = importlib.import_module(f"{prefix}.module_utils._core.errors")
        except ModuleNotFoundError:
            continue
        return types.SimpleNamespace(**modules)
    raise SystemExit("plugins/module_utils of the collection is not on the path")


#: They leave file systems alone that may hang.
_SLOW = ("probe.guest_files", "probe.orphans")
_WANTED = ("base.root", "base.paths", "probe.probe", "probe.libvirt_reader", "probe.document", *_SLOW)
host = _load()
_Root: t.Any = host.root.Root


class RecordingRoot(_Root):  # type: ignore[misc]  # known at run time only
    """The host's own files; every access is recorded."""

    def __init__(self) -> None:
        self.paths: dict[str, dict[str, t.Any]] = {}
        self.answers: dict[str, str] = {}

    def _of(self, path: str) -> dict[str, t.Any]:
        return self.paths.setdefault(path, {})

    def _asked(self, path: str, ask: t.Callable[[], t.Any]) -> t.Any:
        try:
            return ask()
        except FileNotFoundError:
            raise
        except OSError as error:
            if not self._of(path).get("type") and error.errno != 22:
                self._of(path)["errno"] = error.errno
            raise

    def _content(self, path: str, content: bytes) -> bytes:
        entry = self._of(path)
        entry.setdefault("type", "f")
        try:
            entry["text"] = content.decode()
        except UnicodeDecodeError:
            entry["data"] = base64.b64encode(content).decode()
        return content

    def peek(self, path: str, size: int = 4096) -> bytes:
        return self._content(path, self._asked(path, lambda: super(RecordingRoot, self).peek(path, size)))

    def read_bytes(self, path: str, limit: int = 1 << 22) -> bytes:
        return self._content(path, self._asked(path, lambda: super(RecordingRoot, self).read_bytes(path, limit)))

    def transact(self, path: str, request: bytes) -> bytes:
        answer: bytes = super().transact(path, request)
        query = "create " if path.endswith("/create") else ""
        self.answers[query + request.decode()] = answer.decode()
        return answer

    def listdir(self, path: str) -> list[str]:
        names: list[str] = super().listdir(path)
        self._of(path)["type"] = "d"
        for name in names:
            self._seen(f"{path.rstrip('/')}/{name}", follow=False)
        return names

    def scan(self, path: str, untouched: t.Container[str] = ()) -> t.Iterator[tuple[str, bool]]:
        for name, folder in super().scan(path, untouched):
            self._seen(f"{path.rstrip('/')}/{name}", follow=False)
            yield name, folder

    def _seen(self, path: str, follow: bool) -> t.Any:
        seen = super().stat(path) if follow else super().lstat(path)
        facts = {
            "type": _TYPES[stat.S_IFMT(seen.st_mode)],
            "mode": stat.S_IMODE(seen.st_mode),
            "uid": seen.st_uid,
            "gid": seen.st_gid,
            "ino": seen.st_ino,
            "dev": seen.st_dev,
            "rdev": seen.st_rdev,
            "mtime": seen.st_mtime,
        }
        self._of(path).update({key: value for key, value in facts.items() if value or key == "mode"})
        if facts["type"] == "l":
            self._of(path)["link"] = super().readlink(path)
        return seen

    def stat(self, path: str) -> t.Any:
        result = self._asked(path, lambda: super(RecordingRoot, self).stat(path))
        self._seen(path, follow=False)
        return result

    def lstat(self, path: str) -> t.Any:
        return self._asked(path, lambda: self._seen(path, follow=False))

    def readlink(self, path: str) -> str:
        text: str = self._asked(path, lambda: super(RecordingRoot, self).readlink(path))
        self._of(path).update(type="l", link=text)
        return text

    def getxattr(self, path: str, name: str, follow: bool = True) -> bytes | None:
        value: bytes | None = super().getxattr(path, name, follow)
        if value is not None:
            self._of(path).setdefault("xattrs", {})[name] = base64.b64encode(value).decode()
        return value


def capture() -> dict[str, t.Any]:
    """The host, as captured.py reads it."""
    root = RecordingRoot()
    items: list[dict[str, t.Any]] = []

    def ask(uri: str, _known: t.Collection[str]) -> t.Iterator[dict[str, t.Any]]:
        # In this process, for what a child sees is lost; and all live XML, for a test may take status files away.
        items.extend(host.libvirt_reader.ask(uri, ()))
        return iter(items)

    probe = host.probe
    probe.Job = lambda work, _timeout: _Inline(work)
    for module in (host.guest_files, host.orphans, host.paths):
        module.may_hang = lambda _mount: False

    def refuse(_uri: str, _known: t.Collection[str]) -> t.NoReturn:
        raise host.errors.HostReadError("left out")

    # A second look without libvirt reads the files that stand in for it.
    for way in (ask, refuse):
        probe.Probe(root, probe.Options(boot=True), probe.Tools(ask=way, strict=True)).take()
    root.paths.pop("/proc/self", None)  # a link to a process that the tree does not have
    known = {path: entry for path, entry in sorted(root.paths.items()) if entry.get("type") or entry.get("errno")}
    return {**known, "answers": dict(sorted(root.answers.items())), "libvirt": items}


class _Inline:
    """Work in this process, in the place of a child."""

    def __init__(self, work: t.Callable[[], t.Iterable[t.Any]]) -> None:
        self._work = work
        self.problem = ""
        self.bug = False

    def items(self) -> t.Iterator[t.Any]:
        try:
            yield from self._work()
        except host.errors.HostReadError as error:
            self.problem = str(error)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(capture(), indent=1, sort_keys=True) + "\n")
