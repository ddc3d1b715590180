# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd's units of the watch: a service that runs once, and the timer that starts it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.

The service may write nothing but its state and its metrics. The sandbox is one that the probe can work in:

- no PrivateDevices, ProtectClock or other setting that restricts devices: guests' disks may be block devices;
- no ProtectHome, PrivateTmp or InaccessiblePaths: guests' files may be anywhere;
- no ProtectKernelTunables: it makes selinuxfs read-only, where the loaded policy is asked;
- no ProtectKernelModules: it hides /lib/modules with the kernel's configuration (CAP_SYS_MODULE is dropped anyway);
- no PrivateNetwork, ProtectProc or PrivateUsers: the probe reads the host's interfaces and processes;
- CAP_SYS_ADMIN shows libvirt's trusted attributes of files, CAP_SYS_PTRACE the programs of processes and their files,
  CAP_DAC_READ_SEARCH and CAP_DAC_OVERRIDE files of other users, and the folder of the collector.
"""

from __future__ import annotations

import posixpath

from ...system.own_files import WATCH_PROGRAM, WATCH_STATE

FOLDER = "/etc/systemd/system"
TIMER = "svirt-watch.timer"
SERVICE_PATH, TIMER_PATH = f"{FOLDER}/svirt-watch.service", f"{FOLDER}/{TIMER}"
#: Starts the timer when the host boots.
ENABLED_PATH = f"{FOLDER}/timers.target.wants/{TIMER}"
MARK = "# Written by svirt.fleet.watch_timer, which overwrites changes."

_STATE = posixpath.relpath(posixpath.dirname(WATCH_STATE), "/var/lib")

_SERVICE = """{mark}
[Unit]
Description=Audit of sVirt isolation on this host
After=libvirtd.service virtqemud.service

[Service]
Type=oneshot
ExecStart={python} -IB {program}
ExecStopPost={python} -IB {program} --ended
TimeoutStartSec={time_limit}
TimeoutStopSec=30
SyslogIdentifier=svirt-watch
UMask=0077
StateDirectory={state}

Nice=19
IOSchedulingClass=idle
CPUWeight=10
MemoryMax={memory_limit}M
MemorySwapMax=0
TasksMax=64
OOMScoreAdjust=1000

NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={directory}
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_SYS_ADMIN CAP_SYS_PTRACE
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
ProtectControlGroups=yes
ProtectHostname=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@resources
SystemCallErrorNumber=EPERM
"""

_TIMER = """{mark}
[Unit]
Description=Timer of the audit of sVirt isolation on this host

[Timer]
OnActiveSec=10s
OnUnitActiveSec={interval}s
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def service_text(python: str, directory: str, time_limit: int, memory_limit: int) -> str:
    """The service. ``directory`` has been checked: it holds nothing that systemd would read otherwise."""
    return _SERVICE.format(
        mark=MARK,
        python=python,
        program=WATCH_PROGRAM,
        time_limit=time_limit,
        state=_STATE,
        memory_limit=memory_limit,
        directory=directory,
    )


def timer_text(interval: int) -> str:
    """The timer."""
    return _TIMER.format(mark=MARK, interval=interval)
