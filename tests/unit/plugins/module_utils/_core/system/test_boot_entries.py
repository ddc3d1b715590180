# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot entries of GRUB and BLS, and which arguments weaken SELinux."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.system import boot_entries
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).with_name("fixtures")
DEBIAN = (FIXTURES / "debian_grub.cfg").read_text(encoding="utf-8")

EL = (FIXTURES / "el_grub.cfg").read_text(encoding="utf-8")

BLS = """\
title Red Hat Enterprise Linux (5.14.0-570.el9.x86_64) 9.6 (Plow)
version 5.14.0-570.el9.x86_64
linux /vmlinuz-5.14.0-570.el9.x86_64
initrd /initramfs-5.14.0-570.el9.x86_64.img $tuned_initrd
options $kernelopts $tuned_params
grub_users $grub_users
grub_arg --unrestricted
"""


def test_debian_grub_cfg() -> None:
    found = boot_entries.parse_grub_cfg(DEBIAN, "/boot/grub/grub.cfg")
    assert [(item.title, item.arguments) for item in found] == [
        ("Debian GNU/Linux", "root=PARTUUID=1 ro security=selinux console=ttyS0"),
        (
            "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.12.48",
            "root=PARTUUID=1 ro security=selinux",
        ),
        (
            "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.12.48 (recovery mode)",
            "root=PARTUUID=1 ro single dis_ucode_ldr enforcing=0",
        ),
    ]
    assert {item.source for item in found} == {"/boot/grub/grub.cfg"}


def test_blscfg_adds_nothing_here() -> None:
    assert boot_entries.parse_grub_cfg(EL, "/boot/grub2/grub.cfg") == []


@pytest.mark.parametrize(
    ("text", "title", "arguments"),
    [
        ('menuentry "double \\"q\\"" { linuxefi /v a=1 }', 'double "q"', "a=1"),
        ("menuentry one { linux16 /v a=1; initrd16 /i; }", "one", "a=1"),
        ("menuentry 'it'\\''s' {\nlinux /v a=1\n}", "it's", "a=1"),
        ("menuentry '{' {\n linux /v a=1\n}\nmenuentry b {\nlinux /v b\n}", "{", "a=1"),
        ("menuentry a {\n linux /v a=1 \\\n   b=2\n}", "a", "a=1 b=2"),
        ("menuentry a {\n linux /v a=1 # selinux=0\n}", "a", "a=1"),
        ("menuentry a {\n linux /v\n}", "a", ""),
        ('menuentry a {\n linux /v dyndbg="file x +p" b\n}', "a", '"dyndbg=file x +p" b'),
        ("menuentry xen {\n multiboot2 /xen.gz x\n module2 /vmlinuz-6 root=1\n module2 /initrd\n}", "xen", "root=1"),
        ("linux /v selinux=0\nboot", "", "selinux=0"),
        ("} } }\nmenuentry a {\nlinux /v a=1\n}", "a", "a=1"),
    ],
)
def test_shapes_of_entries(text: str, title: str, arguments: str) -> None:
    first = boot_entries.parse_grub_cfg(text, "s")[0]
    assert (first.title, first.arguments) == (title, arguments)


@pytest.mark.parametrize(
    "text", ["menuentry a {\n initrd /i\n}", "# menuentry a { linux /v x }", "linuxx /v a", "linux"]
)
def test_no_entries(text: str) -> None:
    assert boot_entries.parse_grub_cfg(text, "s") == []


def test_bls_with_variables() -> None:
    variables = boot_entries.parse_grubenv(
        "# GRUB Environment Block\nkernelopts=root=/dev/sda1 ro \\\\x selinux=0\ntuned_params=nosmt\n########"
    )
    assert variables == {"kernelopts": "root=/dev/sda1 ro \\x selinux=0", "tuned_params": "nosmt"}
    found = boot_entries.parse_bls(BLS, "/boot/loader/entries/a.conf", variables)
    assert found is not None
    assert found.title == "Red Hat Enterprise Linux (5.14.0-570.el9.x86_64) 9.6 (Plow)"
    assert found.arguments == "root=/dev/sda1 ro \\x selinux=0 nosmt"


