# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot Loader Specification snippets: entries, edits, and the words for grubby."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.bls import (
    edit_bls,
    parse_bls,
    variables_of,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.grub_environment import (
    parse_grubenv,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.grub_scope import GrubScope
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.kernel_cmdline import edit_cmdline
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.kernel_arguments import NONE, STRONG, BootRequest


def scope(**variables: str) -> GrubScope:
    return GrubScope({name: frozenset((value,)) for name, value in variables.items()})


DEBIAN = BootRequest(STRONG, choose=True)
EL = BootRequest(STRONG)
BLS = """\
title Red Hat Enterprise Linux (5.14.0-570.el9.x86_64) 9.6 (Plow)
version 5.14.0-570.el9.x86_64
linux /vmlinuz-5.14.0-570.el9.x86_64
initrd /initramfs-5.14.0-570.el9.x86_64.img $tuned_initrd
options $kernelopts $tuned_params
grub_users $grub_users
grub_arg --unrestricted
"""


def test_bls_with_variables() -> None:
    variables = parse_grubenv(
        "# GRUB Environment Block\nkernelopts=root=/dev/sda1 ro \\\\x selinux=0\ntuned_params=nosmt\n########"
    )
    assert variables == {"kernelopts": "root=/dev/sda1 ro \\x selinux=0", "tuned_params": "nosmt"}
    (entry,) = parse_bls(BLS, "/boot/loader/entries/a.conf", scope(**variables))
    assert entry.title == "Red Hat Enterprise Linux (5.14.0-570.el9.x86_64) 9.6 (Plow)"
    assert entry.arguments == "root=/dev/sda1 ro \\x selinux=0 nosmt"


@pytest.mark.parametrize(
    ("text", "title", "arguments"),
    [
        ("linux /v\noptions a\noptions\tb ${x}\n", "", "a b 1"),
        ("linux /v\nversion 6\n", "6", "default 1"),
        ("linux /v\noptions $unknown ro\n", "", "ro"),
        ("efi /a.efi\n# options x\noptions y\n", "", "y"),
    ],
)
def test_bls_shapes(text: str, title: str, arguments: str) -> None:
    (entry,) = parse_bls(text, "s", scope(x="1", default_kernelopts="default $x"))
    assert (entry.title, entry.arguments) == (title, arguments)


def test_bls_without_a_kernel() -> None:
    assert parse_bls("title memtest\noptions selinux=0\n", "s", scope()) == []


SNIPPET = "title EL\nversion 5\nlinux /vmlinuz\noptions root=/dev/sda1 $kernelopts {}\ngrub_class el\n"


@pytest.mark.parametrize(
    ("options", "requested", "expected"),
    [
        ("selinux=0 quiet", EL, "quiet"),
        ("quiet", EL, "quiet"),
        ("quiet enforcing=0", BootRequest(NONE), "quiet"),
        ("quiet", DEBIAN, "quiet security=selinux"),
        ("security=apparmor", DEBIAN, "security=selinux"),
    ],
)
def test_snippets(options: str, requested: BootRequest, expected: str) -> None:
    variables = scope(kernelopts="ro")
    edited = edit_bls(SNIPPET.format(options), requested, variables)
    assert edited == SNIPPET.format(expected)
    assert edit_bls(edited, requested, variables) == edited


def test_a_snippet_whose_fault_is_in_a_variable_stays() -> None:
    text = SNIPPET.format("quiet")
    assert edit_bls(text, EL, scope(kernelopts="selinux=0")) == text
    assert edit_bls("title memtest\noptions selinux=0\n", EL, scope()) == "title memtest\noptions selinux=0\n"
    assert variables_of([text, "options ${tuned} a$b"]) == {"kernelopts", "default_kernelopts", "tuned", "b"}


def test_kernel_install() -> None:
    assert edit_cmdline("# by us\nroot=/dev/sda1 selinux=0\n", DEBIAN) == "# by us\nroot=/dev/sda1 security=selinux\n"
    assert edit_cmdline("root=/dev/sda1 security=selinux\n", DEBIAN) == "root=/dev/sda1 security=selinux\n"
    assert edit_cmdline("", DEBIAN) == ""
