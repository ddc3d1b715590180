# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a host: hands frames to a guest's network as if the guest had sent them, and prints which came out.

A ``filter-redirector`` is put on the guest's netdev while it runs. What comes through its socket goes where the frames
of the guest's card go: into the tap. On the other side a neighbour listens, a port of its own on the same bridge.

Each frame under test is followed by a frame that every filter lets pass. Once that has arrived, a frame that was not
seen was dropped: nothing is concluded from a wait alone.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import socket
import struct
import subprocess
import sys
import time

import libvirt
import libvirt_qemu

BRIDGE, PORT, NEIGHBOUR = "br-lab", "wire-port", "wire-ear"
NEIGHBOUR_MAC, NEIGHBOUR_IP = "52:54:00:77:00:01", "10.78.0.200"
FEED = "svirt-feed"
#: Seconds for one frame to come through.
PATIENCE = 30.0
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac_bytes(text: str) -> bytes:
    """An address as it is on the wire."""
    return bytes.fromhex(text.replace(":", ""))


def ethernet(source: str, target: str, kind: int, payload: bytes) -> bytes:
    """A whole frame."""
    return (mac_bytes(target) + mac_bytes(source) + struct.pack("!H", kind) + payload).ljust(60, b"\0")


def checksum(data: bytes) -> int:
    """The internet checksum."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(mac: str, address: str, mark: bytes) -> bytes:
    """A datagram to the neighbour."""
    datagram = struct.pack("!4H", 7777, 7777, 8 + len(mark), 0) + mark
    ends = socket.inet_aton(address) + socket.inet_aton(NEIGHBOUR_IP)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, socket.IPPROTO_UDP, 0) + ends
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return ethernet(mac, NEIGHBOUR_MAC, IPV4, head + datagram)


def arp(mac: str, sender_mac: str, sender_ip: str, mark: bytes) -> bytes:
    """A question for the neighbour's address, in which the sender states its own. The mark follows it."""
    ends = mac_bytes(sender_mac) + socket.inet_aton(sender_ip) + bytes(6) + socket.inet_aton(NEIGHBOUR_IP)
    return ethernet(mac, BROADCAST, ARP, struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + ends + mark)


def ipv6(mac: str, mark: bytes) -> bytes:
    """A datagram of the other protocol, from an address that nobody declared."""
    ends = socket.inet_pton(socket.AF_INET6, "fe80::78") + socket.inet_pton(socket.AF_INET6, "ff02::1")
    datagram = struct.pack("!4H", 7777, 7777, 8 + len(mark), 0) + mark
    return ethernet(
        mac, "33:33:00:00:00:01", IPV6, struct.pack("!IHBB", 6 << 28, len(datagram), 17, 1) + ends + datagram
    )


def level_of(guest: str) -> str:
    """The level that a guest's process runs at."""
    with open(f"/run/libvirt/qemu/{guest}.pid") as pid, open(f"/proc/{pid.read()}/attr/current") as label:
        return label.read().rstrip("\0\n").split(":", 3)[3]


def socket_at(level: str) -> socket.socket:
    """A socket with the level of a guest: what comes from another one, SELinux keeps from the guest's QEMU."""
    with open("/proc/thread-self/attr/current") as file:
        user, role, domain, _level = file.read().rstrip("\0\n").split(":", 3)
    with open("/proc/thread-self/attr/sockcreate", "w") as file:
        file.write(":".join((user, role, domain, level)))
    try:
        return socket.socket(socket.AF_UNIX)
    finally:
        with open("/proc/thread-self/attr/sockcreate", "w") as file:
            file.write("\n")  # as it was: sockets have the level of their process


