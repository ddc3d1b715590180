# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans over all boot loaders of a host."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.boot_entries import boot_faults, plan_boot
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.files import (
    BootFiles,
    BootProgram,
    matches,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.loader import BootPlan
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.kernel_arguments import STRONG, BootRequest

DEBIAN = BootRequest(STRONG, choose=True)
EL = BootRequest(STRONG)
GRUB_CFG = (Path(__file__).parents[1] / "system" / "fixtures" / "debian_grub.cfg").read_text(encoding="utf-8")
MAIN = "/boot/grub/grub.cfg"
MAKER = {"grub-mkconfig": BootProgram("/usr/sbin/grub-mkconfig")}
SNIPPET = "title EL\nversion 5\nlinux /vmlinuz\noptions root=/dev/sda1 $kernelopts {}\ngrub_class el\n"


def plan_of(texts: dict[str, str], request: BootRequest, programs: dict[str, BootProgram] | None = None) -> BootPlan:
    return plan_boot(BootFiles(texts, programs or {}), request)


def refused(plan: BootPlan) -> list[tuple[str, str]]:
    return [(item.subject, item.reason.code) for item in plan.refused]


def grubenv(*lines: str, size: int = 1024) -> str:
    text = "# GRUB Environment Block\n" + "".join(f"{line}\n" for line in lines)
    return text + "#" * (size - len(text))


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b.conf", "/a/*.conf", True),
        ("/a/.conf", "/a/*.conf", False),
        ("/a/x/b.conf", "/a/*.conf", False),
        ("/a/x/grub.cfg", "/a/*/grub.cfg", True),
        ("/a/x/y/grub.cfg", "/a/*/grub.cfg", False),
    ],
)
def test_patterns(path: str, pattern: str, expected: bool) -> None:
    assert matches(path, pattern) is expected


def test_debian_with_a_weak_recovery_entry() -> None:
    plan = plan_of({MAIN: GRUB_CFG, "/etc/default/grub": 'GRUB_CMDLINE_LINUX="security=selinux"\n'}, DEBIAN, MAKER)
    assert (plan.edits, plan.refused) == ({}, [])
    ((wrong,),) = [make.wrong for make in plan.makes]
    assert wrong.endswith("(recovery mode): enforcing=0 no security=selinux")


def test_settings_that_would_weaken_the_next_update() -> None:
    good = GRUB_CFG.replace("enforcing=0", "security=selinux")
    plan = plan_of({MAIN: good, "/etc/default/grub": 'GRUB_CMDLINE_LINUX=""\n'}, DEBIAN, MAKER)
    assert list(plan.edits) == ["/etc/default/grub"]
    assert [make.path for make in plan.makes] == [MAIN]
    nothing = plan_of({MAIN: good, "/etc/default/grub": "GRUB_CMDLINE_LINUX=security=selinux"}, DEBIAN)
    assert (nothing.edits, nothing.makes, nothing.refused) == ({}, [], [])


def test_a_configuration_that_no_program_makes_is_refused() -> None:
    other = "/boot/efi/EFI/debian/grub.cfg"
    good = GRUB_CFG.replace("enforcing=0", "security=selinux")
    texts = {MAIN: good, other: GRUB_CFG, "/etc/default/grub": "GRUB_CMDLINE_LINUX=security=selinux"}
    plan = plan_of(texts, DEBIAN, MAKER)
    assert plan.makes == []
    assert refused(plan) == [(other, "not_generated")]


def test_settings_that_cannot_be_followed_leave_the_configuration_alone() -> None:
    plan = plan_of({MAIN: GRUB_CFG, "/etc/default/grub": "GRUB_CMDLINE_LINUX=`x`"}, DEBIAN, MAKER)
    assert plan.empty
    assert refused(plan) == [("/etc/default/grub", "settings_value_unknown"), (MAIN, "settings_not_followed")]


