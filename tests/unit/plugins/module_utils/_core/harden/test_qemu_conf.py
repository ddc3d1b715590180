# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which values qemu.conf is to have."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.qemu_conf import (
    QemuConfRequest,
    holding,
    plan,
    settings_of,
    uncovered,
    unnamed,
)


def made(text: str, settings: dict[str, t.Any] | None = None, mode: str = "enforcing", **request: t.Any) -> t.Any:
    return plan(text, QemuConfRequest(settings=settings or {}, **request), mode, ["capability", "selinux"])


def test_options_become_keys() -> None:
    options = {"default_confined": True, "require_confined": None, "security_driver": ["selinux"], "user": "qemu"}
    more = {"max_core": 0, "max_files": "32768", "vnc_tls": True, "relabel": None}
    assert settings_of(options, more) == {
        "security_driver": "selinux",
        "security_default_confined": 1,
        "user": "qemu",
        "max_core": 0,
        "max_files": 32768,
        "vnc_tls": 1,
        "relabel": None,
    }


@pytest.mark.parametrize("key", ["user", "security_default_confined", "shared_filesystems"])
def test_a_key_is_said_in_one_place(key: str) -> None:
    with pytest.raises(PlanError) as refused:
        settings_of({"user": "x", "default_confined": False}, {key: 1})
    assert refused.value.code == "key_twice"


def test_before_and_after_hold_what_was_asked_for_and_what_changes() -> None:
    result = made('security_driver = "none"\nuser = "a"\nuser = "b"\n', {"security_driver": "selinux", "group": None})
    assert result.text == 'security_driver = "selinux"\nuser = "a"\n#user = "b"\n'
    assert result.before == {"group": None, "security_driver": "none", "user": "a"}
    assert result.after == {"group": None, "security_driver": "selinux", "user": "a"}
    assert made(result.text, {"security_driver": "selinux"}).edits == []


@pytest.mark.parametrize("text", ['security_driver = [ "selinux" ]\n', 'security_driver = "selinux"\n'])
def test_a_list_of_one_driver_is_that_driver(text: str) -> None:
    assert made(text, {"security_driver": "selinux"}).edits == []
    assert made(text, {"security_driver": ["selinux"]}).edits == []
    assert made(text, {"security_driver": "none"}).edits != []


@pytest.mark.parametrize(
    ("text", "settings", "mode", "code"),
    [
        ("", {"security_driver": "selinux"}, "disabled", "selinux_off"),
        ("", {"security_driver": ["selinux", "apparmor"]}, "disabled", "selinux_off"),
        ("", {"security_driver": "apparmor"}, "enforcing", "apparmor_off"),
        ("security_require_confined = 1\n", {"security_driver": "none"}, "enforcing", "no_driver"),
        ('security_driver = "none"\n', {"security_require_confined": 1}, "enforcing", "no_driver"),
        ("", {"security_require_confined": 1}, "disabled", "no_driver"),
    ],
)
def test_what_would_keep_libvirt_from_starting_is_refused(
    text: str, settings: dict[str, t.Any], mode: str, code: str
) -> None:
    with pytest.raises(PlanError) as refused:
        made(text, settings, mode)
    assert refused.value.code == code


def test_other_keys_can_be_set_while_the_driver_is_wrong() -> None:
    assert made('security_driver = "selinux"\n', {"remember_owner": 1}, "disabled").edits


def test_values_of_other_keys_that_libvirt_refuses_are_reported() -> None:
    result = made('max_files = "many"\nremember_owner = "1"\n', {"remember_owner": 1})
    assert [(entry.subject, entry.reason.code) for entry in result.refused] == [("qemu.conf max_files", "wrong_type")]
    assert result.refused[0].reason.text.startswith("line 1: expected a whole number")


@pytest.mark.parametrize(
    ("text", "requested", "after"),
    [
        ("", {"shared": ("/a",)}, ["/a"]),
        ("", {"shared": ()}, None),
        ("", {"exported": ("/srv/vms", "/srv/vms/old")}, ["/srv/vms"]),
        ('shared_filesystems = [ "/b" ]\n', {"shared": ("/a", "/b/c")}, ["/b", "/a"]),
        ('shared_filesystems = [ "/b/" ]\n', {"shared": ("/b",)}, ["/b/"]),
        ('shared_filesystems = [ "/b" ]\n', {"shared": ("/a",), "exact": True}, ["/a"]),
        ('shared_filesystems = [ "/b" ]\n', {"shared": (), "exact": True}, []),
        ('shared_filesystems = [ "/b" ]\n', {"shared": ("/a",), "exact": True, "exported": ("/c",)}, ["/a", "/c"]),
        ('shared_filesystems = "/b"\n', {"shared": ("/a",)}, ["/a"]),
    ],
)
def test_shared_filesystems(text: str, requested: dict[str, t.Any], after: list[str] | None) -> None:
    result = made(text, **requested)
    assert result.after.get("shared_filesystems") == after
    assert made(result.text, **requested).edits == []


def test_a_host_that_exports_everything_is_reported() -> None:
    result = made("", exported=("/", "/srv/vms"))
    assert result.after == {"shared_filesystems": ["/srv/vms"]}
    assert [(entry.subject, entry.reason.code) for entry in result.refused] == [("folder /", "whole_host_exported")]


def test_shared_filesystems_are_whole_paths() -> None:
    with pytest.raises(PlanError) as refused:
        made("", shared=("srv",))
    assert refused.value.code == "path_not_absolute"


def test_uncovered_folders() -> None:
    assert uncovered(["/a/b", "/a", "/ab", "/c/./d/"], ["/c"]) == ["/a", "/ab"]


@pytest.mark.parametrize(("version", "written"), [("9.0.0", False), ("10.7.9", False), ("10.8.0", True), (None, True)])
def test_shared_filesystems_is_not_written_for_a_libvirt_that_ignores_it(version: str | None, written: bool) -> None:
    result = made('user = "a"\n', {"user": "b"}, exported=("/srv/vms",), version=version)
    assert ("shared_filesystems" in result.text) is written
    assert [item.reason.code for item in result.refused] == ([] if written else ["key_ignored"])
    assert 'user = "b"' in result.text


def test_an_export_counts_where_a_guests_file_lies_in_it() -> None:
    assert holding(("/srv/vms", "/srv", "/home"), ("/srv/vms/web.qcow2",)) == ("/srv/vms", "/srv")
    assert holding(("/srv/vm",), ("/srv/vms/web.qcow2",)) == ()
    assert holding(("/srv/vms",), ()) == ()


def test_doubt_about_an_export_that_is_named_already_is_none() -> None:
    text = 'shared_filesystems = [ "/srv" ]\n'
    result = made(text, doubtful=("/srv/vms", "/home"), doubt="libvirt did not answer")
    assert result.edits == []
    assert [(entry.subject, entry.reason.code) for entry in result.refused] == [("folder /home", "guest_files_unknown")]


def test_exports_that_are_named_need_no_look_at_guests() -> None:
    text = 'shared_filesystems = [ "/srv", "/gone", "/home" ]\n'
    there = {"/srv", "/home"}
    assert unnamed(text, ("/srv/vms", "/srv"), there.__contains__) == ()
    assert unnamed(text, ("/srv", "/home"), there.__contains__) == ("/home",), "libvirt reads no further than /gone"
    assert unnamed("", ("/srv",), there.__contains__) == ("/srv",)
    assert unnamed("broken = [\n", ("/srv",), there.__contains__) == ("/srv",)
