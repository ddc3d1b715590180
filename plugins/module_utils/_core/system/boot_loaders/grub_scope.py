# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of GRUB's shell, and the entries that a script makes with them.

A variable may have several values, where it depends on a condition that is decided at boot. What only GRUB knows, and
what nothing that was read assigns, is unknown: its name stands in the text between two marks.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import itertools
import posixpath
import re
import typing as t
from dataclasses import dataclass, field, replace

from .grub_script import (
    MENUS,
    Script,
    ScriptCommand,
    ScriptFunction,
    ScriptIf,
    ScriptLoop,
    ScriptNode,
    ScriptWord,
    literal,
    plain,
)

#: Around the name of an unknown variable: a surrogate that no file's text decodes to.
MARK = "\ud800"
_MARKED = re.compile(f"{MARK}([^{MARK}]*){MARK}")
_REFERENCE = re.compile(r"\$\{(\w+)\}|\$(\w+)")

#: Variables that distributions name in entries and assign only where a feature is in use: GRUB reads them as empty.
_OPTIONAL = frozenset(("tuned_params", "tuned_initrd", "extra_cmdline", "vt_handoff", "early_initrd", "grub_users"))
#: Variables that GRUB assigns, or that modules of it do.
_OF_GRUB = re.compile(
    r"(?:root|prefix|cmdpath|chosen|timeout|lang|gfx\w*|config_\w+|fw_path|color_\w+|menu_\w+|default|fallback"
    r"|grub_(?:cpu|platform)|feature_\w+|net_\w+|pxe_\w+|secure_boot|shim_lock|lockdown|match|[0-9]+|[?*@#])\Z"
)
#: Where the files are that are read beside a grub.cfg.
_OWN_FOLDER = re.compile(r"(?:\$\{(?:prefix|config_directory)\}|/boot/grub2?|/\.snapshots)/[^/]+\Z")
_KERNELS = frozenset(("linux", "linux16", "linuxefi", "linux_xen"))
#: Under Xen the kernel is a module of the hypervisor, as its initrd is.
_MODULES = frozenset(("module", "module2"))
#: Commands that run another text.
_SOURCES = frozenset(("source", ".", "eval"))
#: Commands that go on with another menu; that of another boot loader is not read.
_MENUS_OF_OTHERS = frozenset(
    """
    legacy_configfile legacy_source syslinux_configfile syslinux_source extract_entries_configfile
    extract_entries_source extract_legacy_entries_configfile extract_legacy_entries_source
    extract_syslinux_entries_configfile extract_syslinux_entries_source
    """.split()
)
#: Options that name the variable which a command assigns.
_ASSIGNING = frozenset("search probe regexp smbios rdmsr cpuid read stat hwmatch".split())

_MAX_VALUES = 8
_MAX_LENGTH = 65536
_MAX_STEPS = 200_000
_MAX_CALLS = 12
_MAX_EXPANSIONS = 6

#: The values that a variable may have.
Values = frozenset[str]


def unknown(name: str) -> Values:
    """The value of a variable that is not known."""
    return frozenset((f"{MARK}{name}{MARK}",))


def unknown_names(text: str) -> list[str]:
    """Names of the unknown variables in a text."""
    return list(dict.fromkeys(_MARKED.findall(text)))


def without_unknown(text: str) -> str:
    """The text without its unknown variables."""
    return " ".join(_MARKED.sub("", text).split())


@dataclass(frozen=True)
class GrubLine:
    """A command that loads a kernel, in an entry."""

    #: Titles of the submenus and of the entry.
    titles: tuple[str, ...]
    kernel: str
    #: The texts that its arguments may be.
    arguments: tuple[str, ...]
    #: Words of the menuentry command: title, classes, id.
    words: tuple[str, ...] = ()
    #: File with the entry, and its place there.
    source: str = ""
    at: int = 0


class GrubTooComplexError(Exception):
    """A script runs longer than it is followed."""