def test_el_with_snippets_and_variables() -> None:
    texts = {
        "/boot/grub2/grub.cfg": "blscfg\n",
        "/etc/default/grub": 'GRUB_CMDLINE_LINUX="crashkernel=1G selinux=0"\n',
        "/boot/loader/entries/a.conf": SNIPPET.format("enforcing=0"),
        "/boot/loader/entries/b.conf": SNIPPET.format(""),
        "/boot/grub2/grubenv": grubenv("kernelopts=ro selinux=0"),
        "/etc/kernel/cmdline": "ro selinux=0\n",
    }
    programs = {"grub2-mkconfig": BootProgram("/usr/sbin/grub2-mkconfig"), "grubby": BootProgram("/usr/sbin/grubby")}
    assert len([fault for fault in boot_faults(BootFiles(texts), EL) if "a.conf" in fault]) == 1
    plan = plan_of(texts, EL, programs)
    assert sorted(plan.edits) == [
        "/boot/grub2/grubenv",
        "/boot/loader/entries/a.conf",
        "/etc/default/grub",
        "/etc/kernel/cmdline",
    ]
    assert (plan.makes, plan.refused) == ([], [])
    assert plan.edits["/etc/default/grub"][1] == 'GRUB_CMDLINE_LINUX="crashkernel=1G"\n'
    (command,) = plan.commands
    assert command.args[:2] == ("/usr/sbin/grubby", "--update-kernel=ALL")
    assert sorted(command.args[2].partition("=")[2].split()) == ["enforcing=0", "selinux=0"]
    assert set(texts) - set(command.touches) == {"/boot/grub2/grub.cfg"}


def test_a_full_environment_block_does_not_keep_the_rest_from_being_edited() -> None:
    plan = plan_of({"/boot/grub2/grubenv": "kernelopts=selinux=0\n", "/etc/kernel/cmdline": "selinux=0"}, EL)
    assert list(plan.edits) == ["/etc/kernel/cmdline"]
    assert refused(plan) == [("/boot/grub2/grubenv", "no_environment_block")]


def test_files_that_could_not_be_read_are_refused() -> None:
    plan = plan_boot(BootFiles(problems=["/boot/loader/entries: Permission denied"]), EL)
    assert refused(plan) == [("boot entries", "boot_files_unread")]


def test_entries_that_are_not_known_are_named_and_others_left_alone() -> None:
    entry = "menuentry '{}' {{\n\tlinux {} {}\n}}\n"
    text = "".join(
        entry.format(*words)
        for words in (
            ("a", "/vmlinuz", "root=UUID=1 $mystery"),
            ("b", "/vmlinuz", "root=LABEL=b selinux=0"),
            ("c", "/vmlinuz", "root=UUID=2 selinux=0"),
            ("d", "/memtest86+", "selinux=0"),
        )
    )
    plan = plan_of({MAIN: f"{text}fi\n"}, EL, MAKER)
    assert plan.empty
    assert refused(plan) == [
        ("boot entries", "boot_text_unclear"),
        (MAIN, "variable_unknown"),
        (MAIN, "owner_unknown"),
    ]


def test_the_words_of_reasons() -> None:
    """The one place that holds sentences."""
    weak = "menuentry 'a' {\n\tlinux /vmlinuz root=UUID=1 selinux=0\n}\n"
    other = "menuentry 'b' {\n\tlinux /vmlinuz root=LABEL=b selinux=0\n}\n"
    unknown = "menuentry 'c' {\n\tlinux /vmlinuz root=UUID=1 $x\n}\n"
    plan = plan_of({MAIN: weak + other + unknown, "/etc/default/grub": "GRUB_CMDLINE_LINUX=`x`\n"}, EL)
    assert [(item.subject, str(item.reason)) for item in plan.refused] == [
        (
            "/etc/default/grub",
            "/etc/default/grub, line 1: the value of GRUB_CMDLINE_LINUX is not known; set SELinux's arguments by hand",
        ),
        (MAIN, "a: selinux=0: no program here makes this file; edit it by hand"),
        (MAIN, "b: whether it starts this host's system is not known; look at its root="),
        (MAIN, "c: the value of x is not known, so neither is what it starts"),
    ]
