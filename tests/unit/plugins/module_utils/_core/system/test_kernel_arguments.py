# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments: which weaken SELinux, and the same without the weakness."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.kernel_arguments import (
    ARGUMENT,
    KEEP,
    NONE,
    STRONG,
    BootRequest,
    default_module,
    must_choose,
    strengthen,
    weakness,
)
from hypothesis import given
from hypothesis import strategies as st

DEBIAN = BootRequest(STRONG, choose=True)
EL = BootRequest(STRONG)


def raised(code: str) -> t.ContextManager[pytest.ExceptionInfo[PlanError]]:
    return pytest.raises(PlanError, check=lambda error: error.code == code)


@pytest.mark.parametrize(
    ("arguments", "expected"),
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
def test_weakness(arguments: str, expected: list[str]) -> None:
    assert weakness(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "requested", "expected"),
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
        ("ro enforcing=0", BootRequest(KEEP), "ro enforcing=0"),
        ("ro enforcing=0", BootRequest(NONE), "ro"),
        ("ro enforcing=1", BootRequest(NONE), "ro"),
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
def test_arguments(arguments: str, requested: BootRequest, expected: str) -> None:
    assert strengthen(arguments, requested) == expected
    assert requested.faults(expected) == []


@pytest.mark.parametrize(
    ("cmdline", "active", "expected"),
    [
        (None, ["selinux"], None),
        ("ro", [], None),
        ("ro", ["capability", "selinux", "bpf"], "selinux"),
        ("ro", ["capability", "apparmor"], "apparmor"),
        ("ro", ["capability", "yama"], ""),
        ("ro security=selinux", ["selinux"], None),
        ("ro lsm=apparmor", ["apparmor"], None),
        ("ro selinux=0", ["capability", "apparmor"], None),
        ("ro apparmor=0", ["capability", "selinux"], None),
        ("ro -- selinux=0", ["capability", "selinux"], "selinux"),
    ],
)
def test_the_running_kernel_shows_its_default_only_where_nothing_was_chosen(
    cmdline: str | None, active: list[str], expected: str | None
) -> None:
    assert default_module(cmdline, active) == expected


@pytest.mark.parametrize(
    ("os_id", "like", "default", "expected"),
    [
        ("debian", (), None, True),
        ("linuxmint", ("ubuntu", "debian"), None, True),
        ("rocky", ("rhel", "centos", "fedora"), None, False),
        ("sles", ("suse",), None, None),
        ("opensuse-tumbleweed", ("opensuse", "suse"), None, None),
        (None, (), None, None),
        ("sles", ("suse",), "selinux", False),
        ("sles", ("suse",), "apparmor", True),
        ("fedora", (), "", True),
        ("debian", (), "selinux", False),
    ],
)
def test_selinux_must_be_named_by_what_the_kernel_shows_then_by_the_distribution(
    os_id: str | None, like: tuple[str, ...], default: str | None, expected: bool | None
) -> None:
    assert must_choose(os_id, like, default) is expected


_WORDS = st.sampled_from(
    "ro,quiet,selinux=0,selinux=1,enforcing=0,enforcing=1,enforcing=,security=apparmor,security=selinux,lsm=bpf,"
    'lsm=selinux,lsm=apparmor,root=/dev/sda1,"selinux=0",--,x=y,selinux,a="b selinux=0"'.split(",")
)
_REQUESTS = st.builds(BootRequest, st.sampled_from([KEEP, STRONG, NONE]), st.booleans())


@given(st.lists(_WORDS, max_size=8).map(" ".join), _REQUESTS)
def test_any_arguments_end_up_without_fault_and_keep_all_else(arguments: str, requested: BootRequest) -> None:
    made = strengthen(arguments, requested)
    assert requested.faults(made) == []
    assert strengthen(made, requested) == made
    ours = ("selinux", "enforcing", "security", "lsm")

    def others(text: str) -> list[str]:
        words = ARGUMENT.findall(text)
        init = words.index("--") if "--" in words else len(words)
        kernel = [word for word in words[:init] if word.strip('"').partition("=")[0] not in ours]
        return [*kernel, *words[init:]]

    assert others(made) == others(arguments)


def test_a_quote_that_does_not_end_would_swallow_the_choice() -> None:
    with raised("open_quote"):
        strengthen('ro a="b', DEBIAN)
    assert strengthen('ro selinux=0 a="b', EL) == 'ro a="b'


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert len(weakness(text)) <= 3
