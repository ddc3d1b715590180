# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Debian host in a folder, with its boot loader, policy store and selinuxfs, and programs that work on them."""

from __future__ import annotations

import bz2
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.svirt.fleet.plugins.module_utils._core.system.shell_settings import ShellSettings
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.root import Root, Stat
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.tools import HostTools

from . import hosts
from .captured import Entry, Tree

BOOT = 1_700_000_000
MAIN = "/boot/grub/grub.cfg"
MODULES = "/var/lib/selinux/default/active/modules"
LOCAL = "/var/lib/selinux/default/active/booleans.local"
LOG = "/var/log/audit/audit.log"
FS = "/sys/fs/selinux"
START = (
    f"type=DAEMON_END msg=audit({BOOT - 10}.000:1): op=terminate\n"
    f"type=DAEMON_START msg=audit({BOOT + 10}.000:1): op=start\n"
)
ENTRY = """\
menuentry 'Debian' {{
\tlinux /vmlinuz root=/dev/vda1 ro {0} {1}
}}
menuentry 'Debian (recovery mode)' {{
\tlinux /vmlinuz root=/dev/vda1 ro single {0}
}}
"""


class PlacedRoot(Root):
    """A host's files in a folder. Its selinuxfs answers by a small policy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.permissive: set[str] = set()

    @property
    def privileged(self) -> bool:
        return True

    def at(self, path: str) -> str:
        """Where a path of the host is."""
        return f"{self.folder}{path}"

    def peek(self, path: str, size: int = 4096) -> bytes:
        return super().peek(self.at(path), size)

    def read_bytes(self, path: str, limit: int = 4 << 20) -> bytes:
        return super().read_bytes(self.at(path), limit)

    def transact(self, path: str, request: bytes) -> bytes:
        answer = hosts.policy(permissive=self.permissive)(request.decode())
        if answer is None:
            raise OSError(22, "Invalid argument", path)
        return answer.encode()

    def listdir(self, path: str) -> list[str]:
        return super().listdir(self.at(path))

    def stat(self, path: str) -> Stat:
        return super().stat(self.at(path))

    def lstat(self, path: str) -> Stat:
        return super().lstat(self.at(path))

    def readlink(self, path: str) -> str:
        return super().readlink(self.at(path))

    def getxattr(self, path: str, name: str, follow: bool = True) -> bytes | None:
        return super().getxattr(self.at(path), name, follow)


@dataclass(repr=False, eq=False)
class SelinuxHost:
    """The host, and what was run on it."""

    folder: Path
    calls: list[list[str]] = field(default_factory=list)
    missing: set[str] = field(default_factory=lambda: {"grubby", "grub2-mkconfig", "grub2-script-check"})
    #: Program -> what it fails with.
    failing: dict[str, str] = field(default_factory=dict)
    #: Programs that do not end.
    hanging: set[str] = field(default_factory=set)
    journal_text: str = ""
    buffer_text: str = ""
    #: An entry that a script in /etc/grub.d adds.
    custom: str = ""

    def __post_init__(self) -> None:
        self.root = PlacedRoot(self.folder)
        tree = Tree()
        hosts.kernel(tree)
        hosts.selinux(tree, policy_name="default")
        hosts.process(tree, 600, "/usr/sbin/auditd", "system_u:system_r:auditd_t:s0")
        for path, entry in tree.entries.items():
            self._place(path, entry)
        self.write("/etc/os-release", 'ID=debian\nPRETTY_NAME="Debian"\n')
        self.write("/proc/cmdline", "BOOT_IMAGE=/vmlinuz root=UUID=11 ro security=selinux\n")
        self.write("/etc/selinux/config", "# ours\nSELINUX=enforcing\nSELINUXTYPE=default\n")
        self.write("/etc/selinux/default/policy/policy.33", "x")
        self.write("/usr/sbin/grub-mkconfig", "#!/bin/sh\nfor x in ${sysconfdir}/default/grub.d/*.cfg ; do\n")
        self.write(
            "/etc/default/grub", '# ours\nGRUB_CMDLINE_LINUX="security=selinux"\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'
        )
        self.write(MAIN, self.made())
        self.write(LOG, START)
        self.write(f"{FS}/commit_pending_bools", "0")
        self.write(f"{FS}/policy", "the loaded policy")
        self.write(f"{FS}/load", "")
        self.module(
            100, "virt", "(boolean virt_use_nfs false)(boolean virt_use_usb true)(boolean virt_use_samba false)"
        )
        self.boolean("virt_use_nfs", False)
        self.boolean("virt_use_usb", True)

    @property
    def tools(self) -> HostTools:
        """What the actors use."""
        return HostTools(run_command=self.run, find=self.find, at=self.root.at)

    def write(self, path: str, text: str | bytes) -> None:
        """Put a file there."""
        place = Path(self.root.at(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)

    def read(self, path: str) -> str:
        """The text of a file."""
        return Path(self.root.at(path)).read_text()

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return Path(self.root.at(path)).exists()

    def files(self) -> dict[str, bytes]:
        """All files but those of /proc: path -> content."""
        result = {f"/{path.relative_to(self.folder)}": path for path in self.folder.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in result.items() if not name.startswith("/proc/")}

    def mode(self, mode: str) -> None:
        """The mode of the running kernel."""
        if mode == "disabled":
            Path(self.root.at(f"{FS}/class/file/index")).unlink(missing_ok=True)
            Path(self.root.at(f"{FS}/enforce")).unlink(missing_ok=True)
        else:
            self.write(f"{FS}/enforce", "1" if mode == "enforcing" else "0")

    def configured(self, mode: str) -> None:
        """The mode in the configuration."""
        self.write("/etc/selinux/config", f"# ours\nSELINUX={mode}\nSELINUXTYPE=default\n")

    def module(self, priority: int, name: str, cil: str, language: str = "cil") -> None:
        """A module in the store, packed as libsemanage does."""
        folder = f"{MODULES}/{priority}/{name}"
        self.write(f"{folder}/cil", bz2.compress(cil.encode()))
        self.write(f"{folder}/lang_ext", language)
        if language != "cil":
            self.write(f"{folder}/hll", bz2.compress(b"high level"))

    def modules(self, priority: int = 400) -> dict[str, str]:
        """Modules of a priority: name -> CIL."""
        folder = Path(self.root.at(f"{MODULES}/{priority}"))
        paths = sorted(folder.iterdir()) if folder.exists() else []
        return {path.name: bz2.decompress((path / "cil").read_bytes()).decode() for path in paths}

    def boolean(self, name: str, active: bool) -> None:
        """The value in the running kernel."""
        self.write(f"{FS}/booleans/{name}", f"{int(active)} {int(active)}")

    def active(self, name: str) -> bool:
        """The value in the running kernel."""
        return self.read(f"{FS}/booleans/{name}")[0] == "1"

    def made(self) -> str:
        """What grub-mkconfig makes."""
        paths = ["/etc/default/grub"]
        more = Path(self.root.at("/etc/default/grub.d"))
        paths += [f"/etc/default/grub.d/{path.name}" for path in sorted(more.glob("*.cfg"))] if more.exists() else []
        settings = ShellSettings([(path, self.read(path)) for path in paths if self.exists(path)])
        values = [settings.value(f"GRUB_CMDLINE_LINUX{ending}").text for ending in ("", "_DEFAULT")]
        return ENTRY.format(*values) + self.custom

    def find(self, name: str) -> str | None:
        """Where a program is."""
        return None if name in self.missing else f"/usr/sbin/{name}"

    def run(self, args: list[str], *, data: str | None = None) -> tuple[int, str, str]:
        """Run a program of the host."""
        name = args[0].rsplit("/", 1)[-1]
        if name == "timeout":
            if args[4].rsplit("/", 1)[-1] in self.hanging:
                return 124, "", ""
            return self.run(args[4:], data=data)
        self.calls.append([name, *args[1:]])
        if name in self.failing:
            return 1, "", self.failing[name]
        return self._programs[name](self, args[1:], data)

    def names_run(self) -> list[str]:
        """The programs that were run."""
        return [call[0] for call in self.calls]

    def _place(self, path: str, entry: Entry) -> None:
        place = Path(self.root.at(path))
        if entry.errno:
            return
        if entry.type == "d":
            place.mkdir(parents=True, exist_ok=True)
        elif entry.type == "l":
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(entry.link)
        else:
            self.write(path, entry.content)

    def _mkconfig(self, _args: list[str], _data: str | None) -> tuple[int, str, str]:
        return 0, self.made(), ""

    def _check(self, _args: list[str], data: str | None) -> tuple[int, str, str]:
        return (0, "", "") if data and "menuentry" in data else (1, "", "syntax error")

    def _semodule(self, args: list[str], _data: str | None) -> tuple[int, str, str]:
        if "-lfull" in args:
            names = [(priority, name) for priority in (100, 400) for name in self.modules(priority)]
            return 0, "".join(f"{priority} {name:24} cil\n" for priority, name in names), ""
        words = iter(args)
        priority = 400
        for word in words:
            if word == "-X":
                priority = int(next(words))
            elif word == "-i":
                path = Path(next(words))
                if path.suffix == ".cil":
                    self.module(priority, path.stem, path.read_text())
                else:
                    self.module(priority, path.stem, "(compiled)", path.suffix[1:])
            elif word == "-r":
                folder = Path(self.root.at(f"{MODULES}/{priority}/{next(words)}"))
                if not folder.is_dir():
                    return 1, "", "semodule:  Failed!"
                for item in folder.iterdir():
                    item.unlink()
                folder.rmdir()
        return self._load([], None)

    def _load(self, _args: list[str], _data: str | None) -> tuple[int, str, str]:
        texts = [*self.modules(100).values(), *self.modules(400).values()]
        known = " ".join(texts)
        self.root.permissive = {name for name in ("svirt_t", "virtqemud_t") if f"(typepermissive {name})" in known}
        return 0, "", ""

    def _setsebool(self, args: list[str], _data: str | None) -> tuple[int, str, str]:
        values = dict(word.split("=") for word in args if "=" in word)
        old = dict(line.split("=") for line in self.read(LOCAL).split()) if self.exists(LOCAL) else {}
        self.write(LOCAL, "".join(f"{name}={value}\n" for name, value in sorted({**old, **values}.items())))
        for name, value in values.items() if "-N" not in args else ():
            self.boolean(name, value == "1")
        return 0, "", ""

    def _grubby(self, args: list[str], _data: str | None) -> tuple[int, str, str]:
        gone = next((arg.partition("=")[2].split() for arg in args if arg.startswith("--remove-args=")), [])
        folder = Path(self.root.at("/boot/loader/entries"))
        for path in folder.glob("*.conf"):
            lines = path.read_text().split("\n")
            edited = [
                " ".join(word for word in line.split() if word not in gone) if line.startswith("options") else line
                for line in lines
            ]
            path.write_text("\n".join(edited))
        return 0, "", ""

    def _journalctl(self, _args: list[str], _data: str | None) -> tuple[int, str, str]:
        return (0, self.journal_text, "") if self.journal_text else (1, "", "No journal files were found.")

    def _dmesg(self, _args: list[str], _data: str | None) -> tuple[int, str, str]:
        return (0, self.buffer_text, "") if self.buffer_text else (1, "", "dmesg: Operation not permitted")

    _programs: t.ClassVar[dict[str, t.Callable[[SelinuxHost, list[str], str | None], tuple[int, str, str]]]] = {
        "grub-mkconfig": _mkconfig,
        "grub-script-check": _check,
        "semodule": _semodule,
        "load_policy": _load,
        "setsebool": _setsebool,
        "grubby": _grubby,
        "journalctl": _journalctl,
        "dmesg": _dmesg,
    }


def denial(at: float, source: str = "svirt_t", permissive: int = 1) -> str:
    """A denial, as auditd writes it."""
    return (
        f"type=AVC msg=audit({at:.3f}:9): avc:  denied  {{ read }} for  pid=9 "
        f"scontext=system_u:system_r:{source}:s0:c1,c2 tcontext=system_u:object_r:proc_t:s0 tclass=file "
        f"permissive={permissive}\n"
    )
