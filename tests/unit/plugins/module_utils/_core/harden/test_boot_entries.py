# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of boot entries: what they end up with, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.boot_entries import (
    KEEP,
    NONE,
    STRONG,
    BootFiles,
    Wish,
    edit_bls,
    edit_cmdline,
    edit_defaults,
    edit_grubenv,
    plan_boot,
    strengthen,
    variables_of,
    words_for_grubby,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system import boot_entries
from hypothesis import given
from hypothesis import strategies as st

DEBIAN = Wish(STRONG, choose=True)
EL = Wish(STRONG)
GRUB_CFG = (Path(__file__).parents[1] / "system" / "fixtures" / "debian_grub.cfg").read_text(encoding="utf-8")
MAIN = "/boot/grub/grub.cfg"


@pytest.mark.parametrize(
    ("arguments", "wish", "expected"),
    [
        ("", DEBIAN, "security=selinux"),
        ("", EL, ""),
        ("ro quiet", DEBIAN, "ro quiet security=selinux"),
        ("ro quiet", EL, "ro quiet"),
        ("ro security=selinux quiet", DEBIAN, "ro security=selinux quiet"),
        ("selinux=0 ro", EL, "ro"),
        ("ro selinux=0", EL, "ro"),
        ("ro selinux=0 quiet", EL, "ro quiet"),
        ("ro  quiet", EL, "ro  quiet"),
        ("selinux=0", DEBIAN, "security=selinux"),
        ("enforcing=0 selinux=0", EL, ""),
        ("ro selinux=1 enforcing=1", EL, "ro selinux=1 enforcing=1"),
        ("ro enforcing=0", Wish(KEEP), "ro enforcing=0"),
        ("ro enforcing=0", Wish(NONE), "ro"),
        ("ro enforcing=1", Wish(NONE), "ro"),
        ("ro enforcing=1 enforcing=0", EL, "ro enforcing=1"),
        ("security=apparmor ro", DEBIAN, "ro security=selinux"),
        ("security=apparmor ro", EL, "ro"),
        ("lsm=landlock,apparmor,bpf", DEBIAN, "lsm=landlock,selinux,bpf"),
        ("lsm=landlock,apparmor,tomoyo", EL, "lsm=landlock,selinux"),
        ("lsm=landlock", EL, "lsm=landlock,selinux"),
        ("lsm=", EL, "lsm=selinux"),
        ("lsm=selinux,bpf", DEBIAN, "lsm=selinux,bpf"),
        ("ro -- selinux=0", EL, "ro -- selinux=0"),
        ("ro -- x", DEBIAN, "ro security=selinux -- x"),
        ("-- x", DEBIAN, "security=selinux -- x"),
        ('"selinux=0" dyndbg="file x +p" selinux=0', EL, 'dyndbg="file x +p"'),
        ('dyndbg="a selinux=0 b"', EL, 'dyndbg="a selinux=0 b"'),
        ("$kernelopts selinux=0 $tuned", EL, "$kernelopts $tuned"),
        ("selinux=0x0 xselinux=0", EL, "xselinux=0"),
    ],
)
def test_arguments(arguments: str, wish: Wish, expected: str) -> None:
    assert strengthen(arguments, wish) == expected
    assert wish.faults(expected) == []


_WORDS = st.sampled_from(
    "ro,quiet,selinux=0,selinux=1,enforcing=0,enforcing=1,enforcing=,security=apparmor,security=selinux,lsm=bpf,"
    'lsm=selinux,lsm=apparmor,root=/dev/sda1,"selinux=0",--,x=y,selinux,a="b selinux=0"'.split(",")
)
_WISHES = st.builds(Wish, st.sampled_from([KEEP, STRONG, NONE]), st.booleans())


