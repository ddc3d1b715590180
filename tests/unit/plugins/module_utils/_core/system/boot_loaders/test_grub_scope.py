# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB's shell: values of variables after a script, and the lines that load kernels."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.grub_scope import (
    GrubScope,
    GrubTooComplexError,
    unknown,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.grub_script import parse_script

UNKNOWN = unknown("a")


def after(text: str, **environment: str) -> GrubScope:
    scope = GrubScope(environment={name: frozenset((value,)) for name, value in environment.items()})
    scope.run(parse_script(text).nodes)
    return scope


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("set a=1", {"1"}),
        ("a=1", {"1"}),
        ("set a='x y'", {"x y"}),
        ("set a=x\\ y", {"x y"}),
        ('set b=1; set a="$b ${b}2"', {"1 12"}),
        ("set b=1; set a='$b'", {"$b"}),
        ("set a=1; unset a", {""}),
        ("if [ -z $x ]; then set a=1; else set a=2; fi", {"1"}),
        ("set x=y; if [ -z $x ]; then set a=1; else set a=2; fi", {"2"}),
        ("set x=y; if [ x$x = xy ]; then set a=1; fi", {"1"}),
        ("set x=y; if test $x != y; then set a=1; else set a=2; fi", {"2"}),
        ("set x=y; if [ -n \"$x\" -a $x = z ]; then set a=1; else set a=2; fi", {"2"}),
        ("set x=y; if [ $x = z -o $x = y ]; then set a=1; else set a=2; fi", {"1"}),
        ("if [ ! -z $x ]; then set a=1; else set a=2; fi", {"2"}),
        ("if ! true; then set a=1; else set a=2; fi", {"2"}),
        ("if [ $grub_platform = efi ]; then set a=1; else set a=2; fi", {"1", "2"}),
        ("if [ $grub_platform = efi ]; then set a=1; fi", {"1", ""}),
        ("if keystatus; then set a=1; elif true; then set a=2; else set a=3; fi", {"1", "2"}),
        ("if false; then set a=1; elif keystatus; then set a=2; else set a=3; fi", {"2", "3"}),
        ("function f { set a=$1; }\nf 7", {"7"}),
        ("function f {\n set a=x$1\n}\nset 1=q\nf 7\nset b=$1\nset a=$a$b", {"x7q"}),
        ("set a=1; while true; do set a=2; done", UNKNOWN),
        ("for a in 1 2; do true; done", UNKNOWN),
        ("search --set=a --label x", UNKNOWN),
        ("search --set a --label x", UNKNOWN),
        ("read a", UNKNOWN),
        ("probe --set=a -u $root", UNKNOWN),
        ("load_env", {"env"}),
        ("set a=1; load_env a", {"env"}),
        ("set a=1; load_env b", {"1"}),
        ("set a=$b", unknown("b")),
        ("set a=$tuned_params", {""}),
    ],
)  # fmt: skip
def test_values(text: str, expected: frozenset[str]) -> None:
    scope = after(text, a="env")
    assert scope.values["a"] == frozenset(expected)


def test_a_value_of_many_texts_is_unknown() -> None:
    branches = "".join(f"if keystatus; then set a={number}; fi\n" for number in range(20))
    assert after(branches).values["a"] >= UNKNOWN


@pytest.mark.parametrize(
    "text", ["function f { f; }\nf\n", "function f { g; g; g; }\nfunction g { h; h; h; }\nfunction h { f; }\nf\n"]
)
def test_a_script_without_an_end_is_given_up(text: str) -> None:
    with pytest.raises(GrubTooComplexError):
        after(text)


def test_submenus_see_exported_variables_only() -> None:
    entry = "submenu s {\nmenuentry m {\nlinux /v $a $b\n}\n}\n"
    ((line),) = after(f"set a=1\nset b=2\nexport b\n{entry}").entries()
    assert (line.titles, set(line.arguments)) == (("s", "m"), {"1 2", " 2"})


def test_entries_are_run_with_what_the_whole_text_leaves() -> None:
    (line,) = after("menuentry m {\nlinux /v $a\n}\nset a=late\n").entries()
    assert line.arguments == ("late",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("set a='x", "a quote does not end"),
        ("if true; then\n", "is missing at the end"),
        ("menuentry x {\n", "is missing at the end"),
        ("}\n", "without its beginning"),
        ("fi\n", "without its beginning"),
        ("set a='x\nlinux /v\n'", "a quote goes over several commands"),
        ("{ " * 60, "nested too deeply"),
    ],
)
def test_texts_that_grub_would_not_read(text: str, problem: str) -> None:
    assert problem in parse_script(text).problems[0]
