# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host as its first process sees it.

systemd gives the service a mount namespace of its own, in which every mount is read-only and some folders are mounts
that the host does not have. Paths lead to the same files, but the mount table is that of the sandbox.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from .._host.base.root import MAX_FILE, Root

_OWN = frozenset(("/proc/self/mountinfo", "/proc/self/ns/mnt"))


class SandboxedRoot(Root):
    """The host, from inside of a sandbox: mounts are those of process 1."""

    def read_bytes(self, path: str, limit: int = MAX_FILE) -> bytes:
        """A whole file. Raises OSError, and HostReadError for a file above the limit."""
        return super().read_bytes(_of_host(path), limit)

    def readlink(self, path: str) -> str:
        """The text of a link. Raises OSError; EINVAL says that it is no link."""
        return super().readlink(_of_host(path))


def _of_host(path: str) -> str:
    return path.replace("/self/", "/1/", 1) if path in _OWN else path
