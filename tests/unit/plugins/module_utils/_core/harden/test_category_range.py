# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import category_range as r
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.category_range import DaemonRange, libvirt_range
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import parse_context
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.unit_files import UnitFile
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.fleets import guest, host

VIRTD = "system_u:system_r:virtd_t:s0-s0:"
ALL = f"{VIRTD}c0.c1023"
MODULAR = "system_u:system_r:virtqemud_t:s0"
PATH = "/etc/systemd/system/libvirtd.service.d/60-svirt-fleet.conf"
C0_31 = r.RangeRequest(r.PRESENT, DaemonRange(0, 31))
SEEN = r.RangeFacts(
    daemon="libvirtd",
    selinux=True,
    awake=True,
    context=ALL,
    default_context=ALL,
    init="system_u:system_r:init_t:s0",
    files=(UnitFile("/usr/lib/systemd/system/libvirtd.service", "[Service]\nType=notify\n"),),
    guests=r.DrawingGuests(3, 5),
)


def seen(**parts: t.Any) -> r.RangeFacts:
    return dataclasses.replace(SEEN, **parts)


def other(path: str, value: str) -> tuple[UnitFile, ...]:
    return (*SEEN.files, UnitFile(path, f"[Service]\nSELinuxContext={value}\n"))


def written(drawn: str = "c0.c31", type_: str = "virtd_t:s0-s0") -> str:
    return r.text_of(parse_context(f"system_u:system_r:{type_}:{drawn}"))


# -- what is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("present", None, 31), "range_missing"),
        (("present", 31, 0), "no_range"),
        (("present", -1, 31), "no_range"),
        (("present", 0, 1024), "no_range"),
        (("present", 0, 6), "too_few_categories"),
        (("absent", 0, 31), "range_without_present"),
        (("repaired", None, 31), "range_without_present"),
    ],
)
def test_a_range_that_cannot_be_is_refused(arguments: t.Any, code: str) -> None:
    with pytest.raises(PlanError) as error:
        r.requested(*arguments)
    assert error.value.code == code


def test_a_request() -> None:
    assert r.requested("present", 0, 7) == r.RangeRequest("present", DaemonRange(0, 7))
    assert r.requested("absent", None, None) == r.RangeRequest("absent")


@given(st.integers(0, 1016), st.integers(7, 1023))
def test_what_is_written_is_what_libvirt_draws_from(low: int, width: int) -> None:
    high = min(low + width, 1023)
    planned = r.plan(seen(), r.RangeRequest(r.PRESENT, DaemonRange(low, high)))
    if planned.refused:
        assert math_pairs(low, high) <= 6
        return
    text = planned.text or ""
    assert libvirt_range(planned.context or "") == DaemonRange(low, high)
    assert r.recorded(text) == DaemonRange(low, high)
    assert r.is_sound(SEEN, text)
    assert seen().settings(text)[-1].value == planned.context
    assert r.plan(seen(drop_in=text), r.RangeRequest(r.PRESENT, DaemonRange(low, high))).text == text


def math_pairs(low: int, high: int) -> int:
    return (high - low + 1) * (high - low) // 2


# -- which label -----------------------------------------------------------------------------------------------------


def test_user_role_and_type_are_the_daemons() -> None:
    planned = r.plan(seen(), C0_31)
    assert (planned.context, planned.refused, planned.warnings) == (f"{VIRTD}c0.c31", None, ())
    assert (planned.text or "").endswith(f"\n[Service]\nSELinuxContext={VIRTD}c0.c31\n")


def test_a_daemon_without_categories_gets_some() -> None:
    planned = r.plan(seen(daemon="virtqemud", context=MODULAR), C0_31)
    assert planned.context == "system_u:system_r:virtqemud_t:s0-s0:c0.c31"


