# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose SELinux is changed: asked by the role, changed by hand as an administrator would, and looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.lab.agent import ask
from tests.lab.lab import Lab
from tests.scenarios.lab import state_of
from tests.scenarios.playbooks import Run, audit, run

ROLE = "molecule/transitions/converge.yml"
CONFIG, DEFAULTS, GRUB_CFG, AUTORELABEL = (
    *("/etc/selinux/config", "/etc/default/grub", "/boot/grub/grub.cfg", "/.autorelabel"),
)
JOURNAL = "/var/lib/svirt-fleet/journal"
#: A policy module that would make every guest's domain permissive; the image has it.
WEAK_MODULE = "permissive_svirt"
#: The lab's guests that run when it is clean.
GUESTS = 5
#: Where policies are compiled, an emulated host takes half a minute, and much longer when the machine is busy.
SLOW = 1200.0


@dataclass(frozen=True)
class Asked:
    """What the role answered: the whole run, selinux_state's own result, and whether it rebooted the host."""

    run: Run
    result: dict[str, Any]
    rebooted: bool

    @property
    def done(self) -> set[tuple[str, str]]:
        """Action and subject of each step."""
        return {(step["action"], step["subject"]) for step in self.result["plan"]}

    @property
    def needs(self) -> list[str]:
        """What is pending."""
        return [item["needs"] for item in self.result["pending"]]

    def why(self, subject: str = "SELinux") -> str:
        """Why something was refused."""
        return " ".join(item["why"] for item in self.result["refused"] if item["subject"] == subject)

    def code(self, subject: str = "SELinux") -> str:
        """The code of why something was refused."""
        return " ".join(item["code"] for item in self.result["refused"] if item["subject"] == subject)


@dataclass(frozen=True)
class Machine:
    """One host of a lab."""

    lab: Lab
    name: str = "kvm1"

    def sh(self, command: str) -> str:
        """What a shell command prints in the host."""
        return self.lab.remote(self.name).call(command, timeout=SLOW).stdout.decode().strip()

    def ask(self, state: str = "enforcing", *, check: bool = False, **variables: object) -> Asked:
        """Apply the role. A run that fails is an error here; see refuses()."""
        result = self.run(ROLE, check=check, selinux_state=state, **variables)
        assert result.status == 0, result.output
        rebooted = bool(result.of(self.name, "reboot"))
        return Asked(result, result.of(self.name, "selinux_state")[0], rebooted)

    def run(self, playbook: str, *, check: bool = False, **variables: object) -> Run:
        """Run a playbook over this host alone."""
        result = run(playbook, self.lab.inventory, limit=self.name, check=check, **variables)
        if result.of(self.name, "reboot"):
            self.lab.remote(self.name).disconnect()  # it was to the boot before
        return result

    def refuses(self, state: str) -> str:
        """Ask the role for what it must refuse; gives the reason. Nothing on the host may have changed by it."""
        with self.untouched():
            result = self.run(ROLE, selinux_state=state)
        assert result.status != 0, result.output
        assert result.failed, result.output
        assert not result.changed, result.changed
        return " ".join(message for _host, _task, message in result.failed)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Nothing of the host is another afterwards: files byte for byte, modes, booleans, guests, the journal."""
        before = self.everything()
        assert len(before["files"]) > 1000, "the comparison must have looked at the host"
        yield
        after = self.everything()
        for part, old in before.items():
            new = after[part]
            changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
            assert not changed, f"{part} changed: {sorted(changed)[:10]}"

    def everything(self) -> dict[str, dict[str, Any]]:
        """All of the host that a refusal must leave alone."""
        # A file that is not there answers too, with stat's complaint.
        more = {path: self.sh(f"stat -c %i:%z {path} 2>&1 || true") for path in (AUTORELABEL, JOURNAL)}
        return {**state_of(self.lab, self.name), "more": {**more, "boot": self.boot_id}}

    @property
    def mode(self) -> str:
        """What the kernel does now."""
        answer = self.sh("test -e /sys/fs/selinux/class/file/index && cat /sys/fs/selinux/enforce || echo -1")
        return {"-1": "disabled", "0": "permissive", "1": "enforcing"}[answer]

    @property
    def configured(self) -> str:
        """What the configuration says."""
        return self.sh(f"sed -n 's/^SELINUX=//p' {CONFIG}")

    @property
    def boot_id(self) -> str:
        """Identity of the boot."""
        return self.sh("cat /proc/sys/kernel/random/boot_id")

    def findings(self) -> set[tuple[str, str]]:
        """Rule and subject of all that the audit finds. That it finds nothing counts only when it could look."""
        seen = audit(self.lab.inventory, limit=self.name)
        result = {(rule, subject) for rule, _host, subject in seen.found}
        assert result or seen.host(self.name)["verdict"] == "pass", seen.output
        return result

    def guests(self) -> dict[str, str]:
        """Label of every QEMU, by process id and start time."""
        seen = state_of(self.lab, self.name)["processes"]
        return {f"{pid} {seen[pid][1]}": seen[pid][2] for pid in seen if seen[pid][0].startswith("qemu-")}

    def confined(self) -> bool:
        """Whether all of the lab's guests run, each in the guests' domain and in categories of its own."""
        labels = list(self.guests().values())
        own = {label.partition(":s0:")[2] for label in labels if ":svirt_t:s0:c" in label}
        return len(labels) == len(own) == GUESTS

    def resume(self) -> None:
        """Start the guests that ran before SELinux was off."""
        failed = ask(self.lab.remote(self.name), "resume")
        assert failed == {}, failed

    def reboot(self) -> dict[str, str]:
        """Reboot through the boot loader; gives the guests that did not start again, with the reason."""
        return self.lab.reboot(self.name)

    def configure(self, mode: str) -> None:
        """State the mode of the next boot, by hand."""
        self.sh(f"sed -i 's/^SELINUX=.*/SELINUX={mode}/' {CONFIG}")

    def boot_with(self, arguments: str) -> None:
        """State the kernel's arguments in GRUB's settings, by hand, and generate grub.cfg anew."""
        value = json.dumps(f"{arguments} console=ttyS0 panic=-1".strip())
        self.sh(f"sed -i 's/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX={value}/' {DEFAULTS} && update-grub")

    def be(self, mode: str, arguments: str = "") -> None:
        """Bring the host to a mode by hand, if it is in another, as somebody might who means no harm.

        It is off by its configuration; with ``arguments``, by those of the kernel, whatever the configuration says.
        """
        now = self.mode
        if mode != "disabled" and now == "disabled":
            self.ask("permissive", selinux_allow_reboot=True)
            self.resume()
        self.configure("enforcing" if arguments else mode)
        if mode != "disabled":
            self.sh(f"setenforce {int(mode == 'enforcing')}")
        elif now != "disabled":
            self.boot_with(arguments or "security=selinux")
            self.reboot()
            # Debian's selinux-basics makes one when SELinux is off; not every host has that package.
            self.sh(f"rm -f {AUTORELABEL}")
        assert self.mode == mode

    def breach(self) -> None:
        """A process in the guests' domain reads what no guest may. On a permissive host it can, and is logged.

        Root may not start such a process on an enforcing host, which is relaxed for that moment.
        """
        command = "runcon system_u:system_r:svirt_t:s0:c1,c2 cat /etc/shadow >/dev/null"
        self.sh(f"was=$(cat /sys/fs/selinux/enforce); setenforce 0; {command}; said=$?; setenforce $was; exit $said")
