# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The guard's script, on hosts that are folders."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal as signals
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles" / "guard" / "files" / "svirt_guard.py"
START = ("web", "start", "begin", "-")
UUID = "6d2b0b53-5c1e-4c3b-9e0c-9a3f2f6c0a01"
OTHER = "6d2b0b53-5c1e-4c3b-9e0c-9a3f2f6c0a02"
ALL = "c0.c1023"


def load() -> t.Any:
    spec = importlib.util.spec_from_file_location("svirt_guard", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


guard = load()


def label(level: str, type_: str = "svirt_t") -> str:
    return f"system_u:system_r:{type_}:{level}"


def xml(level: str | None, name: str = "web", uuid: str = UUID, kind: str = "static") -> str:
    inner = "" if level is None else f"<label>{label(level)}</label><imagelabel>x</imagelabel>"
    return (
        f"<domain type='kvm'>\n  <name>{name}</name>\n  <uuid>{uuid}</uuid>\n"
        f"  <metadata><uuid>not this</uuid><seclabel type='none'><label>nor this</label></seclabel></metadata>\n"
        f"  <devices><disk><source><seclabel model='selinux'><label>no</label></seclabel></source></disk></devices>\n"
        f"  <seclabel type='dynamic' model='dac'><label>+64055:+64055</label></seclabel>\n"
        f"  <seclabel type='{kind}' model='selinux' relabel='yes'>{inner}</seclabel>\n</domain>\n"
    )


class Clock:
    """Both ``signal`` and ``time`` of a guard in this process: time passes only where a test lets it."""

    SIGALRM, ITIMER_REAL, CLOCK_BOOTTIME = signals.SIGALRM, signals.ITIMER_REAL, time.CLOCK_BOOTTIME

    def __init__(self) -> None:
        self.now = 1000.0
        self.timer = 0.0
        self.handler: t.Callable[..., object] = int
        self.waits: t.Callable[[], object] = int

    def signal(self, _number: int, handler: t.Callable[..., object]) -> None:
        self.handler = handler

    def setitimer(self, _timer: int, seconds: float) -> None:
        self.timer = seconds

    def monotonic(self) -> float:
        return self.now

    def clock_gettime(self, _clock: int) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits()
        assert self.now < 2000, "it waits without end"


class Host:
    """A host in a folder."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.logged: list[str] = []
        self.clock = Clock()
        for folder in ("sys/fs/selinux", "proc", "run/libvirt/qemu", "etc/svirt-fleet"):
            (top / folder).mkdir(parents=True)
        (top / "sys/fs/selinux/enforce").write_text("1")
        self.settings()

    def process(self, pid: int, level: str, uuid: str = OTHER, type_: str = "svirt_t") -> None:
        folder = self.top / "proc" / str(pid)
        (folder / "attr").mkdir(parents=True)
        (folder / "cmdline").write_text(f"/usr/bin/qemu-system-x86_64\0-name\0guest=db\0-uuid\0{uuid}\0")
        (folder / "cgroup").write_text("0::/system.slice/libvirtd.service\n")
        (folder / "attr/current").write_text(label(level, type_) + "\0")

    def guest(self, pid: int, level: str, name: str = "db", uuid: str = OTHER, **process: str) -> None:
        status = f"<domstatus state='running' reason='booted' pid='{pid}'>{xml(level, name, uuid)}</domstatus>"
        (self.top / "run/libvirt/qemu" / f"{name}.xml").write_text(status)
        self.process(pid, level, uuid, **process)

    def settings(self, **values: t.Any) -> None:
        """Settings of a guard whose domain may read guests' processes."""
        document = {"readable": ["svirt_t"], **values}
        (self.top / "etc/svirt-fleet/guard.json").write_text(json.dumps(document))

    def ask(self, text: str | bytes | t.BinaryIO, arguments: t.Sequence[str] = START) -> int:
        content = text.encode() if isinstance(text, str) else text
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        return t.cast("int", guard.main(arguments, stream, str(self.top)))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    result = Host(tmp_path)
    monkeypatch.setattr(guard, "log", lambda _level, text: result.logged.append(text))
    monkeypatch.setattr(guard, "signal", result.clock)
    monkeypatch.setattr(guard, "time", result.clock)
    return result


@pytest.mark.parametrize(
    ("mine", "theirs", "how"),
    [
        ("s0:c1,c2", "s0:c2,c1", "has the categories of"),
        ("s0:c1.c3", "s0:c1,c2", "reaches"),
        ("s0:c1,c2", "s0:c1,c2,c9", "is reached by"),
        ("s0:c1,c2", "s0", "reaches"),
        ("s0:c1,c2", f"s0-s0:{ALL}", "is reached by"),
        ("s1:c1,c2", "s0:c1", "reaches"),
    ],
)
def test_a_guest_that_is_not_kept_apart_is_refused(
    host: Host, capfd: pytest.CaptureFixture[str], mine: str, theirs: str, how: str
) -> None:
    host.guest(4242, theirs)
    assert host.ask(xml(mine)) == guard.REFUSED
    said = capfd.readouterr()
    line = (
        f"svirt-guard: guest 'web' ('{label(mine)}') was refused: "
        f"it {how} guest 'db' ('{label(theirs)}'), which runs here\n"
    )
    assert (said.err, said.out) == (line, "")
    assert host.logged == [line[len("svirt-guard: ") : -1]]


@pytest.mark.parametrize(("mine", "theirs"), [("s0:c1,c2", "s0:c1,c3"), ("s0:c5,c9", "s0:c1,c2"), ("s0:c1", "s1:c2")])
def test_a_guest_that_is_kept_apart_starts(
    host: Host, capfd: pytest.CaptureFixture[str], mine: str, theirs: str
) -> None:
    host.guest(4242, theirs)
    assert host.ask(xml(mine)) == guard.ALLOWED
    assert capfd.readouterr() == ("", "")
    assert host.logged == []


def test_the_guest_itself_is_no_other_guest(host: Host) -> None:
    host.guest(4242, "s0:c1,c2", "web", UUID)
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (xml("s0"), "its label has no categories"),
        (xml(f"s0-s0:{ALL}"), "its label has all categories"),
        (xml(None, kind="none"), "it has no label of its own"),
        (xml(None, kind="dynamic"), "it has no label of its own"),
        (f"<domain><name>web</name><uuid>{UUID}</uuid></domain>", "it has no label of its own"),
    ],
)
def test_a_guest_that_is_open_to_all_is_refused_on_an_empty_host(
    host: Host, capfd: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    assert host.ask(text) == guard.REFUSED
    assert why in capfd.readouterr().err


@pytest.mark.parametrize("operation", ["prepare", "migrate", "restore"])
def test_before_the_final_label_only_what_is_fixed_is_judged(host: Host, operation: str) -> None:
    host.guest(4242, "s0:c1,c2")
    arguments = ("web", operation, "begin", "-")
    assert host.ask(xml("s0:c1,c2"), arguments) == guard.REFUSED
    assert host.ask(xml(None, kind="none"), arguments) == guard.REFUSED
    assert host.ask(xml("s0:c3,c4"), arguments) == guard.ALLOWED
    # A dynamic label is drawn later; a label that is there is of an earlier run.
    assert host.ask(xml(None, kind="dynamic"), arguments) == guard.ALLOWED
    assert host.ask(xml("s0:c1,c2", kind="dynamic"), arguments) == guard.ALLOWED


def test_a_dynamic_guest_may_try_again(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    host.guest(4242, "s0:c1,c2")
    assert host.ask(xml("s0:c1,c2", kind="dynamic")) == guard.REFUSED
    assert capfd.readouterr().err.endswith("; libvirt drew its categories by chance, start it again\n")


@pytest.mark.parametrize(
    "operation",
    [("reconnect", "begin"), ("stopped", "end"), ("release", "end"), ("started", "begin"), ("start", "end")],
)
def test_nothing_else_is_ever_refused(host: Host, operation: tuple[str, str]) -> None:
    host.settings(errors="refuse")
    host.guest(4242, "s0:c1,c2")
    assert host.ask(xml("s0:c1,c2"), ("web", *operation, "-")) == guard.ALLOWED


def test_without_selinux_there_is_nothing_to_guard(host: Host) -> None:
    (host.top / "sys/fs/selinux/enforce").unlink()
    assert host.ask(xml(None, kind="none")) == guard.ALLOWED


def test_the_process_counts_and_not_the_status_file(host: Host) -> None:
    host.guest(4242, "s0:c5,c6")
    (host.top / "proc/4242/attr/current").write_text(label("s0:c1,c2"))
    assert host.ask(xml("s0:c5,c6")) == guard.ALLOWED
    assert host.ask(xml("s0:c1,c2")) == guard.REFUSED


def test_a_status_file_without_a_process_is_no_guest(host: Host) -> None:
    host.guest(4242, "s0:c1,c2")
    shutil.rmtree(host.top / "proc/4242")
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED


SHELL = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\0"


def test_another_program_under_the_guests_number_is_no_guest(host: Host) -> None:
    host.guest(4242, "s0:c1,c2")
    (host.top / "proc/4242/attr/current").write_text(SHELL)
    (host.top / "proc/4242/cmdline").write_text("qemu-system-x86_64\0-uuid\0another\0")  # a name says nothing
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED


@pytest.mark.parametrize(
    "group", ["/machine.slice/machine-qemu\\x2d1\\x2ddb.scope/libvirt/emulator", "/machine/qemu-1-db.libvirt-qemu"]
)
def test_a_guest_whose_label_is_another_is_known_by_its_control_group(host: Host, group: str) -> None:
    host.guest(4242, "s0:c5,c6")
    (host.top / "proc/4242/attr/current").write_text(SHELL)
    (host.top / "proc/4242/cmdline").write_text("")
    (host.top / "proc/4242/cgroup").write_text(f"0::{group}\n")
    assert host.ask(xml("s0:c1,c2")) == guard.REFUSED


def test_a_guest_whose_label_is_another_is_known_by_the_uuid_on_its_command_line(host: Host) -> None:
    host.guest(4242, "s0:c5,c6")
    (host.top / "proc/4242/attr/current").write_text(SHELL)
    assert host.ask(xml("s0:c1,c2")) == guard.REFUSED


def test_a_process_that_libvirt_names_nowhere_is_not_looked_at(host: Host) -> None:
    host.process(80, "s0:c1,c2")
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED


def test_two_guests_that_start_at_the_same_time(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
    assert host.ask(xml("s0:c3,c4", "third", OTHER[:-1] + "3")) == guard.ALLOWED
    assert host.ask(xml("s0:c1,c2", "db", OTHER)) == guard.REFUSED
    assert "guest 'web' " in (said := capfd.readouterr().err)
    assert said.endswith("which was let through a moment ago\n")
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED  # it is tried again
    starting = host.top / "run/libvirt/svirt-guard.starting"
    rows = json.loads(starting.read_text())
    assert sorted(row[1] for row in rows) == ["third", "web"]
    starting.write_text(json.dumps([[*row[:3], row[3] - 31] for row in rows]))
    assert host.ask(xml("s0:c1,c2", "db", OTHER)) == guard.ALLOWED


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "[[1]]", '[["a", "b", "c", "x"]]', "[3]"])
def test_a_spoilt_note_of_starts_is_written_anew(host: Host, content: str) -> None:
    (host.top / "run/libvirt/svirt-guard.starting").write_text(content)
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
    assert host.logged == []
    assert len(json.loads((host.top / "run/libvirt/svirt-guard.starting").read_text())) == 1


def test_a_note_that_cannot_be_kept_is_logged_and_running_guests_still_count(host: Host) -> None:
    (host.top / "run/libvirt/svirt-guard.starting").symlink_to("/etc/passwd")
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
    assert host.logged[0].startswith("start: guests that start at the same time are not compared: ")
    host.guest(4242, "s0:c1,c2")
    assert host.ask(xml("s0:c1,c2")) == guard.REFUSED


DOCTYPE = '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its XML does not parse"),
        ("<domain><name>web</name>", "its XML does not parse"),
        ("<domain><name>web</name></domain>", "its XML names no uuid"),
        (DOCTYPE + xml("s0:c1,c2"), "its XML declares a DOCTYPE"),
        (xml("s0:c1,c2").replace("c1,c2", "SystemLow"), "the level of the label"),
        (xml("s0:c1,c2").replace(":s0:c1,c2", ""), "the level of the label"),
        (xml("s0:c7.c3"), "the categories 'c7.c3' cannot be understood"),
        (xml("s0:c1,c9999"), "the categories"),
        ("<domain>" + "x" * (4 * 1024 * 1024) + "</domain>", "its XML names no uuid"),
        (b"\xff\xfe\x00garbage", "its XML does not parse"),
        ("<a>" * 100_000, "its XML does not parse"),
    ],
)
def test_what_cannot_be_judged_starts_by_default(
    host: Host, capfd: pytest.CaptureFixture[str], text: str | bytes, said: str
) -> None:
    assert host.ask(text) == guard.ALLOWED
    assert capfd.readouterr().err == ""
    (line,) = host.logged
    assert line.startswith("start: guest 'web' was not judged: ")
    assert said in line
    host.settings(errors="refuse")
    assert host.ask(text) == guard.REFUSED
    assert "was refused, for the guard is set to refuse when in doubt" in capfd.readouterr().err