def test_daemon_that_sleeps_gets_what_the_policy_gives_it() -> None:
    planned = r.plan(seen(awake=False, context=None, default_context=MODULAR, daemon="virtqemud"), C0_31)
    assert planned.context == "system_u:system_r:virtqemud_t:s0-s0:c0.c31"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"daemon": None}, "no_daemon"),
        ({"selinux": False}, "selinux_off"),
        ({"mls": False}, "no_categories"),
        ({"taken": "it is a link"}, "not_ours"),
        ({"context": None}, "label_unreadable"),
        ({"context": "nothing"}, "label_unreadable"),
        ({"context": "system_u:system_r:initrc_t:s0"}, "foreign_type"),
        ({"context": "unconfined_u:unconfined_r:virtd_t:s0-s0:c0.c1023"}, "foreign_user"),
        ({"context": f"{VIRTD}c5,c9"}, "range_unusable"),
        ({"context": f"{VIRTD}c0.c255,c512.c767"}, "range_in_parts"),
        ({"awake": False, "default_context": None}, "policy_gives_no_daemon_label"),
        ({"awake": False, "default_context": "system_u:system_r:init_t:s0"}, "policy_gives_no_daemon_label"),
        ({"guests": None, "unknown": "libvirt is down"}, "guests_unknown"),
        ({"guests": r.DrawingGuests(248, 248)}, "too_narrow"),
        ({"guests": r.DrawingGuests(1, 497)}, "too_narrow"),
    ],
)
def test_where_the_range_must_not_be_set_now(parts: dict[str, t.Any], code: str) -> None:
    planned = r.plan(seen(**parts), C0_31)
    assert planned.refused is not None
    assert planned.refused.code == code
    assert (planned.text, planned.context) == (None, None)
    assert not r.restart_needed(seen(**parts), planned)


def test_the_words_of_a_refusal() -> None:
    """The one test of wording: all other tests assert codes."""
    planned = r.plan(seen(guests=r.DrawingGuests(248, 248)), C0_31)
    assert str(planned.refused) == (
        "c0.c31 has 496 pairs and 248 guests run with drawn labels; libvirt's search for a free pair does not end when "
        "none is left, so there must be more than 496: give a wider range, or give guests static labels"
    )


def test_twice_as_many_pairs_as_guests_are_enough() -> None:
    assert not r.plan(seen(guests=r.DrawingGuests(247, 496)), C0_31).refused
    assert not r.plan(seen(guests=r.DrawingGuests(247, None)), C0_31).refused


# -- other files of the unit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/etc/systemd/system/libvirtd.service.d/zz-site.conf",
        "/usr/lib/systemd/system/libvirtd.service.d/70-vendor.conf",
        "/etc/systemd/system/service.d/90-all.conf",
        "/run/systemd/system/libvirtd.service.d/60-zz.conf",
    ],
)
def test_a_file_with_the_last_word_is_named(path: str) -> None:
    planned = r.plan(seen(files=other(path, ALL)), C0_31)
    assert planned.refused is not None
    assert planned.refused.code == "overruled"
    assert planned.refused.text.startswith(f"{path} sets SELinuxContext={ALL}")


def test_drop_in_that_takes_the_label_back_is_refused() -> None:
    path = "/etc/systemd/system/libvirtd.service.d/zz-site.conf"
    refused = r.plan(seen(files=other(path, "")), C0_31).refused
    assert refused is not None
    assert refused.code == "overruled"


@pytest.mark.parametrize(
    "path",
    ["/usr/lib/systemd/system/libvirtd.service.d/10-vendor.conf", "/usr/lib/systemd/system/service.d/20-all.conf"],
)
def test_drop_in_that_comes_before_is_overruled_and_named(path: str) -> None:
    planned = r.plan(seen(files=other(path, ALL)), C0_31)
    assert (planned.refused, planned.context) == (None, f"{VIRTD}c0.c31")
    assert planned.warnings == (f"{path} sets SELinuxContext too; {PATH} takes precedence",)


def test_a_file_of_our_name_elsewhere_does_not_count() -> None:
    files = other("/run/systemd/system/libvirtd.service.d/60-svirt-fleet.conf", ALL)
    assert not r.plan(seen(files=files), C0_31).refused


# -- again, other, and away ------------------------------------------------------------------------------------------


def test_the_second_time_nothing_is_done_and_a_restart_waits_until_it_came() -> None:
    now = seen(drop_in=written())
    planned = r.plan(now, C0_31)
    assert planned.text == now.drop_in
    assert r.restart_needed(now, planned)
    assert not r.restart_needed(dataclasses.replace(now, context=f"{VIRTD}c0.c31"), planned)
    assert not r.restart_needed(dataclasses.replace(now, awake=False, context=None), planned)


def test_what_is_in_place_and_too_narrow_by_now_is_warned_of() -> None:
    planned = r.plan(seen(drop_in=written(), guests=r.DrawingGuests(300, 300)), C0_31)
    assert (planned.text, planned.refused) == (written(), None)
    assert ["496 pairs" in warning for warning in planned.warnings] == [True]


def test_a_range_of_ours_that_was_wrong_is_replaced() -> None:
    wrong = written().replace("s0-s0:c0.c31", "s0-s0:c5,c9")
    now = seen(drop_in=wrong, context=f"{VIRTD}c5,c9")
    planned = r.plan(now, C0_31)
    assert (planned.refused, planned.text) == (None, written())
    assert r.restart_needed(now, planned)