@given(st.lists(_WORDS, max_size=8).map(" ".join), _WISHES)
def test_any_arguments_end_up_without_fault_and_keep_all_else(arguments: str, wish: Wish) -> None:
    made = strengthen(arguments, wish)
    assert wish.faults(made) == []
    assert strengthen(made, wish) == made
    ours = ("selinux", "enforcing", "security", "lsm")

    def others(text: str) -> list[str]:
        words = boot_entries.ARGUMENT.findall(text)
        init = words.index("--") if "--" in words else len(words)
        kernel = [word for word in words[:init] if word.strip('"').partition("=")[0] not in ours]
        return [*kernel, *words[init:]]

    assert others(made) == others(arguments)


def test_a_quote_that_does_not_end_would_swallow_the_choice() -> None:
    with pytest.raises(PlanError, match="quote does not end"):
        strengthen('ro a="b', DEBIAN)
    assert strengthen('ro selinux=0 a="b', EL) == 'ro a="b'


def defaults(*texts: str, wish: Wish = DEBIAN) -> list[str]:
    files = [("/etc/default/grub", texts[0])]
    files += [(f"/etc/default/grub.d/{number}.cfg", text) for number, text in enumerate(texts[1:])]
    made = edit_defaults(files, wish)
    return [made.get(path, text) for path, text in files]


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
    made = defaults(*texts)
    assert made == expected
    assert defaults(*made) == made


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (['GRUB_CMDLINE_LINUX="$(cat /etc/x)"\n'], "cannot be told"),
        (['GRUB_CMDLINE_LINUX="a"\nGRUB_CMDLINE_LINUX+=" selinux=0"\n'], "line 2: what GRUB_CMDLINE_LINUX holds"),
        (['if [ -e /x ]; then\nGRUB_CMDLINE_LINUX="a"\nfi\n'], "cannot be told"),
        (["GRUB_CMDLINE_LINUX='a\n"], "does not end"),
        (['X=linux=0\nGRUB_CMDLINE_LINUX="se$X security=selinux"\n'], "put together from several values"),
        (["GRUB_CMDLINE_LINUX=a\nX=1 true; . /etc/x\n"], "cannot be told"),
    ],
)
def test_defaults_that_cannot_be_edited_safely(texts: list[str], why: str) -> None:
    with pytest.raises(PlanError, match=why):
        defaults(*texts)


def test_values_that_share_an_assignment_are_both_right_or_refused() -> None:
    text = 'X=\'selinux=0\'\nGRUB_CMDLINE_LINUX="security=selinux $X"\nGRUB_CMDLINE_LINUX_DEFAULT="$X quiet"\n'
    assert defaults(text)[0].startswith("X=''\n")


def test_kdump_and_cloud_images_as_distributions_ship_them() -> None:
    made = defaults(
        "GRUB_DISTRIBUTOR=`( . /etc/os-release && echo ${NAME} )`\n"
        'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n',
        'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT crashkernel=384M-:128M"\n',
        'GRUB_CMDLINE_LINUX="console=tty0"\nif [ "$X" = "" ]; then\n  echo "x"; G=$( printf "%s" "y" )\nfi\n',
    )
    assert "security=selinux" not in made[0] + made[1]
    assert 'GRUB_CMDLINE_LINUX="console=tty0 security=selinux"\n' in made[2]


SNIPPET = "title EL\nversion 5\nlinux /vmlinuz\noptions root=/dev/sda1 $kernelopts {}\ngrub_class el\n"


@pytest.mark.parametrize(
    ("options", "wish", "expected"),
    [
        ("selinux=0 quiet", EL, "quiet"),
        ("quiet", EL, "quiet"),
        ("quiet enforcing=0", Wish(NONE), "quiet"),
        ("quiet", DEBIAN, "quiet security=selinux"),
        ("security=apparmor", DEBIAN, "security=selinux"),
    ],
)
def test_snippets(options: str, wish: Wish, expected: str) -> None:
    variables = {"kernelopts": "ro"}
    made = edit_bls(SNIPPET.format(options), wish, variables)
    assert made == SNIPPET.format(expected)
    assert edit_bls(made, wish, variables) == made


