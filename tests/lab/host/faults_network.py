# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of guests' network interfaces. The guests are off: rules in ebtables make restarts of the daemon slow."""

from __future__ import annotations

import re
from pathlib import Path

from . import virt
from .domains import Guest
from .faults_guest import add_guest, local
from .journal import Journal
from .registry import fault

_FILTER = "clean-traffic"
_ADDRESS = "<parameter name='IP' value='10.78.0.99'/>"


def card(mac: str, filterref: str = "") -> str:
    """A card on the lab's bridge, with the address that the finding names."""
    return (
        f"<interface type='bridge'><mac address='{mac}'/><source bridge='br-lab'/><model type='virtio'/>"
        f"<rom enabled='no'/>{filterref}</interface>"
    )


def _off_guest(journal: Journal, name: str, device: str) -> None:
    add_guest(journal, Guest(name, local(name), running=False, devices=device))


@fault(
    "network-filter-missing",
    "a powered-off guest with a card on the bridge and no network filter",
    "guest open-wire",
    expects=(("NET-001", "interface 52:54:00:0e:00:01 of guest open-wire"),),
)
def _missing(journal: Journal, host: str) -> None:
    _off_guest(journal, "open-wire", card("52:54:00:0e:00:01"))


@fault(
    "network-filter-partial",
    "a powered-off guest whose network filter is a building block that stops forged MAC addresses only",
    "guest half-filtered",
    expects=(("NET-002", "interface 52:54:00:0e:00:02 of guest half-filtered"),),
)
def _partial(journal: Journal, host: str) -> None:
    _off_guest(journal, "half-filtered", card("52:54:00:0e:00:02", "<filterref filter='no-mac-spoofing'/>"))


@fault(
    "network-filter-weakened",
    "clean-traffic redefined without its protection of IP addresses, under a powered-off guest that relies on it",
    "guest believer",
    hosts=("kvm2",),  # on the other host a running guest uses the filter, and one more fault goes by it
    expects=(("NET-002", "interface 52:54:00:0e:00:03 of guest believer"),),
)
def _weakened(journal: Journal, host: str) -> None:
    before = virt.filter_xml(_FILTER)
    weaker = re.sub(r"\s*<filterref filter='no-ip-spoofing'(?:/>|>.*?</filterref>)", "", before, flags=re.DOTALL)
    if weaker == before:
        raise RuntimeError(f"{_FILTER} does not refer to no-ip-spoofing: {before}")
    _off_guest(journal, "believer", card("52:54:00:0e:00:03", f"<filterref filter='{_FILTER}'>{_ADDRESS}</filterref>"))
    journal.file(Path("/etc/libvirt/nwfilter") / f"{_FILTER}.xml")  # as the distribution wrote it; taken back last
    journal.add("define_filter", xml=before)
    virt.define_filter(weaker)


@fault(
    "network-filter-no-address",
    "a powered-off guest with clean-traffic that neither has an address nor says how to learn it",
    "guest nameless",
    hosts=("kvm1",),
    expects=(("NET-003", "interface 52:54:00:0e:00:04 of guest nameless"),),
)
def _no_address(journal: Journal, host: str) -> None:
    _off_guest(journal, "nameless", card("52:54:00:0e:00:04", f"<filterref filter='{_FILTER}'/>"))