def test_a_definition_that_is_too_large_is_refused_whatever_is_set_for_errors(
    host: Host, capfd: pytest.CaptureFixture[str]
) -> None:
    large = xml("s0:c3,c4").replace("<name>", "<description>" + "x" * guard.MAX_XML + "</description><name>")
    assert host.ask(large) == guard.REFUSED
    assert "its definition is larger than 67108864 bytes" in capfd.readouterr().err
    host.settings(collision="allow")
    assert host.ask(large) == guard.ALLOWED


def test_a_large_definition_that_takes_too_long_is_refused(
    host: Host, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "LARGE_XML", 1000)
    host.settings(time_limit=0.05)

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert host.clock.timer == 0.05
            if self.tell():
                host.clock.handler()
            return super().read(size)

    large = xml("s0:c3,c4").replace("<name>", "<metadata>" + "<a/>" * 100_000 + "</metadata><name>")
    assert host.ask(Slow(large.encode())) == guard.REFUSED
    assert "is so large that it was not read within 0.05 s" in capfd.readouterr().err
    assert host.clock.timer == 0, "the verdict stands"


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("form", ["<description>{}</description>", "<metadata><m a='{}'/></metadata>"])
def test_a_long_text_or_value_costs_no_more_than_its_length(host: Host, form: str) -> None:
    large = xml("s0:c1,c2").replace("<name>", form.format("&quot;" * 4_000_000) + "<name>")
    host.guest(4242, "s0:c1,c2")
    scanned: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            part = super().read(size)
            scanned.append(self.tell())  # expat scans all of an unfinished value again
            return part

    assert host.ask(Counted(large.encode())) == guard.REFUSED
    assert "has the categories of" in host.logged[-1]
    assert sum(scanned) < 5 * len(large)