def test_a_snippet_whose_fault_is_in_a_variable_stays() -> None:
    text = SNIPPET.format("quiet")
    assert edit_bls(text, EL, {"kernelopts": "selinux=0"}) == text
    assert edit_bls("title memtest\noptions selinux=0\n", EL, {}) == "title memtest\noptions selinux=0\n"
    assert variables_of([text, "options ${tuned} a$b"]) == {"kernelopts", "default_kernelopts", "tuned", "b"}


def grubenv(*lines: str, size: int = 1024) -> str:
    text = "# GRUB Environment Block\n" + "".join(f"{line}\n" for line in lines)
    return text + "#" * (size - len(text))


def test_the_environment_block_keeps_its_size_and_all_else() -> None:
    text = grubenv(
        "saved_entry=a\\\\b", "kernelopts=root=/dev/sda1 ro selinux=0 x\\\\y", "boot_success=1", "z=selinux=0"
    )
    made = edit_grubenv(text, EL, {"kernelopts"})
    assert made == grubenv("saved_entry=a\\\\b", "kernelopts=root=/dev/sda1 ro x\\\\y", "boot_success=1", "z=selinux=0")
    assert edit_grubenv(made, EL, {"kernelopts", "other"}) == made


def test_an_environment_block_that_is_none_or_full_is_refused() -> None:
    with pytest.raises(PlanError, match="no GRUB environment block"):
        edit_grubenv("kernelopts=selinux=0\n", EL, {"kernelopts"})
    full = grubenv("kernelopts=lsm=bpf " + "x" * 900, "y=" + "z" * 70)
    assert full.endswith("#")
    tight = full.rstrip("#")
    tight = tight[:-1] + "z" * (1024 - len(tight)) + "\n"
    with pytest.raises(PlanError, match="full"):
        edit_grubenv(tight, EL, {"kernelopts"})


def test_arguments_for_kernels_to_come() -> None:
    assert edit_cmdline("# by us\nroot=/dev/sda1 selinux=0\n", DEBIAN) == "# by us\nroot=/dev/sda1 security=selinux\n"
    assert edit_cmdline("root=/dev/sda1 security=selinux\n", DEBIAN) == "root=/dev/sda1 security=selinux\n"
    assert edit_cmdline("", DEBIAN) == ""


def test_debian_with_a_weak_recovery_entry() -> None:
    files = BootFiles({MAIN: GRUB_CFG}, [("/etc/default/grub", 'GRUB_CMDLINE_LINUX="security=selinux"\n')], made=MAIN)
    plan = plan_boot(files, DEBIAN)
    assert (plan.edits, plan.regenerate, plan.refused) == ({}, MAIN, [])
    (wrong,) = plan.wrong
    assert wrong.endswith("(recovery mode): enforcing=0 no security=selinux")


def test_settings_that_would_weaken_the_next_update() -> None:
    good = GRUB_CFG.replace("enforcing=0", "security=selinux")
    files = BootFiles({MAIN: good}, [("/etc/default/grub", 'GRUB_CMDLINE_LINUX=""\n')], made=MAIN)
    plan = plan_boot(files, DEBIAN)
    assert list(plan.edits) == ["/etc/default/grub"]
    assert plan.regenerate == MAIN
    nothing = plan_boot(BootFiles({MAIN: good}, [("/etc/default/grub", "GRUB_CMDLINE_LINUX=security=selinux")]), DEBIAN)
    assert (nothing.edits, nothing.regenerate, nothing.refused) == ({}, None, [])


def test_a_configuration_that_nothing_makes_is_refused() -> None:
    other = "/boot/efi/EFI/debian/grub.cfg"
    good = GRUB_CFG.replace("enforcing=0", "security=selinux")
    files = BootFiles(
        {MAIN: good, other: GRUB_CFG}, [("/etc/default/grub", "GRUB_CMDLINE_LINUX=security=selinux")], made=MAIN
    )
    plan = plan_boot(files, DEBIAN)
    assert plan.regenerate is None
    assert [(path, "edit it by hand" in why) for path, why in plan.refused] == [(other, True)]