@pytest.mark.parametrize(
    ("text", "title", "arguments"),
    [
        ("linux /v\noptions a\noptions\tb ${x}\n", "", "a b 1"),
        ("linux /v\nversion 6\n", "6", "default $x"),
        ("linux /v\noptions $unknown ro\n", "", "ro"),
        ("efi /a.efi\n# options x\noptions y\n", "", "y"),
    ],
)
def test_bls_shapes(text: str, title: str, arguments: str) -> None:
    found = boot_entries.parse_bls(text, "s", {"x": "1", "default_kernelopts": "default $x"})
    assert found is not None
    # A variable's value is not expanded again.
    expanded = arguments.replace("$x", "1") if "default" in arguments else arguments
    assert (found.title, found.arguments) == (title, expanded)


def test_bls_without_a_kernel() -> None:
    assert boot_entries.parse_bls("title memtest\noptions selinux=0\n", "s", {}) is None


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("", []),
        ("ro quiet security=selinux", []),
        ("selinux=1 enforcing=1", []),
        ("selinux=0", ["selinux=0"]),
        ("selinux=0x0", ["selinux=0"]),
        ("selinux=00", ["selinux=0"]),
        ("selinux=0 selinux=1", []),  # the kernel lets the last count
        ("selinux=1 selinux=0", ["selinux=0"]),
        ("selinux=0 selinux=yes", ["selinux=0"]),  # no number: nothing changes
        ("selinux=no", []),
        ("selinux=08", []),
        ("selinux", []),
        ("xselinux=0 selinux.x=0", []),
        ("enforcing=0", ["enforcing=0"]),
        ('"enforcing=0"', ["enforcing=0"]),
        ('enforcing="0"', ["enforcing=0"]),
        ("enforcing=0 enforcing=1", ["enforcing=0"]),  # older libselinux takes the first
        ("enforcing=1 enforcing=0", ["enforcing=0"]),  # newer libselinux and the kernel take the last
        ("enforcing=", ["enforcing=0"]),
        ("enforcing=yes", ["enforcing=0"]),
        ("enforcing=2", []),
        ("enforcing=0x1", []),
        ("security=apparmor", ["security=apparmor"]),
        ("security=", ["security="]),
        ("security=apparmor security=selinux", []),
        ("lsm=landlock,yama,selinux,bpf", []),
        ("lsm=landlock,apparmor", ["lsm=landlock,apparmor"]),
        ("security=apparmor lsm=selinux", []),  # lsm= overrides security=
        ("security=selinux lsm=apparmor", ["lsm=apparmor"]),
        ("selinux=0 enforcing=0 lsm=", ["selinux=0", "enforcing=0", "lsm="]),
        ("ro -- selinux=0", []),  # arguments of init
        ("a='selinux=0", []),
    ],
)
def test_weakness(arguments: str, found: list[str]) -> None:
    assert boot_entries.weakness(arguments) == found


_ATOMS = st.sampled_from(
    ("menuentry ", "submenu ", "linux ", "/v ", "{", "}", "\n", ";", "'", '"', "\\", "#", "$x", " ", "selinux=0", "x")
)


@given(st.one_of(st.text(max_size=200), st.lists(_ATOMS, max_size=40).map("".join)))
def test_any_text_is_read(text: str) -> None:
    for entry in boot_entries.parse_grub_cfg(text, "s"):
        boot_entries.weakness(entry.arguments)
    boot_entries.parse_bls(text, "s", boot_entries.parse_grubenv(text))
    assert len(boot_entries.weakness(text)) <= 3


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_hostile_titles_come_through_unharmed(title: str) -> None:
    quoted = title.replace("'", "'\\''")
    entries = boot_entries.parse_grub_cfg(f"menuentry '{quoted}' --class x {{\n\tlinux /v selinux=0\n}}\n", "s")
    assert [(item.title, item.arguments) for item in entries] == [(title, "selinux=0")]
