# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""libvirt in a host, as the administrator has it."""

from __future__ import annotations

import subprocess
import time
from typing import Any

from . import shape
from .domains import Guest, domain_xml

URI = "qemu:///system"
#: libvirt waits a few seconds for swtpm, which needs more on a busy machine.
_START_TRIES = 5
_DAEMON_LIMIT = 120.0  # seconds; one restart takes about four under emulation

_opened: list[Any] = []


def connection() -> Any:
    """A read-write connection, opened once."""
    if not _opened or not _opened[0].isAlive():
        import libvirt

        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        _opened[:] = [libvirt.open(URI)]
    return _opened[0]


def drop_connection() -> None:
    """Forget the connection: the daemon is about to go."""
    _opened.clear()


def version() -> tuple[int, int]:
    """Of the daemon's libvirt: major and minor."""
    number: int = connection().getLibVersion()
    return number // 1_000_000, number // 1_000 % 1_000


def lookup(name: str) -> Any:
    """The domain of that name, or None."""
    import libvirt

    try:
        return connection().lookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def define(guest: Guest) -> Any:
    """Define (or redefine) a guest."""
    return connection().defineXML(domain_xml(guest, emulator=shape.here().emulator))


def start(name: str, paused: bool = False) -> None:
    """Start a guest that does not run; paused: its processor stands still."""
    import libvirt

    domain = lookup(name)
    flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0
    for left in reversed(range(_START_TRIES)):
        try:
            if not domain.isActive():
                domain.createWithFlags(flags)
            return
        except libvirt.libvirtError as error:
            if not left or error.get_error_code() != libvirt.VIR_ERR_OPERATION_TIMEOUT:
                raise


def destroy(name: str) -> None:
    """Stop a guest at once, if it runs."""
    import libvirt

    domain = lookup(name)
    if domain is None or not domain.isActive():
        return
    try:
        domain.destroy()
    except libvirt.libvirtError:
        if domain.isActive():  # else it ended meanwhile, as happens while a daemon that just started finds its guests
            raise


def remove(name: str) -> None:
    """Stop and undefine a guest, if it exists."""
    import libvirt

    destroy(name)
    domain = lookup(name)
    if domain is not None and domain.isPersistent():
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_TPM)


def running() -> list[str]:
    """Names of the guests that run, sorted."""
    return sorted(domain.name() for domain in connection().listAllDomains(1))


def filter_xml(name: str) -> str:
    """A network filter as the host defines it."""
    return str(connection().nwfilterLookupByName(name).XMLDesc(0))


def define_filter(xml: str) -> None:
    """Define (or redefine) a network filter; running guests that use it take it over."""
    connection().nwfilterDefineXML(xml)


def restart_daemon() -> None:
    """Restart the daemon and wait until it answers. Guests keep running. Raises RuntimeError."""
    drop_connection()
    unit = shape.here().service
    subprocess.run(["systemctl", "stop", unit], check=False, capture_output=True)
    # A daemon that ran in another domain and was killed leaves a file that the right one may not open.
    shape.here().pid_file.unlink(missing_ok=True)
    subprocess.run(["systemctl", "reset-failed", unit], check=False, capture_output=True)
    done = subprocess.run(["systemctl", "start", unit], check=False, capture_output=True, text=True)
    if done.returncode:
        words = ["journalctl", "--no-pager", "--unit", unit, "--lines", "15", "--output", "cat"]
        said = subprocess.run(words, check=False, capture_output=True, text=True).stdout
        raise RuntimeError(f"{unit} did not start: {done.stderr}{said}")
    wait_for_daemon()


def reload_units() -> None:
    """Let systemd read its units again."""
    subprocess.run(["systemctl", "daemon-reload"], check=True, capture_output=True)


def wait_for_daemon() -> None:
    """Return when the daemon takes connections."""
    import libvirt

    end = time.monotonic() + _DAEMON_LIMIT
    while True:
        try:
            connection().getLibVersion()
            return
        except libvirt.libvirtError:
            drop_connection()
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def stop_daemon() -> None:
    """Stop the daemon and the sockets that would start it again. Guests keep running."""
    drop_connection()
    subprocess.run(["systemctl", "stop", *shape.here().units], check=True, capture_output=True)


def start_daemon() -> None:
    """The other half of stop_daemon()."""
    subprocess.run(["systemctl", "start", *shape.here().units], check=True, capture_output=True)
    wait_for_daemon()