class Feed:
    """The guest's side: frames go into its netdev."""

    def __init__(self, guest: str, netdev: str) -> None:
        self._domain = libvirt.open("qemu:///system").lookupByName(guest)
        folder = glob.glob(f"/var/lib/libvirt/qemu/domain-{self._domain.ID()}-*")[0]
        self._path = f"{folder}/{FEED}.sock"
        self._netdev = netdev
        self._socket = socket_at(level_of(guest))

    def __enter__(self) -> Feed:
        address = {"type": "unix", "data": {"path": self._path}}
        backend = {"type": "socket", "data": {"addr": address, "server": True, "wait": False}}
        self._ask("chardev-add", id=FEED, backend=backend)
        # "rx" is what the netdev receives from the card
        words = {"netdev": self._netdev, "queue": "rx", "indev": FEED}
        self._ask("object-add", **{"qom-type": "filter-redirector", "id": f"{FEED}-filter"}, **words)
        self._socket.connect(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        for command, name in (("object-del", f"{FEED}-filter"), ("chardev-remove", FEED)):
            with contextlib.suppress(RuntimeError, libvirt.libvirtError):
                self._ask(command, id=name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _ask(self, command: str, **arguments: object) -> None:
        words = json.dumps({"execute": command, "arguments": arguments})
        answer = json.loads(libvirt_qemu.qemuMonitorCommand(self._domain, words, 0))
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']}")

    def send(self, frame: bytes) -> None:
        """One frame, with its length before it, as QEMU wants it."""
        self._socket.sendall(struct.pack("!I", len(frame)) + frame)


class Neighbour:
    """The other side: a port on the bridge, and an ear on it."""

    def __init__(self) -> None:
        self._ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # every protocol
        self._ear.bind((NEIGHBOUR, 0))
        self._ear.settimeout(0.2)

    def hears(self, marks: set[bytes], last: bytes) -> set[bytes]:
        """Which of these came, when the last one has come. Raises RuntimeError when that does not come."""
        seen: set[bytes] = set()
        end = time.monotonic() + PATIENCE
        while last not in seen:
            if time.monotonic() > end:
                raise RuntimeError("not even the frame with the guest's own addresses came through")
            with contextlib.suppress(TimeoutError):
                frame = self._ear.recv(2048)
                seen |= {mark for mark in (*marks, last) if mark in frame}
        return seen


def put_up() -> None:
    """Give the bridge the neighbour's port."""
    ip("link", "add", PORT, "type", "veth", "peer", "name", NEIGHBOUR)
    for name in (PORT, NEIGHBOUR):
        with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as file:
            file.write("1")  # it says nothing by itself
    ip("link", "set", PORT, "master", BRIDGE, "up")
    ip("link", "set", NEIGHBOUR, "up")


def ip(*words: str) -> None:
    """iproute2."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def frames(own_mac: str, own_ip: str, marks: dict[str, bytes]) -> dict[str, bytes]:
    """Every frame under test by its name. What is called own is what the guest may send."""
    other_mac, other_ip = "52:54:00:66:66:66", "10.78.0.66"
    return {
        "own": udp(own_mac, own_ip, marks["own"]),
        "own arp": arp(own_mac, own_mac, own_ip, marks["own arp"]),
        "forged mac": udp(other_mac, own_ip, marks["forged mac"]),
        "forged ip": udp(own_mac, other_ip, marks["forged ip"]),
        "forged arp ip": arp(own_mac, own_mac, other_ip, marks["forged arp ip"]),
        "forged arp mac": arp(own_mac, other_mac, own_ip, marks["forged arp mac"]),
        "ipv6": ipv6(own_mac, marks["ipv6"]),
    }


NAMES = ("own", "own arp", "forged mac", "forged ip", "forged arp ip", "forged arp mac", "ipv6")


def pass_through(guest: str, netdev: str, own_mac: str, own_ip: str) -> list[str]:
    """Names of the frames that came out of the guest's tap."""
    marks = {name: secrets.token_bytes(12) for name in NAMES}
    ear, seen = Neighbour(), set()
    with Feed(guest, netdev) as feed:
        for name, frame in frames(own_mac, own_ip, marks).items():
            last = secrets.token_bytes(12)
            feed.send(frame)
            feed.send(udp(own_mac, own_ip, last))
            seen |= ear.hears({marks[name]}, last)
    return [name for name in NAMES if marks[name] in seen]


def learnt(guest: str, netdev: str, own_mac: str, own_ip: str) -> bool:
    """Let the guest speak with its own addresses until libvirt has learnt them. Raises RuntimeError."""
    end = time.monotonic() + 4 * PATIENCE
    with Feed(guest, netdev) as feed:
        while time.monotonic() < end:
            feed.send(udp(own_mac, own_ip, b"its own"))
            # Not by ebtables, which writes even when it is to list, and then meets libvirt at its work.
            rules = subprocess.run(
                ["nft", "list", "table", "bridge", "nat"], check=False, capture_output=True, text=True
            )
            if own_ip in rules.stdout.split():
                return True
            time.sleep(0.5)
    raise RuntimeError(f"no rule names {own_ip}:\n{rules.stdout[-2000:]}{rules.stderr}")


def may_watch() -> bool:
    """Whether the loaded policy lets libvirt's daemon map the memory in which the kernel shows it packets."""
    selinux = "/sys/fs/selinux"
    with open("/run/libvirtd.pid") as pid, open(f"/proc/{pid.read().strip()}/attr/current") as label:
        daemon = label.read().rstrip("\0\n")
    with (
        open(f"{selinux}/class/packet_socket/index") as index,
        open(f"{selinux}/class/packet_socket/perms/map") as number,
    ):
        question, bit = f"{daemon} {daemon} {index.read().strip()}", 1 << (int(number.read()) - 1)
    with open(f"{selinux}/access", "r+b", buffering=0) as access:
        access.write(question.encode())
        return bool(int(access.read().split()[0], 16) & bit)


def link(tap: str) -> dict[str, str]:
    """What would change if the link were touched."""
    facts = {}
    for name in ("ifindex", "carrier", "carrier_changes", "operstate", "flags"):
        with open(f"/sys/class/net/{tap}/{name}") as file:
            facts[name] = file.read().strip()
    facts["bridge"] = os.path.basename(os.readlink(f"/sys/class/net/{tap}/master"))
    return facts


def main(verb: str, *words: str) -> object:
    """``up`` and ``down`` the neighbour, ``frames`` and ``learnt`` GUEST NETDEV MAC IP, ``link`` TAP, ``may-watch``."""
    if verb == "up":
        return put_up()
    if verb == "down":
        return subprocess.run(["ip", "link", "delete", PORT], check=False, capture_output=True).returncode
    return {"link": link, "learnt": learnt, "frames": pass_through, "may-watch": may_watch}[verb](*words)


print(json.dumps(main(*sys.argv[1:])))