def test_a_guest_that_cannot_be_read_is_passed_over_aloud(host: Host) -> None:
    (host.top / "run/libvirt/qemu/odd.xml").write_text("<domstatus>")
    host.guest(4242, "nonsense")
    host.guest(4243, "s0:c8,c9", "more", OTHER[:-1] + "4")
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
    assert sorted(line.split(" was passed over")[0] for line in host.logged) == [
        "start: guest 'db'",
        "start: guest 'odd', which may run here,",
    ]
    host.settings(errors="refuse")
    assert host.ask(xml("s0:c1,c2")) == guard.REFUSED
    host.settings(errors="allow")
    assert host.ask(xml("s0:c8,c9")) == guard.REFUSED  # the guest that could be read counts all the same


def test_collisions_may_be_allowed_and_are_logged(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    host.settings(collision="allow")
    host.guest(4242, "s0:c1,c2")
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
    assert capfd.readouterr().err == ""
    assert host.logged[0].endswith("but collisions are set to be allowed, so it was let through")


def test_every_verdict_may_be_logged(host: Host) -> None:
    host.settings(log="all")
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
    assert host.logged == [f"start: guest 'web' ('{label('s0:c1,c2')}') was let through"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"collision": "allow!"}', '{"time_limit": 0}', '{"time_limit": true}', '{"errors": ["allow"]}'],
)
def test_wrong_settings_are_logged_and_the_defaults_hold(host: Host, content: str) -> None:
    (host.top / "etc/svirt-fleet/guard.json").write_text(content)
    assert host.ask(xml("s0:c1,c2")) == guard.FAULT, "the hook knows what was chosen for its faults"
    assert "/etc/svirt-fleet/guard.json" in host.logged[0]
    host.guest(4242, "s0:c1,c2")
    assert host.ask(xml("s0:c1,c2", uuid=OTHER[:-1] + "5")) == guard.REFUSED


