# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux contexts, levels and category sets, and dominance between them.

Labels are compared as sets, never as text: ``s0:c2,c1``, ``s0:c1,c2`` and ``s0:c1.c2`` are one level.
Only raw labels are understood. ``mcstransd`` may translate a level to a name such as ``SystemLow``; such a
name has no categories of its own, so it is refused.

Sources: SELinux MLS/MCS level grammar (sensitivity[:category-set][-sensitivity[:category-set]]); the kernel's
own output joins a run of three or more categories with a dot.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import functools
import re
import typing as t
from dataclasses import dataclass

from ..errors import LabelError

#: Highest category that MCS policies define (c0 to c1023).
MAX_CATEGORY = 1023
#: A context longer than this cannot come from a kernel (whose bound is one page).
MAX_TEXT = 4096

_CATEGORY = re.compile(r"c(0|[1-9][0-9]{0,4})\Z")
_SENSITIVITY = re.compile(r"s(0|[1-9][0-9]{0,3})\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


@dataclass(frozen=True)
class CategorySet:
    """A set of categories, held as a bit mask: bit n is category n."""

    mask: int = 0

    @classmethod
    def of(cls, categories: t.Iterable[int]) -> CategorySet:
        """The set of these category numbers (0 to 1023). Raises LabelError for any other number."""
        mask = 0
        for category in categories:
            if not 0 <= category <= MAX_CATEGORY:
                raise LabelError(f"category c{category} is outside c0 to c{MAX_CATEGORY}", "category_out_of_range")
            mask |= 1 << category
        return cls(mask)

    def dominates(self, other: CategorySet) -> bool:
        """True when this set is a superset of the other, equality included."""
        return self.mask & other.mask == other.mask

    def __hash__(self) -> int:
        # Python's hash of a whole number repeats with the bits' places modulo 61: the half million pairs of categories
        # would have less than 2,000 hashes, and a dictionary of a fleet's labels would take quadratic time.
        return hash(self.mask.to_bytes((self.mask.bit_length() + 7) // 8, "big"))

    def __iter__(self) -> t.Iterator[int]:
        rest = self.mask
        while rest:
            lowest = rest & -rest
            yield lowest.bit_length() - 1
            rest ^= lowest

    def __len__(self) -> int:
        return bin(self.mask).count("1")  # int.bit_count() came with Python 3.10; targets may have 3.9

    def __str__(self) -> str:
        """The kernel's way to write the set: ascending, a run of three or more joined by a dot."""
        parts: list[str] = []
        for first, last in _runs(self):
            if last - first >= 2:
                parts.append(f"c{first}.c{last}")
            else:
                parts.extend(f"c{number}" for number in range(first, last + 1))
        return ",".join(parts)


def _runs(numbers: t.Iterable[int]) -> t.Iterator[tuple[int, int]]:
    first = last = -2
    for number in numbers:
        if number == last + 1:
            last = number
            continue
        if first >= 0:
            yield first, last
        first = last = number
    if first >= 0:
        yield first, last


@dataclass(frozen=True)
class Level:
    """One MLS level: a sensitivity (0 for ``s0``) and its categories."""

    sensitivity: int
    categories: CategorySet

    def dominates(self, other: Level) -> bool:
        """True when the sensitivity is as high and the categories are a superset."""
        return self.sensitivity >= other.sensitivity and self.categories.dominates(other.categories)

    def __str__(self) -> str:
        return f"s{self.sensitivity}:{self.categories}" if self.categories.mask else f"s{self.sensitivity}"


@dataclass(frozen=True)
class Context:
    """A whole label: user, role, type and the range from low to high (equal for most labels)."""

    user: str
    role: str
    type: str
    low: Level
    high: Level

    @property
    def categories(self) -> CategorySet:
        """The categories that decide reach: those of the high level, as the MCS constraints use it (h1 dom h2)."""
        return self.high.categories

    @property
    def range(self) -> str:
        """The range in canonical form, ``s0:c1,c2`` or ``s0-s0:c0.c1023``."""
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"

    def __str__(self) -> str:
        return f"{self.user}:{self.role}:{self.type}:{self.range}"


def parse_categories(text: str) -> CategorySet:
    """Read ``c1,c5.c7``, in any order; an empty text is the empty set. Raises LabelError."""
    _bounded(text, "category set")
    mask = 0
    for part in text.split(",") if text else []:
        first, dot, last = part.partition(".")
        low = _category(first, text)
        high = _category(last, text) if dot else low
        if high < low:
            why = f"category set {text!r}: {part!r} runs backwards; write the lower category first"
            raise LabelError(why, "category_order")
        mask |= (1 << (high + 1)) - (1 << low)
    return CategorySet(mask)


def parse_level(text: str) -> Level:
    """Read one level, ``s0`` or ``s0:c1,c2``. Raises LabelError, for translated names too."""
    _bounded(text, "level")
    sensitivity, colon, categories = text.partition(":")
    match = _SENSITIVITY.match(sensitivity)
    if match is None:
        raise LabelError(
            f"level {text!r} does not start with a sensitivity such as s0; if mcstransd translated it to a name, "
            "read the raw label instead (the security.selinux xattr, /proc/PID/attr/current)",
            "level_malformed",
        )
    if colon and not categories:
        raise LabelError(f"level {text!r} ends with a colon; leave it out or name the categories", "level_malformed")
    return Level(int(match.group(1)), parse_categories(categories))


def parse_range(text: str) -> tuple[Level, Level]:
    """Read ``LOW`` or ``LOW-HIGH``; the high level must dominate the low one. Raises LabelError."""
    _bounded(text, "range")
    low_text, dash, high_text = text.partition("-")
    low = parse_level(low_text)
    high = parse_level(high_text) if dash else low
    if not high.dominates(low):
        why = f"range {text!r}: the high level {high} does not dominate the low level {low}"
        raise LabelError(why, "range_order")
    return low, high


def parse_context(text: str) -> Context:
    """Read ``user:role:type:range`` as the kernel gives it (a closing NUL or newline is dropped).

    Raises LabelError for a context without a range (no MLS in the policy) and for translated ranges.
    """
    _bounded(text, "label")
    text = text.rstrip("\0\n")
    parts = text.split(":", 3)
    if len(parts) < 4:
        why = f"label {text!r} has no level; expected user:role:type:level, so the policy may lack MCS"
        raise LabelError(why, "level_missing")
    user, role, type_, range_ = parts
    for name in (user, role, type_):
        if not _NAME.match(name):
            raise LabelError(f"label {text!r}: {name!r} is not an SELinux identifier", "identifier_malformed")
    low, high = parse_range(range_)
    return Context(user, role, type_, low, high)


def canonical_level(text: str) -> str:
    """One way to write a level or range: sorted, runs folded. Raises LabelError."""
    low, high = parse_range(text)
    return str(low) if low == high else f"{low}-{high}"


def type_of(label: str) -> str | None:
    """The type of a label, or None when the text is no label. Works without MCS and with translated levels."""
    parts = label.rstrip("\0\n").split(":", 3)
    return parts[2] if len(parts) >= 3 and _NAME.match(parts[2]) else None


def reaches(process: Context, target: Context, constrained: bool) -> bool:
    """Whether category separation lets the process at the object: always, when its type is not constrained.

    This is the MCS half of the decision only. Type enforcement is the loaded policy's business.
    """
    return not constrained or process.high.dominates(target.high)


def _category(text: str, whole: str) -> int:
    match = _CATEGORY.match(text)
    if match is None:
        raise LabelError(f"category set {whole!r}: {text!r} is not a category such as c17", "category_malformed")
    number = int(match.group(1))
    if number > MAX_CATEGORY:
        why = f"category set {whole!r}: c{number} is outside c0 to c{MAX_CATEGORY}"
        raise LabelError(why, "category_out_of_range")
    return number


def _bounded(text: str, what: str) -> None:
    if len(text) > MAX_TEXT:
        why = f"{what} of {len(text)} characters starting {text[:40]!r} is longer than {MAX_TEXT}"
        raise LabelError(why, "too_long")


@functools.lru_cache(maxsize=4096)  # several rules read each label, and many files have the same
def read_context(label: str | None) -> Context | None:
    """A label as a context, or None where it was not read or is none."""
    if not label:
        return None
    try:
        return parse_context(label)
    except LabelError:
        return None


def unreadable(label: str | None, what: str) -> str:
    """Why ``read_context`` gave None."""
    if not label:
        return f"{what} could not be read"
    try:
        parse_context(label)
    except LabelError as error:
        return f"{what}: {error}"
    return ""