@dataclass(repr=False, eq=False)
class GrubScope:
    """Variables of one run of GRUB's shell, and what the run came upon."""

    values: dict[str, Values] = field(default_factory=dict)
    #: Names that submenus see.
    exported: set[str] = field(default_factory=set)
    functions: dict[str, tuple[ScriptNode, ...]] = field(default_factory=dict)
    #: Values of the environment block, which load_env loads.
    environment: dict[str, Values] = field(default_factory=dict)
    #: Files that may be sourced, by their path.
    sources: dict[str, Script] = field(default_factory=dict)
    #: Whether a file is there, by its name.
    exists: dict[str, bool] = field(default_factory=dict)
    #: The file that is run.
    source: str = ""
    problems: list[str] = field(default_factory=list)
    #: Menu entries, each with its file.
    menu: list[tuple[str, ScriptCommand]] = field(default_factory=list)
    #: The values when blscfg ran; None where it did not.
    at_blscfg: dict[str, Values] | None = None
    lines: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    #: Commands that load a kernel and were run, by identity.
    loaded: set[int] = field(default_factory=set)
    _steps: int = 0
    _calls: int = 0

    def fresh(self, source: str) -> GrubScope:
        """A scope for another text, with the same files beside it."""
        return GrubScope(
            dict(self.environment),
            environment=self.environment,
            sources=self.sources,
            exists=self.exists,
            source=source,
        )

    # -- values

    def value(self, name: str) -> Values:
        """The values that an entry sees."""
        if name in self.values:
            return self.values[name]
        return frozenset(("",)) if name in _OPTIONAL else unknown(name)

    def _tested(self, name: str) -> Values:
        """The values that a condition sees: a variable that nothing assigned is empty, unless it is GRUB's own."""
        if name in self.values:
            return self.values[name]
        return unknown(name) if _OF_GRUB.match(name) else frozenset(("",))

    def expand(self, word: ScriptWord, look: t.Callable[[str], Values] | None = None) -> Values:
        """The texts that a word may be."""
        if len(word) == 1 and not word[0].variable:
            return frozenset((word[0].text,))
        look = look or self.value
        return _product([look(part.text) if part.variable else frozenset((part.text,)) for part in word])

    def expand_text(self, text: str) -> tuple[str, ...]:
        """The texts that a snippet's value may be: blscfg expands it, and the shell that runs the entry once more."""
        texts: set[str] = {text}
        for _number in range(_MAX_EXPANSIONS):
            if not any(_REFERENCE.search(item) for item in texts):
                break
            expanded: set[str] = set()
            for item in texts:
                expanded |= self._expand_once(item)
            texts = expanded if len(expanded) <= _MAX_VALUES else set(unknown("several"))
        else:
            texts = {_REFERENCE.sub(lambda match: f"{MARK}{match[1] or match[2]}{MARK}", item) for item in texts}
        return tuple(sorted(texts))

    def _expand_once(self, text: str) -> Values:
        parts: list[Values] = []
        rest = 0
        for match in _REFERENCE.finditer(text):
            parts += [frozenset((text[rest : match.start()],)), self.value(match[1] or match[2])]
            rest = match.end()
        return _product([*parts, frozenset((text[rest:],))])

    def assign(self, name: str, values: Values) -> None:
        """Give a variable its values."""
        self.values[name] = values if len(values) <= _MAX_VALUES else unknown(name)

    # -- running

    def run(self, nodes: t.Iterable[ScriptNode]) -> bool | None:
        """Run commands; returns whether the last one succeeded, None: not known. Raises GrubTooComplexError."""
        status: bool | None = True
        for node in nodes:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise GrubTooComplexError
            if isinstance(node, ScriptCommand):
                status = self._command(node)
            elif isinstance(node, ScriptIf):
                self._if(node)
                status = None
            elif isinstance(node, ScriptLoop):
                self._loop(node)
                status = None
            else:
                self._define(node)
        return status

    def _define(self, node: ScriptFunction) -> None:
        self.functions[node.name] = node.body

    def _if(self, node: ScriptIf) -> None:
        """Run the branch whose condition holds; where that is not known, every branch that may be run."""
        ends: list[dict[str, Values]] = []
        for condition, body in node.branches:
            holds = self.run(condition) if condition else True
            if holds is False:
                continue
            before = dict(self.values)
            self.run(body)
            ends.append(self.values)
            if holds:
                break
            self.values = before
        else:
            ends.append(self.values)
        self.values = _joined(ends)

    def _loop(self, node: ScriptLoop) -> None:
        """Run the body once; variables that change in it have values that are not known."""
        before = dict(self.values)
        if node.variable:
            self.assign(node.variable, unknown(node.variable))
        else:
            self.run(node.condition)
        self.run(node.body)
        for name, values in self.values.items():
            if before.get(name) != values:
                self.values[name] = unknown(name)

    def _command(self, node: ScriptCommand) -> bool | None:
        words = node.words
        if not words:  # a block in braces by itself
            return self.run(node.body or ())
        name = literal(words[0])
        assigned = _assignment(words[0]) if len(words) == 1 else None
        if node.body is not None and name in MENUS:
            self.menu.append((self.source, node))
        elif node.body is not None:
            self.run(node.body)
        elif name == "set" and len(words) > 1:
            assigned = _assignment(words[1])
        if assigned:
            self.assign(assigned[0], self.expand(assigned[1]))
            return True
        if name in ("[", "test", "!", "true", "false"):
            return self._condition(words)
        if name in self.functions:
            return self._call(name, words)
        if _loads_kernel(node) or ("$" in name and len(words) > 1 and _KERNELS & self.expand(words[0])):
            self.loaded.add(id(node))
            self._kernel(words)
        return self._builtin(name, words)

    def _builtin(self, name: str, words: tuple[ScriptWord, ...]) -> bool | None:
        rest = [literal(word) for word in words[1:]]
        if name == "load_env":
            self._load_env(rest)
        elif name == "export":
            self.exported.update(item.partition("=")[0] for item in rest)
        elif name == "unset":
            self.values.update((item, frozenset(("",))) for item in rest)
        elif name == "blscfg":
            self.at_blscfg = _joined([dict(self.values), *([self.at_blscfg] if self.at_blscfg is not None else [])])
        elif name in _SOURCES or (name == "configfile" and _is_menu_here(rest)):
            self._source(words)
        elif name in _MENUS_OF_OTHERS:
            self._doubt(f"{name} runs {' '.join(rest)[:100]}, which was not read")
        elif name == "return":
            self._doubt("a function or a text returns before its end, which is not followed")
        elif name in _ASSIGNING:
            self._assigning(name, rest)
        return None

    def _assigning(self, name: str, rest: list[str]) -> None:
        names = [item for item in rest if re.fullmatch(r"\w+", item)] if name in ("read", "hwmatch") else []
        for item, following in zip(rest, [*rest[1:], ""]):
            if item.startswith("--set"):
                names.append((item.partition("=")[2] or following).rpartition(":")[2] or "root")
        self.values.update((target, unknown(target)) for target in (*names, "match"))

    def _kernel(self, words: tuple[ScriptWord, ...]) -> None:
        kernel = sorted(self.expand(words[1]))[0]
        texts = _product([_spaced(self.expand(word), word) for word in words[2:]], " ")
        self.lines.append((kernel, tuple(sorted(texts))))

    def _load_env(self, rest: list[str]) -> None:
        path = next((item for option, item in zip(rest, rest[1:]) if option in ("-f", "--file")), "grubenv")
        names = [item for item in rest if re.fullmatch(r"\w+", item) and item != path]
        if posixpath.basename(path) != "grubenv":
            self._doubt(f"load_env reads {path}, which was not read")
            return
        for name, values in self.environment.items():
            if not names or name in names:
                self.assign(name, values)

    def _source(self, words: tuple[ScriptWord, ...]) -> None:
        path = literal(words[1]) if len(words) > 1 else ""
        name = posixpath.basename(path) if _OWN_FOLDER.match(path) else path
        others = [other for other in self.sources if posixpath.basename(other) == name]
        beside = [other for other in others if posixpath.dirname(other) == posixpath.dirname(self.source)]
        if others and self._calls < _MAX_CALLS:
            above = self.source
            self._calls += 1
            for other in beside or others:
                self.source = other
                self.run(self.sources[other].nodes)
            self._calls -= 1
            self.source = above
        elif self.exists.get(name, True):
            self._doubt(f"{literal(words[0])} runs {path[:100]}, which was not read")

    def _doubt(self, problem: str) -> None:
        if problem not in self.problems and len(self.problems) < _MAX_VALUES:
            self.problems.append(problem)

    def _call(self, name: str, words: tuple[ScriptWord, ...]) -> bool | None:
        if self._calls >= _MAX_CALLS:
            raise GrubTooComplexError
        self._calls += 1
        kept = {key: self.values.get(key) for key in map(str, range(1, 10))}
        for number, word in enumerate(words[1:10], 1):
            self.assign(str(number), self.expand(word))
        status = self.run(self.functions[name])
        for key, values in kept.items():
            if values is None:
                self.values.pop(key, None)
            else:
                self.values[key] = values
        self._calls -= 1
        return status

    # -- conditions

    def _condition(self, words: tuple[ScriptWord, ...]) -> bool | None:
        name = literal(words[0])
        if name in ("true", "false"):
            return name == "true"
        if name == "!":
            return _not(self._condition(words[1:])) if len(words) > 1 else None
        last = words[-1] if name == "[" else ()
        return self._test(list(words[1:-1] if last and plain(last) == "]" else words[1:]))

    def _test(self, words: list[ScriptWord]) -> bool | None:
        """GRUB's test: ``-o`` between ``-a`` between primaries."""
        for operator, combine in (("-o", _or), ("-a", _and)):
            places = [number for number, word in enumerate(words) if number and plain(word) == operator]
            if places:
                return combine(self._test(words[: places[0]]), self._test(words[places[0] + 1 :]))
        if words and plain(words[0]) == "!":
            return _not(self._test(words[1:]))
        if len(words) == 1:
            return _not(_equal(self._texts(words[0]), frozenset(("",))))
        if len(words) == 2:
            return self._unary(plain(words[0]), words[1])
        if len(words) == 3 and plain(words[1]) in ("=", "==", "!="):
            same = _equal(self._texts(words[0]), self._texts(words[2]))
            return _not(same) if plain(words[1]) == "!=" else same
        return False if not words else None

    def _unary(self, operator: str, word: ScriptWord) -> bool | None:
        if operator in ("-z", "-n"):
            empty = _equal(self._texts(word), frozenset(("",)))
            return empty if operator == "-z" else _not(empty)
        path = literal(word)
        if operator in ("-f", "-s", "-e") and _OWN_FOLDER.match(path):
            return self.exists.get(posixpath.basename(path))
        return None

    def _texts(self, word: ScriptWord) -> Values:
        return self.expand(word, self._tested)

    # -- entries

    def entries(self) -> t.Iterator[GrubLine]:
        """The commands that load kernels, in all entries. Run the script first."""
        for kernel, arguments in self.lines:
            yield GrubLine((), kernel, arguments, source=self.source)
        for source, node in self.menu:
            yield from self._entry(source, node, ())

    def _entry(self, source: str, node: ScriptCommand, above: tuple[str, ...]) -> t.Iterator[GrubLine]:
        words = tuple(_MARKED.sub("", sorted(self.expand(word))[0]) for word in node.words)
        titles = (*above, words[1] if len(words) > 1 else "")
        inner = replace(self, values=dict(self.values), functions=dict(self.functions), lines=[], menu=[])
        inner.exported = set(self.exported)
        inner.source = source
        if literal(node.words[0]) == "submenu":
            inner.values = {name: self._in_submenu(name) for name in self.values}
        inner.run(node.body or ())
        for kernel, arguments in inner.lines:
            yield GrubLine(titles, kernel, arguments, words, source, node.at)
        for place, item in inner.menu:
            yield from inner._entry(place, item, titles)
        self._steps = inner._steps

    def missed(self, nodes: t.Iterable[ScriptNode]) -> bool:
        """Whether a command that loads a kernel was not run: it may be, by what is not known here."""
        for node in nodes:
            if isinstance(node, ScriptCommand):
                inner: t.Iterable[ScriptNode] = node.body or ()
                if _loads_kernel(node) and id(node) not in self.loaded:
                    return True
            elif isinstance(node, ScriptIf):
                inner = [item for condition, body in node.branches for item in (*condition, *body)]
            elif isinstance(node, ScriptLoop):
                inner = (*node.condition, *node.body)
            else:
                inner = node.body
            if self.missed(inner):
                return True
        return False

    def _in_submenu(self, name: str) -> Values:
        """A submenu sees exported variables only; others are empty there."""
        values = self.values[name]
        return values if name in self.exported else values | {""}


