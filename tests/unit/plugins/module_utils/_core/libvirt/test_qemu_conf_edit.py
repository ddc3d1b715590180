# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of qemu.conf, on the file as Debian ships it, on files written by hand, and on random files."""

from __future__ import annotations

import difflib
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import qemu_conf
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.qemu_conf_edit import ConfEdit, change, render
from hypothesis import given
from hypothesis import strategies as st

CAPTURED = Path(__file__).parents[2] / "_host" / "probe" / "fixtures" / "kvm1" / "manifest.json"

EDITS: list[tuple[str, dict[str, t.Any], str]] = [
    ("", {"user": "x"}, 'user = "x"\n'),
    ("", {"user": None}, ""),
    ("# c", {"user": "x"}, '# c\nuser = "x"\n'),
    ("# c\n\n", {"user": "x", "group": "y"}, '# c\n\nuser = "x"\ngroup = "y"\n'),
    # The assignment that counts is edited, with all around it.
    ('  user\t= "a"  # why\n', {"user": "b"}, '  user\t= "b"  # why\n'),
    ('user = "a"', {"user": "b"}, 'user = "b"'),
    ('user = "a"\ngroup = "g"\nuser = "b"\n', {"user": "c"}, 'user = "c"\ngroup = "g"\n#user = "b"\n'),
    ('user = "a"\nuser = "b"\n', {"user": "a"}, 'user = "a"\n#user = "b"\n'),
    # Wrong types and numbers that libvirt refuses.
    ('remember_owner = "1"\n', {"remember_owner": 1}, "remember_owner = 1\n"),
    ("remember_owner = -0\n", {"remember_owner": 0}, "remember_owner = 0\n"),
    # Lists, in one line or several.
    ('namespaces = [\n "mount",\n]\n# c\n', {"namespaces": []}, "namespaces = []\n# c\n"),
    ('namespaces = [\n "mount",\n]\n', {"namespaces": ["mount"]}, 'namespaces = [\n "mount",\n]\n'),
    (
        'shared_filesystems = [\n  "/a"\n] # c\n',
        {"shared_filesystems": ["/a", "/b"]},
        'shared_filesystems = [ "/a", "/b" ] # c\n',
    ),
    # Unset.
    (' user = "a" # c\n', {"user": None}, ' #user = "a" # c\n'),
    (
        'namespaces = [\n\n"mount"\n]\nuser = "x"\n',
        {"namespaces": None},
        '#namespaces = [\n#\n#"mount"\n#]\nuser = "x"\n',
    ),
    # Several statements in a line.
    ('user = "a"; group = "g"\n', {"user": "b"}, 'user = "b"; group = "g"\n'),
    ('user = "a"; group = "g"\n', {"user": None}, '#user = "a"\ngroup = "g"\n'),
    ('user = "a"; group = "g"\n', {"group": None}, 'user = "a"; \n#group = "g"\n'),
    ('user="a";user="b";group="g" # c\n', {"user": "c"}, 'user="c";\n#user="b"\ngroup="g" # c\n'),
    ('user="a";user="b";user="c"', {"user": "a"}, 'user="a";\n#user="b";\n#user="c"'),
    ('namespaces=["mount"\n]; user = "a"; # c\n', {"user": None}, 'namespaces=["mount"\n]; \n#user = "a"; # c\n'),
    ('user = "a";\n', {"user": None, "group": "g"}, '#user = "a";\ngroup = "g"\n'),
    ('user = "a";', {"group": "g"}, 'user = "a";\ngroup = "g"\n'),
    # Line ends of other systems stay.
    ('user = "a"\r\nuser = "b"\r\n', {"user": "c", "group": "g"}, 'user = "c"\r\n#user = "b"\r\ngroup = "g"\r\n'),
    ("user='a'\rgroup='g'\r", {"group": None}, "user='a'\r#group='g'\r"),
    # libvirt's examples.
    ('# About.\n#user = "q"\n\n# More.\n', {"user": "x"}, '# About.\n#user = "q"\nuser = "x"\n\n# More.\n'),
    ('#user = "q"', {"user": "x"}, '#user = "q"\nuser = "x"\n'),
    (
        "#cgroup_device_acl = [\n#  1\n#]\n#\n",
        {"cgroup_device_acl": []},
        "#cgroup_device_acl = [\n#  1\n#]\ncgroup_device_acl = []\n#\n",
    ),
    ("#nvram = [\nuser='u'\n", {"nvram": []}, "#nvram = [\nnvram = []\nuser='u'\n"),
    ('#  user = "prose"\n', {"user": "x"}, '#  user = "prose"\nuser = "x"\n'),
    ('group = """\n#user = 1\n"""\n', {"user": "x"}, 'group = """\n#user = 1\n"""\nuser = "x"\n'),
    # Quotes.
    ("user = 'a'\n", {"user": 'say "so"'}, "user = 'say \"so\"'\n"),
]


