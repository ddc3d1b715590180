# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A boot sector that keeps a disk busy and counts what goes wrong, for guests without a system.

It writes a pattern to some sectors through the BIOS (int 13h with linear addresses), reads it back, compares, and goes
on, eight sectors at a time, for ever. The pattern is new in each pass, so that a write that was lost is seen. After
each step it halts for some ticks of the BIOS's timer (18 a second): that leaves an emulated host time for others.

The counters are four little-endian words of 32 bits at COUNTERS in the guest's memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

ORIGIN, COUNTERS, BUFFER = 0x7C00, 0x7E00, 0x8000
#: Addresses of the counters: whole passes, calls that failed, sectors that came back wrong, steps of eight sectors.
PASSES, FAILED, WRONG, STEPS = (COUNTERS + 4 * index for index in range(4))
FIRST, LAST, AT_ONCE = 64, 64 + 128, 8
#: How often it halts after a step, each time until the next interrupt.
HALTS = 4
_WRITE, _READ = 0x43, 0x42


@dataclass(frozen=True)
class Counters:
    """What the program has counted."""

    passes: int
    failed: int
    wrong: int
    steps: int

    @property
    def clean(self) -> bool:
        """No error so far."""
        return self.failed == 0 and self.wrong == 0


class _Assembler:
    """Bytes with labels: those that are jumped to, and those whose address stands in an instruction."""

    def __init__(self) -> None:
        self._code = bytearray()
        self._labels: dict[str, int] = {}
        self._short: list[tuple[int, str]] = []
        self._near: list[tuple[int, str]] = []
        self._addresses: list[tuple[int, str]] = []

    def label(self, name: str) -> None:
        self._labels[name] = len(self._code)

    def put(self, code: str, *parts: bytes | str) -> None:
        """Hexadecimal code, then bytes as they are; a word among them is a label, for its address."""
        self._code += bytes.fromhex(code)
        for part in parts:
            if isinstance(part, str):
                self._addresses.append((len(self._code), part))
                self._code += bytes(2)
            else:
                self._code += part

    def jump(self, code: str, name: str) -> None:
        """A jump of one byte's reach."""
        self._code += bytes.fromhex(code) + bytes(1)
        self._short.append((len(self._code), name))

    def call(self, name: str) -> None:
        self._code += bytes.fromhex("e8") + bytes(2)
        self._near.append((len(self._code), name))

    def sector(self) -> bytes:
        """The code with its labels filled in, and the mark by which a BIOS knows that it may be booted."""
        for after, name in self._short:
            self._code[after - 1 : after] = struct.pack("<b", self._labels[name] - after)
        for after, name in self._near:
            self._code[after - 2 : after] = struct.pack("<h", self._labels[name] - after)
        for place, name in self._addresses:
            self._code[place : place + 2] = struct.pack("<H", ORIGIN + self._labels[name])
        if len(self._code) > 510:
            raise ValueError(f"{len(self._code)} bytes do not fit into a boot sector")
        return bytes(self._code).ljust(510, b"\0") + b"\x55\xaa"


def _word(value: int) -> bytes:
    return struct.pack("<H", value)


def _double(value: int) -> bytes:
    return struct.pack("<I", value)


def boot_sector() -> bytes:
    """The program. Its numbers are in hexadecimal, the instruction they are stands beside them."""
    a = _Assembler()
    a.put("fa 31c0 8ed8 8ec0 8ed0")  # cli; ax, ds, es, ss = 0
    a.put("bc", _word(ORIGIN))  # mov sp, ORIGIN: the stack grows down from the program
    a.put("fb fc")  # sti; cld
    a.put("bf", _word(COUNTERS))  # mov di, COUNTERS
    a.put("b9 0800 f3ab")  # mov cx, 8; rep stosw: all counters are 0

    a.label("pass")
    a.put("66c706", "sector", _double(FIRST))  # mov dword [sector], FIRST

    a.label("step")
    _pattern(a)
    a.put("66f3ab")  # rep stosd: the buffer is full of it
    a.put("b4", bytes([_WRITE]))  # mov ah, WRITE
    a.call("disk")
    a.put("6631c0")  # xor eax, eax
    _buffer(a)
    a.put("66f3ab")  # rep stosd: nothing of it is left in the buffer
    a.put("b4", bytes([_READ]))  # mov ah, READ
    a.call("disk")
    _pattern(a)
    a.put("66f3af")  # repe scasd: compare
    a.jump("74", "same")  # je same
    a.put("66ff06", _word(WRONG))  # inc dword [WRONG]
    a.label("same")
    a.put("66ff06", _word(STEPS))  # inc dword [STEPS]
    a.put("fb b9", _word(HALTS))  # sti; mov cx, HALTS
    a.label("idle")
    a.put("f4")  # hlt
    a.jump("e2", "idle")  # loop idle
    a.put("668306", "sector", bytes([AT_ONCE]))  # add dword [sector], AT_ONCE
    a.put("66813e", "sector", _double(LAST))  # cmp dword [sector], LAST
    a.jump("72", "step")  # jb step
    a.put("66ff06", _word(PASSES))  # inc dword [PASSES]
    a.jump("eb", "pass")  # jmp pass

    a.label("disk")  # what is asked for is in ah
    a.put("c706", "count", _word(AT_ONCE))  # mov word [count], AT_ONCE: a call that fails leaves 0 there
    a.put("b000 b280")  # mov al, 0 (do not verify); mov dl, 80h (the first disk)
    a.put("be", "packet")  # mov si, packet
    a.put("cd13")  # int 13h
    a.jump("73", "done")  # jnc done
    a.put("66ff06", _word(FAILED))  # inc dword [FAILED]
    a.label("done")
    a.put("c3")  # ret

    a.label("packet")  # what int 13h shall do: its size, how many sectors, where the data is, and where on the disk
    a.put("1000")
    a.label("count")
    a.put("", _word(AT_ONCE), _word(BUFFER), _word(0))
    a.label("sector")
    a.put("", _double(FIRST), _double(0))
    return a.sector()


def _pattern(a: _Assembler) -> None:
    """eax = what this pass writes to this sector; di and cx are the buffer."""
    a.put("66a1", _word(PASSES))  # mov eax, [PASSES]
    a.put("660306", "sector")  # add eax, [sector]
    a.put("6605", _double(0x5EC70000))  # add eax, so that it is never 0
    _buffer(a)


def _buffer(a: _Assembler) -> None:
    a.put("bf", _word(BUFFER))  # mov di, BUFFER
    a.put("b9", _word(AT_ONCE * 512 // 4))  # mov cx, its double words


def counters_of(dump: str) -> Counters:
    """The counters as ``xp /4wx`` of QEMU's monitor prints them."""
    return Counters(*_words(dump))


def _words(dump: str) -> Iterator[int]:
    for line in dump.strip().splitlines():
        yield from (int(word, 16) for word in line.partition(":")[2].split())