def _is_menu_here(rest: list[str]) -> bool:
    """Whether ``configfile`` goes on with a menu that may be this host's and is none of its grub.cfg."""
    path = rest[0] if rest else ""
    return not path.startswith("(loop") and posixpath.basename(path) != "grub.cfg"


def _loads_kernel(node: ScriptCommand) -> bool:
    """Whether a command loads a kernel; its name may be a variable, as in grub.cfg of SUSE and for Xen."""
    if len(node.words) < 2:
        return False
    name = literal(node.words[0])
    variable = name in _MODULES or any(part.variable for part in node.words[0])
    return name in _KERNELS or (variable and "vmlinu" in literal(node.words[1]))


def _assignment(word: ScriptWord) -> tuple[str, ScriptWord] | None:
    """Name and value of ``NAME=value``."""
    if not word or word[0].variable or word[0].quoted:
        return None
    name, equals, rest = word[0].text.partition("=")
    if not equals or not re.fullmatch(r"\w+", name):
        return None
    return name, (replace(word[0], text=rest), *word[1:])


def _spaced(values: Values, word: ScriptWord) -> Values:
    """A value with blanks from quotes is one argument of the kernel, and needs quotes there."""
    if not any(part.quoted for part in word):
        return values
    return frozenset(f'"{text}"' if " " in text and '"' not in text else text for text in values)