def test_settings_that_the_guard_does_not_know_are_left_alone(host: Host) -> None:
    host.settings(colour="red", errors="allow")
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
    assert host.logged == []


def test_an_error_that_nobody_thought_of_does_not_keep_a_guest_from_its_start(
    host: Host, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(guard, "judge", broken)
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
    assert host.logged == ["guest 'web' was not judged: ZeroDivisionError: oh"]
    host.settings(errors="refuse")
    assert host.ask(xml("s0:c1,c2")) == guard.REFUSED
    assert capfd.readouterr().err == "svirt-guard: guest 'web' was not judged: ZeroDivisionError: oh\n"


def test_names_that_tenants_chose_do_no_harm(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    hostile = "db\n\x1b[31mroot\u202e\xe9" + "n" * 1024
    name = hostile.replace("\x1b", "")  # XML cannot hold it
    status = f"<domstatus pid='4242'>{xml('s0:c1,c2', name, OTHER)}</domstatus>"
    (host.top / "run/libvirt/qemu/db.xml").write_text(status)
    host.process(4242, "s0:c1,c2")
    assert host.ask(xml("s0:c1,c2"), (hostile, "start", "begin", "-")) == guard.REFUSED
    said = capfd.readouterr().err
    assert said.startswith("svirt-guard: guest 'db\\n\\x1b[31mroot\\u202e\\xe9nnn")
    assert "guest 'db\\n[31mroot\\u202e\\xe9nnn" in said
    assert said.count("\n") == 1
    assert said.isascii()
    assert len(said) < 700


def test_a_lone_surrogate_in_a_name(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    assert host.ask(xml("s0"), ("caf\udce9", "start", "begin", "-")) == guard.REFUSED
    assert "guest 'caf\\udce9'" in capfd.readouterr().err


def test_a_call_that_is_none(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    assert host.ask("", ("web",)) == guard.FAULT
    assert "expected GUEST OPERATION" in capfd.readouterr().err


# --- the whole program ------------------------------------------------------------------------------------------------

#: What main() does with the process's own arguments, on another root.
_RUN = (
    "import runpy, sys; main = runpy.run_path(sys.argv[1])['main']; "
    "sys.exit(main(sys.argv[3:], sys.stdin.buffer, sys.argv[2]))"
)


def call(host: Host, text: str, arguments: t.Sequence[str] = START) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", _RUN, str(SCRIPT), str(host.top), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=300, check=False)


def test_the_program_refuses_and_lets_through(host: Host) -> None:
    host.guest(4242, "s0:c1,c2")
    refused, allowed = call(host, xml("s0:c1,c2")), call(host, xml("s0:c3,c4"))
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (77, "", 1)
    assert (allowed.returncode, allowed.stdout, allowed.stderr) == (0, "", "")


@pytest.mark.parametrize(("errors", "status"), [("allow", 0), ("refuse", 77)])
def test_the_program_ends_in_time(host: Host, errors: str, status: int) -> None:
    host.settings(errors=errors, time_limit=0.3)
    command = [sys.executable, "-I", "-c", _RUN, str(SCRIPT), str(host.top), *START]
    reading, writing = os.pipe()  # nobody writes, nobody closes
    try:
        ended = subprocess.run(command, stdin=reading, capture_output=True, text=True, timeout=300, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert ended.returncode == status
    assert ("no verdict within 0.3 s" in ended.stderr) == (status == 77)


def test_one_at_a_time_and_not_for_long(host: Host) -> None:
    """Whoever holds the note of starts cannot stop others for longer than the guard waits for it."""
    import fcntl

    host.settings(log="all")
    with (host.top / "run/libvirt/svirt-guard.starting").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = host.clock.now
        assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
        assert guard.LOCK_SECONDS < host.clock.now - began < guard.LOCK_SECONDS + 0.1
        assert "has been locked for 2 s" in host.logged[0]
        host.clock.waits = lambda: fcntl.flock(held, fcntl.LOCK_UN)
        assert host.ask(xml("s0:c1,c2", uuid=OTHER)) == guard.ALLOWED
    assert len(host.logged) == 3  # the third is the verdict of the second start


def test_the_self_test(host: Host) -> None:
    assert call(host, "", ["--self-test"]).stdout == "svirt-guard: ok\n"
    host.settings(errors="maybe")
    failed = call(host, "", ["--self-test"])
    assert failed.returncode == guard.FAULT
    assert "has a wrong value for errors" in failed.stderr


def test_a_guest_may_be_called_self_test(host: Host) -> None:
    host.guest(4242, "s0:c1,c2")
    assert call(host, xml("s0:c1,c2"), ["--self-test", "start", "begin", "-"]).returncode == 77


def test_the_script_needs_nothing_but_python_itself() -> None:
    source = SCRIPT.read_text()
    result = {line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert result <= {*sys.stdlib_module_names, "xml.parsers"}
    compile(source, str(SCRIPT), "exec", dont_inherit=True)