@pytest.mark.parametrize(("text", "wanted", "outcome"), EDITS)
def test_edits(text: str, wanted: dict[str, t.Any], outcome: str) -> None:
    changed, edits = change(text, wanted)
    assert changed == outcome
    assert bool(edits) is (text != outcome)
    assert change(changed, wanted) == (changed, [])


def test_edits_are_listed_in_the_order_of_the_file() -> None:
    text = 'group = "g"\nuser = "a"\nuser = "b"\nmax_core = 0\n'
    wanted = {"remember_owner": 1, "user": "c", "group": "g", "max_core": None}
    assert change(text, wanted)[1] == [
        ConfEdit("set", "user", 2, "a", "c"),
        ConfEdit("comment_out_duplicate", "user", 3, "b", None),
        ConfEdit("unset", "max_core", 4, 0, None),
        ConfEdit("add", "remember_owner", 0, None, 1),
    ]


def test_duplicates_of_other_keys_are_left_unless_asked_for() -> None:
    text = 'user = "a"\nnonsense = 1\nuser = "b"\nnonsense = 2\n'
    assert change(text, {"remember_owner": None}) == (text, [])
    changed, edits = change(text, {}, duplicates=True)
    assert changed == 'user = "a"\nnonsense = 1\n#user = "b"\n#nonsense = 2\n'
    assert [edit.action for edit in edits] == ["comment_out_duplicate"] * 2


def test_a_key_that_libvirt_passes_over_can_be_unset() -> None:
    assert change('security_drivers = "selinux"\n', {"security_drivers": None})[0] == '#security_drivers = "selinux"\n'


@pytest.mark.parametrize(
    ("text", "wanted", "code"),
    [
        ('user = "a"\nuser = b\n', {"user": "c"}, "syntax"),
        ("\n", {"user": "c"}, "syntax"),
        ("", {"relabel": 1}, "unknown_key"),
        ("", {"a\nb": None}, "invalid_key"),
        ("", {"remember_owner": "1"}, "wrong_type"),
        ("", {"remember_owner": 2}, "bad_value"),
        ("", {"max_files": -1}, "bad_value"),
        ("", {"security_driver": "dac"}, "bad_value"),
        ("", {"namespaces": ["pid"]}, "bad_value"),
        ("", {"user": "a\nb"}, "value_not_writable"),
        ("", {"user": "'\""}, "value_not_writable"),
    ],
)
def test_what_is_refused(text: str, wanted: dict[str, t.Any], code: str) -> None:
    with pytest.raises(PlanError) as refused:
        change(text, wanted)
    assert refused.value.code == code


def test_long_lists_stand_on_several_lines() -> None:
    values = [f"/srv/a-long-path/number-{number}" for number in range(5)]
    changed, _edits = change("", {"shared_filesystems": values})
    assert max(len(line) for line in changed.split("\n")) < 60
    assert qemu_conf.parse(changed)[0][0].value == values


