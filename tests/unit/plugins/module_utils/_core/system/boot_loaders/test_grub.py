# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB: entries of grub.cfg, settings, and the environment block."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.grub import parse_grub_cfg
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.grub_environment import (
    edit_grubenv,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.grub_settings import edit_settings
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.kernel_arguments import (
    KEEP,
    NONE,
    STRONG,
    BootRequest,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[1] / "fixtures"
DEBIAN_CFG = (FIXTURES / "debian_grub.cfg").read_text(encoding="utf-8")
EL_CFG = (FIXTURES / "el_grub.cfg").read_text(encoding="utf-8")
DEBIAN = BootRequest(STRONG, choose=True)
EL = BootRequest(STRONG)


def raised(code: str) -> t.ContextManager[pytest.ExceptionInfo[PlanError]]:
    return pytest.raises(PlanError, check=lambda error: error.code == code)


def test_debian_grub_cfg() -> None:
    entries = parse_grub_cfg(DEBIAN_CFG, "/boot/grub/grub.cfg")
    assert [(item.title, item.arguments) for item in entries] == [
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
    assert {item.source for item in entries} == {"/boot/grub/grub.cfg"}


def test_blscfg_adds_nothing_here() -> None:
    assert parse_grub_cfg(EL_CFG, "/boot/grub2/grub.cfg") == []


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
    first = parse_grub_cfg(text, "s")[0]
    assert (first.title, first.arguments) == (title, arguments)


@pytest.mark.parametrize(
    "text", ["menuentry a {\n initrd /i\n}", "# menuentry a { linux /v x }", "linuxx /v a", "linux"]
)
def test_no_entries(text: str) -> None:
    assert parse_grub_cfg(text, "s") == []


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_hostile_titles_come_through_unharmed(title: str) -> None:
    quoted = title.replace("'", "'\\''")
    entries = parse_grub_cfg(f"menuentry '{quoted}' --class x {{\n\tlinux /v selinux=0\n}}\n", "s")
    assert [(item.title, item.arguments) for item in entries] == [(title, "selinux=0")]


def defaults(*texts: str, request: BootRequest = DEBIAN) -> list[str]:
    files = [("/etc/default/grub", texts[0])]
    files += [(f"/etc/default/grub.d/{number}.cfg", text) for number, text in enumerate(texts[1:])]
    edited = edit_settings(files, request)
    return [edited.get(path, text) for path, text in files]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (['GRUB_CMDLINE_LINUX=""\n'], ['GRUB_CMDLINE_LINUX="security=selinux"\n']),
        (["GRUB_CMDLINE_LINUX=\n"], ['GRUB_CMDLINE_LINUX="security=selinux"\n']),
        (["GRUB_CMDLINE_LINUX=quiet # why\n"], ['GRUB_CMDLINE_LINUX="quiet security=selinux" # why\n']),
        (["GRUB_CMDLINE_LINUX='a b'\n"], ["GRUB_CMDLINE_LINUX='a b security=selinux'\n"]),
        (["GRUB_TIMEOUT=0"], ['GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX="security=selinux"\n']),
        ([""], ['GRUB_CMDLINE_LINUX="security=selinux"\n']),
        (
            ['GRUB_CMDLINE_LINUX="a selinux=0 b"\nGRUB_CMDLINE_LINUX_DEFAULT="quiet selinux=0"\n'],
            ['GRUB_CMDLINE_LINUX="a b security=selinux"\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'],
        ),
        (
            ['GRUB_CMDLINE_LINUX="security=selinux"\n', 'GRUB_CMDLINE_LINUX="b enforcing=0"\n'],
            ['GRUB_CMDLINE_LINUX="security=selinux"\n', 'GRUB_CMDLINE_LINUX="b security=selinux"\n'],
        ),
        (
            ['GRUB_CMDLINE_LINUX="a selinux=0"\n', 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX b"\n'],
            ['GRUB_CMDLINE_LINUX="a"\n', 'GRUB_CMDLINE_LINUX="${GRUB_CMDLINE_LINUX} b security=selinux"\n'],
        ),
        (
            ['GRUB_CMDLINE_LINUX="selinux=0"\nGRUB_CMDLINE_LINUX="b"\n'],  # the first does not count
            ['GRUB_CMDLINE_LINUX="selinux=0"\nGRUB_CMDLINE_LINUX="b security=selinux"\n'],
        ),
        (
            ["X='enforcing=0 x'\nGRUB_CMDLINE_LINUX=\"security=selinux $X\"\n"],
            ["X='x'\nGRUB_CMDLINE_LINUX=\"security=selinux $X\"\n"],
        ),
        (
            ['GRUB_CMDLINE_LINUX="lsm=apparmor,bpf x=\\"y z\\""\n'],
            ['GRUB_CMDLINE_LINUX="lsm=selinux,bpf x=\\"y z\\""\n'],
        ),
        (['GRUB_CMDLINE_LINUX="a -- b"\n'], ['GRUB_CMDLINE_LINUX="a security=selinux -- b"\n']),
        (
            ['GRUB_CMDLINE_LINUX="a security=apparmor"\nGRUB_CMDLINE_LINUX_RECOVERY="single selinux=0"\n'],
            ['GRUB_CMDLINE_LINUX="a security=selinux"\nGRUB_CMDLINE_LINUX_RECOVERY="single"\n'],
        ),
        (
            ['GRUB_CMDLINE_LINUX="security=selinux"\nGRUB_CMDLINE_LINUX_XEN_REPLACE="a"\n'],
            ['GRUB_CMDLINE_LINUX="security=selinux"\nGRUB_CMDLINE_LINUX_XEN_REPLACE="a security=selinux"\n'],
        ),
        (
            ['export GRUB_CMDLINE_LINUX="a"; GRUB_TIMEOUT=1\n'],
            ['export GRUB_CMDLINE_LINUX="a security=selinux"; GRUB_TIMEOUT=1\n'],
        ),
        (["GRUB_CMDLINE_LINUX=security=selinux\n"], ["GRUB_CMDLINE_LINUX=security=selinux\n"]),
    ],
)
def test_defaults(texts: list[str], expected: list[str]) -> None:
    edited = defaults(*texts)
    assert edited == expected
    assert defaults(*edited) == edited


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (['GRUB_CMDLINE_LINUX="$(cat /etc/x)"\n'], "settings_value_unknown"),
        (['GRUB_CMDLINE_LINUX="a"\nGRUB_CMDLINE_LINUX+=" selinux=0"\n'], "settings_value_unknown"),
        (['if [ -e /x ]; then\nGRUB_CMDLINE_LINUX="a"\nfi\n'], "settings_value_unknown"),
        (["GRUB_CMDLINE_LINUX='a\n"], "settings_not_followed"),
        (['X=linux=0\nGRUB_CMDLINE_LINUX="se$X security=selinux"\n'], "settings_value_composed"),
        (["GRUB_CMDLINE_LINUX=a\nX=1 true; . /etc/x\n"], "settings_value_unknown"),
    ],
)
def test_defaults_that_cannot_be_edited_safely(texts: list[str], code: str) -> None:
    with raised(code):
        defaults(*texts)


