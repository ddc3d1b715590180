# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a finding of several needs: taking such a host away takes the finding away."""

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report_bounds import _needed
from hypothesis import example, given
from hypothesis import strategies as st

HOSTS = ("kvm1", "kvm2", "kvm3")
Entry = tuple[str, str, str]

entries = st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from("abcd"), st.sampled_from(("guests", "images"))))


def remains_without(host: str, found: list[Entry]) -> bool:
    """Two parties, and a guest among them, on other hosts."""
    others = [entry for entry in found if entry[0] != host]
    return len({party for _host, party, _name in others}) > 1 and any(
        name == "guests" for _host, _party, name in others
    )


@given(entries)
@example([("kvm1", "a", "guests"), ("kvm2", "a", "guests"), ("kvm2", "b", "guests")])
@example([("kvm1", "a", "guests"), ("kvm2", "b", "images"), ("kvm3", "c", "images")])
def test_needed_hosts_are_those_without_which_it_does_not_remain(found: list[Entry]) -> None:
    assert _needed(set(HOSTS), found) == {host for host in HOSTS if not remains_without(host, found)}