def test_a_wrong_label_that_the_drop_in_did_not_give_is_for_people() -> None:
    now = seen(drop_in=written(), context=f"{VIRTD}c5,c9")
    refused = r.plan(now, C0_31).refused
    assert refused is not None
    assert (refused.code, "LIB-007" in refused.text) == ("range_unusable", True)


def test_absent() -> None:
    now = seen(drop_in=written(), context=f"{VIRTD}c0.c31", guests=None)
    planned = r.plan(now, r.RangeRequest(r.ABSENT))
    assert (planned.text, planned.context, planned.refused) == (None, None, None)
    assert r.restart_needed(now, planned)
    assert not r.restart_needed(dataclasses.replace(now, context=ALL), planned)
    assert r.restart_needed(dataclasses.replace(now, default_context=None), planned)
    assert str(r.plan(seen(taken="it is a link"), r.RangeRequest(r.ABSENT)).refused) == "it is a link"
    assert r.plan(seen(), r.RangeRequest(r.ABSENT)) == r.RangePlan(None)


def test_without_the_drop_in_what_others_say_counts() -> None:
    files = other("/usr/lib/systemd/system/libvirtd.service.d/10-vendor.conf", f"-{VIRTD}c0.c99")
    now = seen(files=files, drop_in=written(), context=f"{VIRTD}c0.c99")
    assert not r.restart_needed(now, r.plan(now, r.RangeRequest(r.ABSENT)))


# -- repair ----------------------------------------------------------------------------------------------------------

REPAIR = r.RangeRequest(r.REPAIRED)


@pytest.mark.parametrize(
    "parts", [{}, {"drop_in": written()}, {"drop_in": written("c8.c20")}, {"daemon": None}, {"taken": "it is a link"}]
)
def test_what_is_as_it_was_written_needs_no_repair(parts: dict[str, t.Any]) -> None:
    planned = r.plan(seen(**parts), REPAIR)
    assert (planned.text, planned.refused) == (parts.get("drop_in"), None)


@pytest.mark.parametrize(
    "drop_in",
    [
        written().replace("s0-s0:c0.c31\n", "s0-s0:c0.c5\n"),
        written().replace("s0-s0:c0.c31\n", "s0-s0:c0.c1023\n"),
        written().replace("virtd_t", "initrc_t"),
        written() + "SELinuxContext=\n",
        written() + "User=nobody\n",
        written().replace("[Service]", "[Unit]"),
    ],
)
def test_what_somebody_changed_is_written_anew(drop_in: str) -> None:
    assert r.plan(seen(drop_in=drop_in, guests=r.DrawingGuests(0, 0)), REPAIR).text == written()


def test_a_drop_in_that_lost_its_range_is_reported() -> None:
    drop_in = f"[Service]\nSELinuxContext={VIRTD}c0.c5\n"
    planned = r.plan(seen(drop_in=drop_in), REPAIR)
    assert planned.refused is not None
    assert (planned.text, planned.refused.code) == (drop_in, "range_not_recorded")
    assert r.recorded("# range: c0.c5\n") is None
    assert r.recorded("# range: c0.c31\n# range: c0.c63\n") is None
    assert r.recorded("# range: c1000.c1024\n") is None


# -- guests ----------------------------------------------------------------------------------------------------------


def labelled(uuid: str, type_: str, **parts: t.Any) -> s.Guest:
    labels = [s.SecLabel("selinux", type_, label="x" if type_ == "static" else None)]
    return guest(uuid, "s0:c1,c2", live=labels, persistent_labels=labels, **parts)


def test_guests_that_draw_are_counted() -> None:
    guests = [
        labelled("a", "dynamic"),
        labelled("b", "static"),
        labelled("c", "dynamic", active=False),
        labelled("d", "dynamic", kind="lxc"),
    ]
    assert r.drawing_guests(host("kvm1", guests)) == (r.DrawingGuests(1, 2), "")


def test_with_libvirt_down_every_qemu_counts() -> None:
    one = host("kvm1", processes=[s.Process(1, "qemu"), s.Process(2, "swtpm")])
    one.coverage["guests"] = s.Coverage(s.UNKNOWN, "libvirt is down")
    assert r.drawing_guests(one) == (r.DrawingGuests(1, None), "")
    one.coverage["processes"] = s.Coverage(s.UNKNOWN, "not root")
    assert r.drawing_guests(one) == (None, "libvirt is down")


def test_ranges_in_words() -> None:
    assert r.drawn_from(None) is None
    assert r.drawn_from(ALL) == "c0.c1023"
    assert r.drawn_from(f"{VIRTD}c5") == "No category range available"