def _product(parts: list[Values], separator: str = "") -> Values:
    """Every text that parts with several values may make."""
    count = 1
    for part in parts:
        count *= len(part)
        if count > _MAX_VALUES:
            break
    if count > _MAX_VALUES or sum(max(map(len, part), default=0) for part in parts) > _MAX_LENGTH:
        certain = [next(iter(part)) for part in parts if len(part) == 1]
        return frozenset((separator.join((*certain, *unknown("several values")))[:_MAX_LENGTH],))
    return frozenset(separator.join(texts) for texts in itertools.product(*parts))


def _joined(ends: list[dict[str, Values]]) -> dict[str, Values]:
    """The values after branches of which one is run."""
    if len(ends) == 1:
        return ends[0]
    names = dict.fromkeys(name for end in ends for name in end)
    joined = {}
    for name in names:
        values = frozenset().union(*(end.get(name, frozenset(("",))) for end in ends))
        joined[name] = values if len(values) <= _MAX_VALUES else unknown(name)
    return joined


def _equal(left: Values, right: Values) -> bool | None:
    """Whether two texts are equal; None where they may be."""
    if any(MARK in text for text in (*left, *right)):
        return None
    if len(left) == len(right) == 1:
        return left == right
    return None if left & right else False


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _and(left: bool | None, right: bool | None) -> bool | None:
    return False if False in (left, right) else None if None in (left, right) else True


def _or(left: bool | None, right: bool | None) -> bool | None:
    return True if True in (left, right) else None if None in (left, right) else False
