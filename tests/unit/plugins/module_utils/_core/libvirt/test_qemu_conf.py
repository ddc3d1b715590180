# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu.conf by libvirt's grammar. The rows of GRAMMAR were given to libvirt 11.3's own parser."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import qemu_conf
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Assignment, QemuConf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support.documents import assert_fits

GRAMMAR: list[tuple[str, t.Any]] = [
    ("", []),
    ("# only a comment", []),
    ("a=1\n", [("a", 1)]),
    ("  a\t= 1 # comment\n\n", [("a", 1)]),
    ("a=1;b=2", [("a", 1), ("b", 2)]),
    ("a=1;", [("a", 1)]),
    ("a=1 \n ", [("a", 1)]),
    ("a=1\rb=2\r\n", [("a", 1), ("b", 2)]),
    ("a=+7", [("a", 7)]),
    ("a=-0", [("a", 0)]),
    ("a=9223372036854775807", [("a", 2**63 - 1)]),
    ("a='it is \"so\"'", [("a", 'it is "so"')]),
    ('a="it\'s"', [("a", "it's")]),
    ('a="\\n"', [("a", "\\n")]),
    ('a="""two\nlines "quoted" """\n', [("a", 'two\nlines "quoted" ')]),
    ('a=""""""\n', [("a", "")]),
    ("a=[]", [("a", [])]),
    ('a = [ "x",\n "y", ]\n', [("a", ["x", "y"])]),
    ('a=["x"\n\n,\n"y"\n]', [("a", ["x", "y"])]),
    ("\n", "expecting a name"),
    ("1a=1", "expecting a name"),
    ("a", "expecting an assignment"),
    ("a : 1", "expecting an assignment"),
    ("a-b = 1", "expecting an assignment"),
    ("a =", "expecting a value"),
    ("a=\n1", "expecting a value"),
    ("a=yes", "expecting a value"),
    ("a=-", "unterminated number"),
    ("a=9223372036854775808", "numeric overflow in conf value"),
    ('a="x\n"', "unterminated string"),
    ("a='x", "unterminated string"),
    ('a="""wxyz\n', "unterminated string"),
    ('a=""""""', "expecting a separator"),  # at the very end of the file libvirt sees two quotes and more
    ('a="x" "y"', "expecting a separator"),
    ('a=["x" "y"]', "expecting a separator in list"),
    ('a=["x",,]', "expecting a value"),
    ('a=["x"', "list is not closed with ]"),
    ('a = [ "x", # comment\n "y" ]\n', "expecting a value"),
]


@pytest.mark.parametrize(("text", "outcome"), GRAMMAR)
def test_grammar(text: str, outcome: t.Any) -> None:
    assignments, problems = qemu_conf.parse(text)
    syntax = [item.message for item in problems if item.kind == "syntax"]
    if isinstance(outcome, str):
        assert [message.split(";")[0] for message in syntax] == [outcome]
    else:
        assert syntax == []
        assert [(item.key, item.value) for item in assignments] == outcome


def problems_of(text: str) -> list[tuple[int, str, str]]:
    return [(item.line, item.kind, item.key) for item in qemu_conf.parse(text)[1]]


def test_lines_are_counted_inside_lists_and_long_strings() -> None:
    text = 'user = """a\nb"""\nnamespaces = [\n "mount",\n]\n# c\r\ngroup = "x"\n'
    assert [(item.key, item.line) for item in qemu_conf.parse(text)[0]] == [
        ("user", 1),
        ("namespaces", 3),
        ("group", 7),
    ]


def test_what_stands_before_a_syntax_error_is_given() -> None:
    assignments, problems = qemu_conf.parse('user = "root"\ngroup = root\n')
    assert assignments == [Assignment("user", "root", 1)]
    assert [(item.line, item.kind, item.key) for item in problems] == [(2, "syntax", "group")]


def test_first_assignment_counts_and_later_ones_are_reported() -> None:
    text = 'security_driver = "none"\nsecurity_driver = "selinux"\nsecurity_driver = 5\n'
    assignments, problems = qemu_conf.parse(text)
    assert qemu_conf.effective(assignments)["security_driver"] == Assignment("security_driver", "none", 1)
    assert [(item.line, item.kind) for item in problems] == [(2, "duplicate"), (3, "duplicate")]
    assert "line 1" in problems[0].message


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("security_default_confined = 0", None),
        ("security_default_confined = +1", None),
        ('security_default_confined = "1"', "wrong_type"),
        ("security_default_confined = -0", "wrong_type"),
        ("security_default_confined = 2", "bad_value"),
        ("security_default_confined = [1]", "wrong_type"),
        ("security_driver = 1", "wrong_type"),
        ('security_driver = [ "selinux", 1 ]', "wrong_type"),
        ('security_driver = [ ["selinux"] ]', "wrong_type"),
        ('security_driver = "dac"', "bad_value"),
        ('security_driver = ""', "bad_value"),
        ("security_driver = []", None),
        ('namespaces = "mount"', "wrong_type"),
        ("namespaces = [ ]", None),
        ('namespaces = [ "pid" ]', "bad_value"),
        ('stdio_handler = "syslog"', "bad_value"),
        ("seccomp_sandbox = -1", None),
        ("seccomp_sandbox = 2147483648", "bad_value"),
        ("max_files = -1", "wrong_type"),
        ("max_files = 4294967296", "bad_value"),
        ("max_core = 9223372036854775807", None),
        ('max_core = "unlimited"', None),
        ('max_core = "all"', "bad_value"),
        ("allow_disk_format_probing = 0", None),
        ("allow_disk_format_probing = 1", "bad_value"),
        ('cgroup_controllers = [ "cpu", "devices" ]', None),
        ('cgroup_controllers = [ "gpu" ]', "bad_value"),
        ('hugetlbfs_mount = [ "/a", "/b" ]', None),
        ("user = 107", "wrong_type"),
        ("relabel = 1", "unknown_key"),
        ("Security_driver = 1", "unknown_key"),
    ],
)
def test_types_and_values(line: str, kind: str | None) -> None:
    assert [item[1] for item in problems_of(line)] == ([kind] if kind else [])


