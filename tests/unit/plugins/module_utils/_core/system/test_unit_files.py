# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.unit_files import (
    UnitAssignment,
    UnitFile,
    applied,
    assignments,
    folders,
    is_drop_in,
    units,
)
from hypothesis import given
from hypothesis import strategies as st

UNIT = "libvirtd.service"
USR, RUN, ETC = (f"{folder}/systemd/system" for folder in ("/usr/lib", "/run", "/etc"))


def setting(path: str, value: str = "x") -> UnitFile:
    return UnitFile(path, f"[Service]\nKey={value}\n")


def order(*files: UnitFile) -> list[str]:
    return [file.path for file in applied(UNIT, files)]


def test_the_first_unit_counts_and_comes_before_its_drop_ins() -> None:
    files = [setting(f"{USR}/{UNIT}.d/10-a.conf"), setting(f"{USR}/{UNIT}"), setting(f"{ETC}/{UNIT}")]
    assert order(*files) == [f"{ETC}/{UNIT}", f"{USR}/{UNIT}.d/10-a.conf"]


def test_drop_ins_are_applied_by_name_whatever_folder_they_are_in() -> None:
    files = [
        setting(f"{ETC}/{UNIT}.d/20-b.conf"),
        setting(f"{USR}/{UNIT}.d/30-c.conf"),
        setting(f"{ETC}/service.d/40-d.conf"),
        setting(f"{RUN}/{UNIT}.d/10-a.conf"),
    ]
    assert [path.rpartition("/")[2] for path in order(*files)] == ["10-a.conf", "20-b.conf", "30-c.conf", "40-d.conf"]


def test_of_one_name_etc_counts_before_run_before_usr_and_the_units_own_before_all_services() -> None:
    own = [setting(f"{folder}/{UNIT}.d/10-a.conf") for folder in (USR, RUN, ETC)]
    everybody = setting(f"{ETC}/service.d/10-a.conf")
    assert order(everybody, *own) == [f"{ETC}/{UNIT}.d/10-a.conf"]
    assert order(everybody, own[0]) == [f"{USR}/{UNIT}.d/10-a.conf"]


def test_an_empty_file_takes_others_of_its_name_away() -> None:
    assert order(UnitFile(f"{ETC}/{UNIT}.d/10-a.conf", " \n"), setting(f"{USR}/{UNIT}.d/10-a.conf")) == []


def test_what_is_no_drop_in_is_passed_over() -> None:
    assert order(setting(f"{ETC}/{UNIT}.d/10-a.conf.rpmsave"), setting("/opt/10-a.conf")) == []
    assert [is_drop_in(name) for name in ("a.conf", ".a.conf", "a.conf~")] == [True, False, False]


def test_the_folders_are_systemds() -> None:
    assert folders(UNIT).index(f"{ETC}/{UNIT}.d") < folders(UNIT).index(f"{RUN}/{UNIT}.d")
    assert folders(UNIT).index(f"{RUN}/{UNIT}.d") < folders(UNIT).index(f"{USR}/{UNIT}.d")
    assert f"{USR}/{UNIT}" in units(UNIT)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[Service]\nKey=a\n", ["a"]),
        ("[Service]\nKey = a b \n", ["a b"]),
        ("[Unit]\nKey=a\n[Service]\nOther=b\n", []),
        ("Key=a\n", []),
        ("[Service]\n#Key=a\n ; Key=b\n", []),
        ("[Service]\nKey=a\nKey=b\n", ["a", "b"]),
        ("[Service]\nKey=a\nKey=\n", []),
        ("[Service]\nKey=a\nKey=\nKey=b\n", ["b"]),
        ("[Service]\nKey=a\\\n# between\n  b\nOther=c\n", ["a b"]),
        ("[Service]\nOther=a\\\nKey=b\n", []),
        ("[Service]\nKey=a\\", ["a"]),
        ("[Service]\nkey=a\n", []),
    ],
)
def test_assignments_are_read_as_systemd_reads_them(text: str, values: list[str]) -> None:
    assert [found.value for found in assignments([UnitFile("f", text)], "Key")] == values


def test_an_empty_assignment_takes_back_those_of_earlier_files() -> None:
    files = [setting("a", "1"), setting("b", ""), setting("c", "2")]
    assert assignments(files, "Key") == [UnitAssignment("c", "2")]


PLACES = st.sampled_from([f"{folder}/{name}.d" for folder in (USR, RUN, ETC) for name in (UNIT, "service")])


@given(st.sets(st.tuples(PLACES, st.sampled_from(["10.conf", "20.conf", "30.conf"])), max_size=12))
def test_each_name_counts_once_and_the_order_is_that_of_the_names(places: set[tuple[str, str]]) -> None:
    found = order(*(setting(f"{folder}/{name}") for folder, name in places))
    names = [path.rpartition("/")[2] for path in found]
    assert names == sorted({name for _folder, name in places})
    best = {name: min(folders(UNIT).index(folder) for folder, its in places if its == name) for name in names}
    assert [path.rpartition("/")[0] for path in found] == [folders(UNIT)[best[name]] for name in names]
