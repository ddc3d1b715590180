# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of the libvirt daemon and its configuration."""

from __future__ import annotations

from collections.abc import Callable

from . import conf, images, shape, virt
from .domains import Guest
from .faults_guest import add_guest
from .journal import Journal
from .registry import BOTH, fault

#: Powered-off guests beside three of the lab that draw their categories: one more than there are pairs in c0.c7.
_CROWD = 26
_DRIVER, _REQUIRE = "qemu.conf security_driver", "qemu.conf security_require_confined"
Edit = Callable[[str], str]


def change_conf(journal: Journal, text: str, restart: bool = True) -> None:
    """Write qemu.conf anew; the undo ends with a restart when the change has one."""
    if restart:
        journal.add("daemon")
    journal.file(conf.QEMU_CONF)
    conf.write(text)
    if restart:
        virt.restart_daemon()


def _setting(key: str, value: str) -> Edit:
    return lambda text: conf.with_key(text, key, value)


def _unset(key: str) -> Edit:
    return lambda text: conf.without_key(text, key)


def _driver_none(text: str) -> str:
    """The daemon does not start with driver none while confinement is required."""
    return conf.with_key(conf.with_key(text, "security_driver", '"none"'), "security_require_confined", "0")


def _conf_fault(
    name: str,
    about: str,
    subject: str,
    edit: Edit,
    *expects: tuple[str, str],
    doubts: tuple[str, ...] = (),
    restart: bool = True,
    hosts: tuple[str, ...] = BOTH,
    default_on: tuple[str, ...] = (),
    alone: bool = False,
) -> None:
    @fault(
        name,
        about,
        subject,
        hosts=hosts,
        default_on=default_on,
        expects=expects,
        doubts=doubts,
        alone=alone or not restart,
        daemon=True,
    )
    def inject(journal: Journal, host: str) -> None:
        change_conf(journal, edit(conf.read()), restart)


_conf_fault(
    "driver-implicit",
    "security_driver is not stated: libvirt takes what it finds, or nothing",
    "{host}",
    _unset("security_driver"),
    ("LIB-002", _DRIVER),
    default_on=("kvm2",),
)
_conf_fault(
    "shared-filesystems-missing",
    "the exporter does not name the exported folder in shared_filesystems: a guest that migrates away loses its disk",
    "/srv/vms",
    _unset("shared_filesystems"),
    ("IMG-003", "folder /srv/vms"),
    hosts=("kvm1",),
    default_on=("kvm1",),
)
_conf_fault(
    "driver-none",
    "the daemon runs without a security driver",
    "{host}",
    _driver_none,
    ("LIB-001", _DRIVER),
    ("LIB-005", _REQUIRE),
    alone=True,
)
_conf_fault(
    "driver-none-not-applied",
    "qemu.conf turns the driver off at the daemon's next start",
    "{host}",
    _setting("security_driver", '"none"'),
    ("LIB-003", _DRIVER),
    restart=False,
)
_conf_fault(
    "default-confined-off",
    "guests without a label element would run unconfined",
    "{host}",
    _setting("security_default_confined", "0"),
    ("LIB-004", "qemu.conf security_default_confined"),
)
_conf_fault(
    "require-confined-off",
    "guests may ask to run unconfined",
    "security_require_confined",
    _setting("security_require_confined", "0"),
    ("LIB-005", _REQUIRE),
)
_conf_fault(
    "conf-duplicate-key",
    "a key stands twice; libvirt takes the first",
    "security_require_confined",
    lambda text: text + "security_require_confined = 0\n",
    ("LIB-006", _REQUIRE),
)
_conf_fault(
    "conf-unknown-key",
    "a misspelt security key, which libvirt ignores",
    "security_drivers",
    lambda text: text + 'security_drivers = "selinux"\n',
    ("LIB-006", "qemu.conf security_drivers"),
)
_conf_fault(
    "conf-broken",
    "qemu.conf does not parse; the daemon that runs has not read it yet",
    "/etc/libvirt/qemu.conf",
    lambda text: text + "security_driver = selinux\n",
    ("LIB-006", "qemu.conf security_driver"),
    restart=False,
)
_conf_fault(
    "conf-not-applied",
    "qemu.conf was changed after the daemon started",
    "{host}",
    lambda text: text + "# changed\n" + "seccomp_sandbox = 1\n",
    doubts=("LIB-003",),
    restart=False,
)


@fault(
    "driver-file-disagrees",
    "qemu.conf states selinux, the running daemon has no driver",
    "{host}",
    expects=(("LIB-001", _DRIVER),),
    alone=True,
)
def _disagrees(journal: Journal, host: str) -> None:
    before = conf.read()
    change_conf(journal, _driver_none(before))
    conf.write(before)


def give_range(journal: Journal, context: str) -> None:
    """A drop-in for the daemon's unit, with a label and so a category range."""
    drop_in = shape.here().drop_in
    journal.add("daemon", reload=True)
    journal.add("rmdir", path=str(drop_in.parent))
    journal.file(drop_in)
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text(f"[Service]\nSELinuxContext={context}\n")
    virt.reload_units()
    virt.restart_daemon()


def _context_fault(
    name: str, about: str, context: str, *expects: tuple[str, str], subject: str = "libvirtd.service"
) -> None:
    @fault(name, about, subject, expects=expects, daemon=True)
    def inject(journal: Journal, host: str) -> None:
        give_range(journal, context)


_VIRTD = "system_u:system_r:virtd_t"
_UNREADABLE = ("LIB-007", "daemon libvirtd")
_context_fault(
    "daemon-range-small",
    "the daemon's range has six categories: fewer than libvirt needs",
    f"{_VIRTD}:s0-s0:c0.c5",
    _UNREADABLE,
)
_context_fault(
    "daemon-range-list",
    "the daemon's range is a list, which libvirt cannot read: no guest starts",
    f"{_VIRTD}:s0-s0:c5,c9",
    _UNREADABLE,
)
_context_fault(
    "daemon-range-cut",
    "libvirt reads only the first part of the daemon's range",
    f"{_VIRTD}:s0-s0:c0.c255,c512.c767",
    _UNREADABLE,
)
# All but one category, which no guest of the lab is expected to have drawn.
_context_fault(
    "range-overlaps",
    "the daemon has a range of its own, which overlaps that of the other host's daemon",
    f"{_VIRTD}:s0-s0:c0.c1022",
)


@fault(
    "range-too-narrow",
    "the daemon's range has 28 pairs, and more guests are to draw from it; those that run hold others",
    "libvirtd.service",
    expects=(("CAT-006", "c0.c7"), ("CAT-007", "c0.c7")),
    daemon=True,
)
def _narrow(journal: Journal, host: str) -> None:
    for number in range(_CROWD):
        add_guest(journal, Guest(f"crowd{number}", running=False))
    give_range(journal, f"{_VIRTD}:s0-s0:c0.c7")


@fault(
    "daemon-context-wrong",
    "the daemon's program lost its label, so that it runs in another domain than its own",
    "libvirtd.service",
    expects=(("LIB-007", "daemon libvirtd"),),
    daemon=True,
)
def _context(journal: Journal, host: str) -> None:
    journal.add("daemon")
    program = str(shape.here().program)
    journal.attributes(program)
    images.set_label(program, "system_u:object_r:bin_t:s0")
    virt.restart_daemon()