@pytest.mark.parametrize(
    ("text", "kind", "names"),
    [
        ("", "unset", ()),
        ("security_driver = []", "unset", ()),
        ('security_driver = "selinux"', "explicit", ("selinux",)),
        ('security_driver = [ "selinux" ]', "explicit", ("selinux",)),
        ('security_driver = [ "selinux",\n  "apparmor" ]', "explicit", ("selinux", "apparmor")),
        ('security_driver = "apparmor"', "explicit", ("apparmor",)),
        ('security_driver = "none"', "none", ("none",)),
        ('security_driver = [ "none" ]', "none", ("none",)),
        ('security_driver = [ "selinux", "none" ]', "invalid", ("selinux", "none")),
        ('security_driver = "dac"', "invalid", ("dac",)),
        ('security_driver = [ "selinux", "dac" ]', "invalid", ("selinux", "dac")),
        ('security_driver = [ "selinux", "selinux" ]', "invalid", ("selinux", "selinux")),
        ('security_driver = ""', "invalid", ("",)),
        ('security_driver = "SELinux"', "invalid", ("SELinux",)),
        ("security_driver = 1", "invalid", ()),
        ('security_driver = "selinux"\nsecurity_driver = "none"', "explicit", ("selinux",)),
        ('#security_driver = "selinux"', "unset", ()),
    ],
)
def test_security_driver(text: str, kind: str, names: tuple[str, ...]) -> None:
    found = qemu_conf.security_driver(QemuConf("qemu.conf", True, *qemu_conf.parse(text)))
    assert (found.kind, found.names) == (kind, names)
    assert found.selinux is (kind == "explicit" and "selinux" in names)
    assert bool(found.why) is (kind in ("unset", "invalid"))


def test_settings_fall_back_to_libvirts_defaults() -> None:
    conf = QemuConf("qemu.conf", True, *qemu_conf.parse("remember_owner = 0\nremember_owner = 1\n"))
    assert qemu_conf.setting(conf, "remember_owner") == 0
    assert qemu_conf.setting(conf, "namespaces") == ["mount"]
    assert qemu_conf.setting(conf, "security_driver") is None
    assert set(qemu_conf.DEFAULTS) <= set(qemu_conf.KEYS)


def test_size_is_bounded() -> None:
    assert problems_of("#" * (qemu_conf.MAX_TEXT + 1)) == [(1, "syntax", "")]
    assert problems_of("a=" + "[" * 10_000) == [(1, "syntax", "a")]


_ATOMS = st.sampled_from(
    (
        "security_driver",
        "user",
        "x",
        "=",
        '"',
        "'",
        '"""',
        "[",
        "]",
        ",",
        "\n",
        "\r",
        "#",
        ";",
        " ",
        "1",
        "-",
        "é",
        "\0",
    )
)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(_ATOMS, max_size=40).map("".join)))
def test_any_text_is_read_and_fits_the_snapshot(text: str) -> None:
    assignments, problems = qemu_conf.parse(text)
    conf = QemuConf("qemu.conf", True, assignments, problems)
    assert_fits(conf)
    assert qemu_conf.security_driver(conf).kind in ("explicit", "unset", "none", "invalid")
    assert problems == sorted(problems, key=lambda item: item.line)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z_0-9]{0,10}", fullmatch=True),
        st.one_of(
            st.integers(-(2**63) + 1, 2**63 - 1),
            st.text(alphabet=st.characters(codec="utf-8", exclude_characters='"\r\n'), max_size=20),
            st.lists(st.text(alphabet="abc ,]#'", max_size=5), max_size=4),
        ),
        max_size=6,
    )
)
def test_what_is_written_is_read_back(values: dict[str, t.Any]) -> None:
    def write(value: t.Any) -> str:
        if isinstance(value, list):
            return f"[ {', '.join(write(item) for item in value)} ]"
        return f'"{value}"' if isinstance(value, str) else str(value)

    text = "".join(f"{key} = {write(value)}\n" for key, value in values.items())
    assert {item.key: item.value for item in qemu_conf.parse(text)[0]} == values