def test_values_that_share_an_assignment_are_both_right_or_refused() -> None:
    text = 'X=\'selinux=0\'\nGRUB_CMDLINE_LINUX="security=selinux $X"\nGRUB_CMDLINE_LINUX_DEFAULT="$X quiet"\n'
    assert defaults(text)[0].startswith("X=''\n")


def test_kdump_and_cloud_images_as_distributions_ship_them() -> None:
    edited = defaults(
        "GRUB_DISTRIBUTOR=`( . /etc/os-release && echo ${NAME} )`\n"
        'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n',
        'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT crashkernel=384M-:128M"\n',
        'GRUB_CMDLINE_LINUX="console=tty0"\nif [ "$X" = "" ]; then\n  echo "x"; G=$( printf "%s" "y" )\nfi\n',
    )
    assert "security=selinux" not in edited[0] + edited[1]
    assert 'GRUB_CMDLINE_LINUX="console=tty0 security=selinux"\n' in edited[2]


def grubenv(*lines: str, size: int = 1024) -> str:
    text = "# GRUB Environment Block\n" + "".join(f"{line}\n" for line in lines)
    return text + "#" * (size - len(text))


def test_the_environment_block_keeps_its_size_and_all_else() -> None:
    text = grubenv(
        "saved_entry=a\\\\b", "kernelopts=root=/dev/sda1 ro selinux=0 x\\\\y", "boot_success=1", "z=selinux=0"
    )
    edited = edit_grubenv(text, EL, {"kernelopts"})
    lines = ("saved_entry=a\\\\b", "kernelopts=root=/dev/sda1 ro x\\\\y", "boot_success=1", "z=selinux=0")
    assert edited == grubenv(*lines)
    assert edit_grubenv(edited, EL, {"kernelopts", "other"}) == edited


def test_an_environment_block_that_is_none_or_full_is_refused() -> None:
    with raised("no_environment_block"):
        edit_grubenv("kernelopts=selinux=0\n", EL, {"kernelopts"})
    full = grubenv("kernelopts=lsm=bpf " + "x" * 900, "y=" + "z" * 70)
    assert full.endswith("#")
    tight = full.rstrip("#")
    tight = tight[:-1] + "z" * (1024 - len(tight)) + "\n"
    with raised("environment_block_full"):
        edit_grubenv(tight, EL, {"kernelopts"})


_WORDS = st.sampled_from(
    "ro,quiet,selinux=0,selinux=1,enforcing=0,enforcing=1,enforcing=,security=apparmor,security=selinux,lsm=bpf,"
    'lsm=selinux,lsm=apparmor,root=/dev/sda1,"selinux=0",--,x=y,selinux,a="b selinux=0"'.split(",")
)
_REQUESTS = st.builds(BootRequest, st.sampled_from([KEEP, STRONG, NONE]), st.booleans())
_VALUES = st.lists(_WORDS.filter(lambda word: '"' not in word), max_size=5).map(" ".join)


@given(
    st.lists(st.tuples(st.sampled_from(["", "_DEFAULT", "_RECOVERY"]), _VALUES, st.sampled_from("'\"")), max_size=5),
    _REQUESTS,
)
def test_any_defaults_end_up_without_fault(lines: list[tuple[str, str, str]], requested: BootRequest) -> None:
    text = "".join(f"GRUB_CMDLINE_LINUX{ending}={quote}{value}{quote}\n" for ending, value, quote in lines)
    made = dict(edit_settings([("f", text)], requested)).get("f", text)
    assert edit_settings([("f", made)], requested) == {}
    last = dict.fromkeys(("", "_DEFAULT", "_RECOVERY"), "")
    for line in made.splitlines():
        name, _equals, value = line.partition("=")
        last[name.removeprefix("GRUB_CMDLINE_LINUX")] = value[1:-1]
    for ending, value in last.items():
        assert BootRequest(requested.enforcing, requested.choose and not ending).faults(value) == []