def test_the_file_as_debian_ships_it() -> None:
    text = json.loads(CAPTURED.read_text())["/etc/libvirt/qemu.conf"]["text"]
    wanted = {"namespaces": ["mount"], "cgroup_device_acl": ["/dev/null"], "remember_owner": 1, "seccomp_sandbox": 1}
    changed, edits = change(text, wanted)
    lines = list(difflib.unified_diff(text.split("\n"), changed.split("\n"), n=1, lineterm=""))
    assert [line for line in lines if line[0] != "@"][2:] == [
        " #remember_owner = 1",
        "+remember_owner = 1",
        " ",
        " #]",
        '+cgroup_device_acl = [ "/dev/null" ]',
        " #",
        " #seccomp_sandbox = 1",
        "+seccomp_sandbox = 1",
        " ",
        ' #namespaces = [ "mount" ]',
        '+namespaces = [ "mount" ]',
        " ",
    ]
    assert len(edits) == 4
    assert change(changed, wanted) == (changed, [])


_BLANK = st.sampled_from(("", " ", "\t", "  "))
_END = st.sampled_from(("\n", "\r\n", "\n\n", "\n \n", ";", "; ", " ;\n", " # c; user = 1\n", "# c\r\n"))
_KEYS = ("user", "group", "namespaces", "remember_owner", "max_core", "nonsense")
_LISTS = st.sampled_from(("[]", '[ "mount" ]', '[\n"mount",\n]', '[ "mount"\r\n, "x"]', "[[1], 'a']"))
_VALUES = st.one_of(st.sampled_from(("1", "0", "-0", "+7", '"a"', "'b\"'", '"#;="', '"""two\nlines"""', '""')), _LISTS)
_COMMENT = st.sampled_from(('#user = "x"\n', "# prose\n", "#namespaces = [\n#  1\n#]\n", "#\r\n", "  # user\n"))


@st.composite
def confs(draw: st.DrawFn) -> str:
    """Files that libvirt's grammar takes."""
    text = ""
    for _statement in range(draw(st.integers(0, 8))):
        if draw(st.booleans()) and (not text or text[-1] in "\r\n;"):
            text += draw(_COMMENT)
            continue
        blank = draw(_BLANK)
        text += f"{blank}{draw(st.sampled_from(_KEYS))}{blank}={draw(_BLANK)}{draw(_VALUES)}{draw(_END)}"
    return text


WANTED = st.dictionaries(
    st.sampled_from(_KEYS[:4]),
    st.none() | st.integers(0, 1) | st.sampled_from(("a", "q")) | st.lists(st.just("mount"), max_size=2),
    max_size=4,
).map(lambda wanted: {key: value for key, value in wanted.items() if value is None or not qemu_conf.fault(key, value)})


@given(confs(), WANTED, st.booleans())
def test_any_file_says_what_was_asked_for_and_else_what_it_said(
    text: str, wanted: dict[str, t.Any], duplicates: bool
) -> None:
    before, problems = qemu_conf.parse(text)
    if any(problem.kind == "syntax" for problem in problems):
        with pytest.raises(PlanError):
            change(text, wanted, duplicates)
        return
    changed, edits = change(text, wanted, duplicates)
    after = qemu_conf.parse(changed)[0]
    first = qemu_conf.effective(after)
    for key, value in wanted.items():
        assert (first[key].value if key in first else None) == value
        assert sum(item.key == key for item in after) == (value is not None)
    others = {key: item.value for key, item in qemu_conf.effective(before).items() if key not in wanted}
    assert {key: item.value for key, item in first.items() if key not in wanted} == others
    assert change(changed, wanted, duplicates) == (changed, [])
    assert bool(edits) is (changed != text)
    # No comment and no blank line is lost.
    comments = [line for line in text.replace("\r", "").split("\n") if line.startswith("# ")]
    assert [line for line in changed.replace("\r", "").split("\n") if line.startswith("# ")] == comments


@given(st.text(max_size=20) | st.integers(-5, 5) | st.lists(st.text(max_size=10), max_size=5))
def test_what_is_rendered_is_read_back(value: t.Any) -> None:
    try:
        text = render(value)
    except PlanError:
        return
    assert qemu_conf.parse(f"x = {text}\n")[0][0].value == value