def test_settings_that_cannot_be_followed_leave_the_configuration_alone() -> None:
    files = BootFiles({MAIN: GRUB_CFG}, [("/etc/default/grub", "GRUB_CMDLINE_LINUX=`x`")], made=MAIN)
    plan = plan_boot(files, DEBIAN)
    assert (plan.edits, plan.regenerate) == ({}, None)
    assert [path for path, _why in plan.refused] == ["/etc/default/grub", MAIN]


def test_el_with_snippets_and_variables() -> None:
    files = BootFiles(
        {"/boot/grub2/grub.cfg": "blscfg\n"},
        [("/etc/default/grub", 'GRUB_CMDLINE_LINUX="crashkernel=1G selinux=0"\n')],
        {
            "/boot/loader/entries/a.conf": SNIPPET.format("enforcing=0"),
            "/boot/loader/entries/b.conf": SNIPPET.format(""),
        },
        {"/boot/grub2/grubenv": grubenv("kernelopts=ro selinux=0")},
        {"/etc/kernel/cmdline": "ro selinux=0\n"},
        made="/boot/grub2/grub.cfg",
    )
    assert len(files.faults(EL)["/boot/loader/entries/a.conf"]) == 1
    plan = plan_boot(files, EL)
    assert (sorted(plan.edits), plan.regenerate, plan.refused) == (
        ["/boot/grub2/grubenv", "/boot/loader/entries/a.conf", "/etc/default/grub", "/etc/kernel/cmdline"],
        None,
        [],
    )
    assert plan.edits["/etc/default/grub"][1] == 'GRUB_CMDLINE_LINUX="crashkernel=1G"\n'
    gone, new = words_for_grubby(files, plan)
    assert (sorted(gone), new) == (["enforcing=0", "selinux=0"], [])


def test_a_full_environment_block_does_not_keep_the_rest_from_being_edited() -> None:
    files = BootFiles(
        grubenvs={"/boot/grub2/grubenv": "kernelopts=selinux=0\n"}, cmdlines={"/etc/kernel/cmdline": "selinux=0"}
    )
    plan = plan_boot(files, EL)
    assert list(plan.edits) == ["/etc/kernel/cmdline"]
    assert [path for path, _why in plan.refused] == ["/boot/grub2/grubenv"]


def test_what_could_not_be_read_is_refused() -> None:
    plan = plan_boot(BootFiles(problems=["/boot/loader/entries: Permission denied"]), EL)
    assert plan.refused == [("boot entries", "/boot/loader/entries: Permission denied")]


_VALUES = st.lists(_WORDS.filter(lambda word: '"' not in word), max_size=5).map(" ".join)


@given(
    st.lists(st.tuples(st.sampled_from(["", "_DEFAULT", "_RECOVERY"]), _VALUES, st.sampled_from("'\"")), max_size=5),
    _WISHES,
)
def test_any_defaults_end_up_without_fault(lines: list[tuple[str, str, str]], wish: Wish) -> None:
    text = "".join(f"GRUB_CMDLINE_LINUX{ending}={quote}{value}{quote}\n" for ending, value, quote in lines)
    made = dict(edit_defaults([("f", text)], wish)).get("f", text)
    assert edit_defaults([("f", made)], wish) == {}
    last = dict.fromkeys(("", "_DEFAULT", "_RECOVERY"), "")
    for line in made.splitlines():
        name, _equals, value = line.partition("=")
        last[name.removeprefix("GRUB_CMDLINE_LINUX")] = value[1:-1]
    for ending, value in last.items():
        assert Wish(wish.enforcing, wish.choose and not ending).faults(value) == []
