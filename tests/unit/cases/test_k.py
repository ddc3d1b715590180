# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Section K: nothing is put back, or stopped, without a look at whose it is by now."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils import _module
from ansible_collections.svirt.fleet.plugins.module_utils._backends import libvirt_security as qemu_conf_body
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostWriteError
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.secrets import blanked, blanked_arguments
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.kernel_arguments import all_parameters
from ansible_collections.svirt.fleet.plugins.module_utils._host.base import file_write
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.file_write import change_file
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Entry, Journal, entries_of, runs_in
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import guest_definitions as definitions
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import power_cycle as guest_power
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import rollback
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import daemon
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Options
from ansible_collections.svirt.fleet.plugins.modules import (
    guest_network_filter,
    guest_power_cycle,
    guest_seclabel,
    libvirt_security,
    svirt_rollback,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support import factory, hosts, virt
from tests.unit.support.captured import CapturedRoot
from tests.unit.support.handed_in import hand_journal, hand_root
from tests.unit.support.judging import findings
from tests.unit.support.module_args import patch_module_args

MAC = "52:54:00:00:00:01"
LABEL = factory.process_label("s0:c40,c300,c600,c900")
MODULES = {
    "guest_seclabel": guest_seclabel,
    "guest_network_filter": guest_network_filter,
    "guest_power_cycle": guest_power_cycle,
    "svirt_rollback": svirt_rollback,
    "libvirt_security": libvirt_security,
}
PASSWORD = "hunter2-of-the-console"
#: Places in a definition where tenants and administrators keep secrets.
SECRETS = {
    "graphics": f"<devices><graphics type='vnc' port='-1' passwd='{PASSWORD}'/></devices>",
    "cookie": f"<devices><disk type='network'><source protocol='https' name='a'><cookies><cookie name='s'>{PASSWORD}"
    "</cookie></cookies></source><target dev='vda'/></disk></devices>",
    "argument": "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:arg value='-object'/>"
    f"<q:arg value='secret,id=s0,data={PASSWORD}'/></q:commandline>",
    "environment": "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
    f"<q:env name='TOKEN' value='{PASSWORD}'/></q:commandline>",
    "metadata": f"<metadata><x:y xmlns:x='urn:x'>{PASSWORD}</x:y></metadata>",
    "firmware": f"<sysinfo type='fwcfg'><entry name='opt/com.coreos/config'>{PASSWORD}</entry></sysinfo>",
}


class Host:
    """A host with guests, a file and a journal, and a way to call the modules on it."""

    def __init__(self, top: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.libvirt = virt.FakeHost()
        self.folder = str(top / "journal")
        self.conf = top / "etc" / "qemu.conf"
        self.conf.parent.mkdir()
        self._capsys = capsys

    def __call__(self, name: str, check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(given), pytest.raises(SystemExit):
            MODULES[name].main()
        self.output = self._capsys.readouterr().out
        return t.cast("dict[str, t.Any]", json.loads(self.output))

    def write(self, *contents: bytes | None) -> None:
        """Change the file as modules do, one run for each content."""
        for content in contents:
            with Journal("libvirt_security", self.folder) as journal:
                change_file(str(self.conf), content, journal)

    def roll_back(self, **arguments: t.Any) -> list[tuple[str, str]]:
        """What check mode and the run refuse: the same."""
        foretold = self("svirt_rollback", check=True, **arguments)
        done = self("svirt_rollback", **arguments)
        for key in ("refused", "plan", "before", "pending", "diff"):
            assert done[key] == foretold[key], key
        assert bool(done.get("failed")) == bool(foretold.get("failed")) == bool(done["refused"])
        assert [item["run"] for item in done["after"]] == [item["run"] for item in foretold["after"]]
        return [(item["subject"], item["code"]) for item in done["refused"]]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Host:
    made = Host(tmp_path, capsys)

    def within(_timeout: float, work: t.Callable[[definitions.Session], t.Any]) -> t.Any:
        return json.loads(json.dumps(work(definitions.Session(made.libvirt, made.libvirt))))  # as from a child

    facts = definitions.LibvirtFacts(True, frozenset(("svirt_t",)), factory.DAEMON)
    monkeypatch.setattr(definitions, "within", within)
    monkeypatch.setattr(definitions, "facts", lambda _root: facts)
    monkeypatch.setattr(_module, "respawn_for", lambda _binding: None)
    for module in MODULES.values():
        hand_journal(monkeypatch, module, made.folder)
    return made


class RealRoot(CapturedRoot):
    """A captured host whose qemu.conf is a real file."""

    conf = ""

    def read_bytes(self, path: str, limit: int = 0) -> bytes:
        return Path(path).read_bytes() if path == self.conf else super().read_bytes(path, limit or 1 << 20)

    def exists(self, path: str) -> bool:
        return Path(path).exists() if path == self.conf else super().exists(path)

    def stat(self, path: str) -> t.Any:
        return Path(path).stat() if path == self.conf else super().stat(path)


# -- K1: put back only what is still ours ------------------------------------------------------------------------------


def test_k1_a_file_that_was_edited_since_is_refused_and_named(host: Host) -> None:
    host.conf.write_bytes(b"first\n")
    host.write(b"ours\n")
    host.conf.write_bytes(b"ours\nand theirs\n")
    assert host.roll_back() == [(str(host.conf), "changed_since")]
    assert host.conf.read_bytes() == b"ours\nand theirs\n"


def test_k1_an_edit_between_two_runs_is_not_lost(host: Host) -> None:
    host.conf.write_bytes(b"first\n")
    host.write(b"ours\n")
    host.conf.write_bytes(b"theirs\n")
    host.write(b"ours again\n")
    assert host.roll_back() == [(str(host.conf), "changed_since")]
    assert host.conf.read_bytes() == b"theirs\n"


def test_k1_a_file_that_another_team_put_there_is_refused(host: Host) -> None:
    host.write(b"ours\n")  # a new file
    host.conf.unlink()
    host.conf.write_bytes(b"theirs\n")
    assert host.roll_back() == [(str(host.conf), "changed_since")]
    assert host.conf.read_bytes() == b"theirs\n"


def test_k1_a_file_put_where_ours_was_removed_is_refused(host: Host) -> None:
    host.conf.write_bytes(b"first\n")
    host.write(None)
    host.conf.write_bytes(b"theirs\n")
    assert host.roll_back() == [(str(host.conf), "changed_since")]
    assert host.conf.read_bytes() == b"theirs\n"


def test_k1_a_file_that_somebody_removed_does_not_come_back(host: Host) -> None:
    host.conf.write_bytes(b"first\n")
    host.write(b"ours\n")
    host.conf.unlink()
    assert host.roll_back() == [(str(host.conf), "changed_since")]
    assert not host.conf.exists()


@pytest.mark.parametrize("folder", [False, True])
def test_k1_a_path_that_became_a_link_is_refused(host: Host, tmp_path: Path, folder: bool) -> None:
    host.conf.write_bytes(b"first\n")
    host.write(b"ours\n")
    path = host.conf.parent if folder else host.conf
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert host.roll_back() == [(str(host.conf), "now_a_link")]
    assert host.conf.read_bytes() == b"ours\n"


def test_k1_a_folder_in_the_place_of_a_file_is_refused(host: Host) -> None:
    host.write(b"ours\n")
    host.conf.unlink()
    host.conf.mkdir()
    assert host.roll_back() == [(str(host.conf), "not_a_plain_file")]


@pytest.mark.parametrize("change", ["mode", "attribute"])
def test_k1_a_file_whose_mode_or_label_was_changed_since_is_refused(host: Host, change: str) -> None:
    host.conf.write_bytes(b"first\n")
    os.setxattr(host.conf, "user.label", b"one")
    host.write(b"ours\n")
    if change == "mode":
        host.conf.chmod(0o600)
    else:
        os.setxattr(host.conf, "user.label", b"two")
    assert host.roll_back() == [(str(host.conf), "changed_since")]
    assert host.conf.read_bytes() == b"ours\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set labels")
@pytest.mark.parametrize("old", [b"system_u:object_r:unlabeled_t:s0\0", None])
def test_k1_a_file_that_the_host_relabelled_since_is_put_back_and_keeps_its_label(
    host: Host, old: bytes | None
) -> None:
    host.conf.write_bytes(b"first\n")
    if old is not None:
        os.setxattr(host.conf, file_write.LABEL, old)
    host.write(b"ours\n")
    os.setxattr(host.conf, file_write.LABEL, b"system_u:object_r:virt_etc_t:s0\0")
    assert host.roll_back() == []
    assert host.conf.read_bytes() == b"first\n"
    assert os.getxattr(host.conf, file_write.LABEL) == b"system_u:object_r:virt_etc_t:s0\0"


def test_k1_a_guest_that_got_a_data_disk_since_is_refused(host: Host) -> None:
    guest = host.libvirt.add("web", virt.domain("web"))
    host("guest_seclabel", guests=[{"guest": "web", "type": "static", "label": LABEL}])
    disk = "<disk type='file' device='disk'><source file='/srv/data'/><target dev='vdb'/></disk>\n"
    guest.inactive = (guest.inactive or "").replace("  </devices>", f"    {disk}  </devices>")
    theirs = guest.inactive
    assert host.roll_back() == [(guest.uuid, "changed_since")]
    assert guest.inactive == theirs
    assert "/domain/devices" in json.loads(host.output)["refused"][0]["why"]


def test_k1_a_guest_that_got_another_label_since_is_refused(host: Host) -> None:
    guest = host.libvirt.add("web", virt.domain("web"))
    host("guest_seclabel", guests=[{"guest": "web", "type": "static", "label": LABEL}])
    guest.inactive = theirs = virt.domain("web", virt.seclabel("static", factory.process_label("s0:c1,c2")))
    assert host.roll_back() == [(guest.uuid, "changed_since")]
    assert guest.inactive == theirs


def test_k1_a_guest_that_is_gone_is_refused(host: Host) -> None:
    guest = host.libvirt.add("web", virt.domain("web"))
    host("guest_seclabel", guests=[{"guest": "web", "type": "static", "label": LABEL}])
    host.libvirt.guests.clear()
    assert host.roll_back() == [(guest.uuid, "guest_gone")]


def test_k1_a_live_filter_that_was_changed_since_is_refused(host: Host) -> None:
    live = virt.domain("web", cards=virt.card(MAC))
    guest = host.libvirt.add("web", virt.domain("web", cards=virt.card(MAC)), live, process=LABEL)
    host("guest_network_filter")
    guest.live = theirs = virt.domain("web", cards=virt.card(MAC, "<filterref filter='theirs'/>"))
    assert host.roll_back() == [(f"{guest.uuid} {MAC}", "changed_since")]
    assert guest.live == theirs


def test_k1_what_is_ours_is_put_back(host: Host) -> None:
    guest = host.libvirt.add("web", virt.domain("web"))
    host.conf.write_bytes(b"first\n")
    host.write(b"second\n", None, b"fourth\n")
    host("guest_seclabel", guests=[{"guest": "web", "type": "static", "label": LABEL}])
    assert host.roll_back(runs=2) == []
    assert (guest.inactive, host.conf.exists()) == (virt.domain("web"), False)
    assert host.roll_back() == []
    assert host.conf.read_bytes() == b"first\n"
    assert runs_in(host.folder) == []


def old_journal(host: Host, *, later: float = 0.0) -> None:
    """Journals as older versions wrote them: without what was set. ``later``: seconds until the file was changed."""
    for path in runs_in(host.folder):
        lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
        for line in lines:
            del line["after"]
        Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))
        stamp = os.stat(path).st_mtime - later
        os.utime(path, (stamp, stamp))


def test_k1_an_older_journal_still_rolls_back(host: Host) -> None:
    guest = host.libvirt.add("web", virt.domain("web"))
    host.conf.write_bytes(b"first\n")
    host.write(b"ours\n", b"ours again\n")
    host("guest_seclabel", guests=[{"guest": "web", "type": "static", "label": LABEL}])
    old_journal(host)
    assert host.roll_back() == []
    assert (guest.inactive, host.conf.read_bytes()) == (virt.domain("web"), b"first\n")


def test_k1_an_older_journal_refuses_what_was_changed_after_its_run(host: Host) -> None:
    guest = host.libvirt.add("web", virt.domain("web"))
    host.conf.write_bytes(b"first\n")
    host.write(b"ours\n")
    host("guest_seclabel", guests=[{"guest": "web", "type": "static", "label": LABEL}])
    guest.inactive = (guest.inactive or "").replace("<emulator>", "<disk/><emulator>")
    host.conf.write_bytes(b"theirs\n")
    old_journal(host, later=3600)
    assert host.roll_back() == [(guest.uuid, "changed_since"), (str(host.conf), "changed_since")]
    assert host.conf.read_bytes() == b"theirs\n"


def test_k1_a_run_that_was_killed_before_its_change_is_done_with(host: Host) -> None:
    host.conf.write_bytes(b"first\n")
    state = file_write.state_of(str(host.conf))
    with Journal("libvirt_security", host.folder) as journal:
        journal.record(
            [Entry("file", str(host.conf), state.document(), file_write.FileState(b"ours\n", state.mode).mark())]
        )
    assert host.roll_back() == []
    assert host.conf.read_bytes() == b"first\n"


_STATES = st.sampled_from([None, b"a\n", b"b\n", b"c\n"])


@settings(max_examples=60, deadline=None)
@given(first=_STATES, writes=st.lists(_STATES, min_size=1, max_size=4), place=st.integers(0, 4))
def test_k1_no_edit_of_anybody_is_ever_lost(
    tmp_path_factory: pytest.TempPathFactory, first: bytes | None, writes: list[bytes | None], place: int
) -> None:
    """Runs of ours with one edit by somebody else before, among or after them: whatever is rolled back, it stays."""
    top = tmp_path_factory.mktemp("host")
    path, folder = top / "conf", str(top / "journal")
    if first is not None:
        path.write_bytes(first)
    for number in range(max(len(writes), place + 1)):
        if number == place:
            path.write_bytes(b"theirs\n")
        if number < len(writes):
            with Journal("x", folder) as journal:
                change_file(str(path), writes[number], journal)
    with Journal("svirt_rollback", folder) as journal:
        rollback.put_back(rollback.runs(folder=folder), journal)
    assert path.read_bytes() == b"theirs\n"
    assert place or runs_in(folder) == []  # before all of ours, the file as it was


# -- K2: secrets never leave the journal -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", SECRETS)
def test_k2_secrets_of_a_guest_are_in_no_result_of_any_module(host: Host, place: str) -> None:
    xml = virt.domain("web", cards=virt.card(MAC)).replace("  <devices>", f"  {SECRETS[place]}\n  <devices>", 1)
    live = virt.domain("web", cards=virt.card(MAC))
    host.libvirt.add("web", xml, live, process=factory.process_label("s0:c7,c8"))
    calls: list[tuple[str, dict[str, t.Any]]] = [
        ("guest_seclabel", {"guests": [{"guest": "web", "type": "static", "label": LABEL}]}),
        ("guest_network_filter", {}),
        ("guest_power_cycle", {"guests": ["web"]}),
        ("svirt_rollback", {}),
    ]
    for name, arguments in calls:
        for check in (True, False):
            host(name, check, **arguments)
            assert PASSWORD not in host.output, name
        if name == "guest_seclabel":
            assert PASSWORD in Path(runs_in(host.folder)[0]).read_text()  # or nothing could be put back
            diff = host("svirt_rollback", True)["diff"]
            assert f"seclabel: static {LABEL}\n" in diff[0]["before"]
            assert "seclabel: dynamic" in diff[0]["after"]


def test_k2_a_guest_that_cannot_be_put_back_names_no_secret(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = host.libvirt.add("web", virt.domain("web").replace("<devices>", SECRETS["graphics"][:-10] + "\n", 1))
    host("guest_seclabel", guests=[{"guest": "web", "type": "static", "label": LABEL}])
    guest.inactive = (guest.inactive or "").replace(PASSWORD, "another" + PASSWORD)
    assert host.roll_back() == [(guest.uuid, "changed_since")]
    assert PASSWORD not in host.output


QEMU_CONF = f"""# vnc_password = "{PASSWORD}"
vnc_password = "{PASSWORD}"
spice_password="{PASSWORD}"
rdp_password = \"\"\"{PASSWORD}
{PASSWORD}\"\"\"
default_tls_x509_secret_uuid = "00000000-0000-0000-0000-000000000000"
# The default VNC password. Only 8 bytes are significant.
user = "qemu"
"""


def test_k2_passwords_of_qemu_conf_are_blanked(host: Host) -> None:
    host.conf.write_text(QEMU_CONF)
    host.write(QEMU_CONF.replace("qemu", "root").encode())
    for check in (True, False):
        (diff,) = host("svirt_rollback", check)["diff"]
        assert PASSWORD not in host.output
        assert 'user = "root"' in diff["before"]
        assert 'user = "qemu"' in diff["after"]
        assert "Only 8 bytes are significant" in diff["after"]
        assert "00000000-0000" in diff["after"]
    assert host.conf.read_text() == QEMU_CONF


@pytest.fixture
def real_conf(host: Host, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The qemu.conf of a captured host as a real file."""
    root = RealRoot(hosts.el9(), hosts.policy())
    root.conf = str(host.conf)
    hand_root(monkeypatch, lambda: root)
    monkeypatch.setattr(qemu_conf_body, "CONF", str(host.conf))
    return host.conf


def test_k2_a_password_that_qemu_conf_is_given_is_in_no_result(host: Host, real_conf: Path) -> None:
    real_conf.write_text(f'vnc_password = "{PASSWORD}"\n')
    other = "another" + PASSWORD
    for check in (True, False):
        result = host("libvirt_security", check, settings={"vnc_password": other})
        assert result["changed"] is True
        result.pop("invocation", None)
        assert PASSWORD not in json.dumps(result)
    assert other in real_conf.read_text()
    for wrong in ([PASSWORD], f"{PASSWORD}'\""):
        result = host("libvirt_security", settings={"spice_password": wrong})
        assert result["failed"] is True
        assert PASSWORD not in result["msg"]


def test_k2_a_snapshot_has_no_password(real_conf: Path) -> None:
    real_conf.write_text(QEMU_CONF)
    tree = hosts.el9()
    tree.file(daemon.CONF, QEMU_CONF)
    conf, _why = daemon.configuration(CapturedRoot(tree, hosts.policy()))
    assert conf is not None
    assert PASSWORD not in json.dumps([[item.key, item.value] for item in conf.assignments])
    assert "vnc_password" in [item.key for item in conf.assignments]


@pytest.mark.parametrize(
    "line",
    [
        f"password admin {PASSWORD}",
        f"  password_pbkdf2 root {PASSWORD}",
        f"linux /vmlinuz root=/dev/sda1 luks.passphrase={PASSWORD} ro",
        f'GRUB_CMDLINE_LINUX="quiet rd.secret={PASSWORD}"',
        f"api_token = {PASSWORD}",
        f"#  Some-Credential={PASSWORD}",
        f"linux /vmlinuz netroot=iscsi:user:{PASSWORD}@192.0.2.1::::iqn.2026-01.example:root ro",
        f"linux /vmlinuz cifsroot=//192.0.2.1/root,user=u,password={PASSWORD} ro",
        f"linux /vmlinuz cifsroot=//192.0.2.1/root,user=u,pass={PASSWORD},vers=3 ro",
        f"linux /vmlinuz rd.iscsi.password='{PASSWORD} {PASSWORD}' ro",
        f'GRUB_CMDLINE_LINUX="rd.iscsi.password=\\"{PASSWORD} {PASSWORD}\\" ro"',
        f'export GRUB_PASSWORD="{PASSWORD} {PASSWORD}"',
        f"  set grub_password='{PASSWORD}'",
        f"options systemd.setenv=DB_PASSWORD={PASSWORD} inst.rootpw={PASSWORD} wpa_psk={PASSWORD}",
        f"Environment=API_TOKEN={PASSWORD}",
        f"options inst.ks=https://web.example/ks?a=b&token={PASSWORD} quiet",
        f"options root=live:https://user:{PASSWORD}@web.example/root.img quiet",
    ],
)
def test_k2_secrets_of_other_files_are_blanked(line: str) -> None:
    shown = blanked(f"first\n{line}\nlast\n")
    assert PASSWORD not in shown
    assert shown.splitlines()[0::2] == ["first", "last"]


ARGUMENTS = [
    ("rd.iscsi.password={} ro selinux=0", "rd.iscsi.password=******** ro selinux=0"),
    ('ro rd.iscsi.password="{} b" selinux=0', "ro rd.iscsi.password=******** selinux=0"),
    ('ro "x password={} b" selinux=0', 'ro "x password=********" selinux=0'),
    (
        "ro cifsroot=//192.0.2.1/r,user=u,pass={},vers=3 selinux=0",
        "ro cifsroot=//192.0.2.1/r,user=u,pass=******** selinux=0",
    ),
    ("netroot=iscsi:u:{}@192.0.2.1::::iqn selinux=0", "netroot=iscsi:u:********@192.0.2.1::::iqn selinux=0"),
    ("ro rd.iscsi.password='{} selinux=0 b", "ro rd.iscsi.password=******** selinux=0 b"),
]


@pytest.mark.parametrize(("arguments", "shown"), ARGUMENTS)
def test_k2_a_snapshot_has_no_password_of_the_boot(arguments: str, shown: str) -> None:
    """And every other argument, for a fault in it must be found."""
    given = arguments.format(PASSWORD)
    assert blanked_arguments(given) == shown
    tree = hosts.el9()
    tree.file("/proc/cmdline", f"{given}\n")
    tree.file("/boot/loader/entries/0123-5.14.0-503.conf", f"title Linux\nversion 1\nlinux /vmlinuz\noptions {given}\n")
    snapshot = hosts.look(tree, options=Options(timeout=5, boot=True))
    assert PASSWORD not in json.dumps(encode(snapshot))
    assert snapshot.selinux.cmdline == shown
    assert "SEL-004" in [item.rule for item in findings(snapshot)]


@given(st.text(alphabet="ab =\"',;password", max_size=40))
def test_k2_what_is_blanked_hides_no_other_argument(text: str) -> None:
    before, after = (list(all_parameters(shown)) for shown in (text, blanked_arguments(text)))
    assert [name for name, _value in before] == [name for name, _value in after]
    assert [pair for pair in before if "pass" not in "=".join(pair)] == [
        pair for pair in after if "pass" not in "=".join(pair)
    ]


# -- K3: what a power cycle would take away ----------------------------------------------------------------------------

DISK = "    <disk type='file' device='disk'><source file='/srv/data.qcow2'/><target dev='vdb'/></disk>\n"
USB = "    <hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/><product id='0x1'/></source></hostdev>\n"


@pytest.fixture
def waiting(host: Host) -> virt.FakeGuest:
    """A guest that waits for its label."""
    definition = virt.domain("web", virt.seclabel("static", LABEL), virt.card(MAC))
    return host.libvirt.add("web", definition, virt.domain("web", cards=virt.card(MAC)), process=factory.DAEMON)


def refused(host: Host) -> list[tuple[str, str, str]]:
    """What check mode and the run refuse: the same, and nothing is stopped."""
    results = [host("guest_power_cycle", check, guests=["web"]) for check in (True, False)]
    assert results[0]["refused"] == results[1]["refused"]
    assert host.libvirt.calls == []
    assert [result["changed"] for result in results] == [False, False]
    return [(item["subject"], item["code"], item["why"]) for item in results[0]["refused"]]


@pytest.mark.parametrize(
    ("devices", "named"),
    [(DISK, "vdb"), (virt.card("52:54:00:00:00:02"), "52:54:00:00:00:02"), (USB, "hostdev subsystem usb")],
)
def test_k3_a_device_that_is_attached_live_only_is_named(
    host: Host, waiting: virt.FakeGuest, devices: str, named: str
) -> None:
    waiting.live = virt.domain("web", cards=virt.card(MAC) + devices)
    ((subject, code, why),) = refused(host)
    assert (subject, code) == ("guest web", "live_only_devices")
    assert named in why


def test_k3_a_disk_that_a_live_snapshot_replaced_is_named(host: Host, waiting: virt.FakeGuest) -> None:
    for place in ("inactive", "live"):
        disk = DISK if place == "inactive" else DISK.replace("data.qcow2", "overlay.qcow2")
        setattr(waiting, place, (getattr(waiting, place) or "").replace("  </devices>", f"{disk}  </devices>"))
    ((_subject, code, why),) = refused(host)
    assert (code, "/srv/overlay.qcow2" in why) == ("live_only_devices", True)


@pytest.mark.parametrize(
    ("facts", "code", "named"),
    [
        ({"saved": True}, "managed_save", "saved state"),
        ({"job": 9}, "job_under_way", "backup"),
        ({"job": 6}, "job_under_way", "snapshot"),
        ({"block_jobs": ("vdb",)}, "job_under_way", "block job of disk vdb"),
        ({"inactive": None}, "transient", "transient"),
        ({"stands": 3}, "stands_still", "paused"),
        ({"stands": 6}, "stands_still", "crashed"),
        ({"stands": 7}, "stands_still", "asleep"),
    ],
)
def test_k3_a_guest_that_would_lose_something_is_refused(
    host: Host, waiting: virt.FakeGuest, facts: dict[str, t.Any], code: str, named: str
) -> None:
    for place in ("inactive", "live"):
        setattr(waiting, place, (getattr(waiting, place) or "").replace("  </devices>", f"{DISK}  </devices>"))
    for name, value in facts.items():
        setattr(waiting, name, value)
    ((_subject, found, why),) = refused(host)
    assert (found, named in why) == (code, True)


def test_k3_a_disk_that_is_attached_after_the_plan_is_seen(
    host: Host, waiting: virt.FakeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = guest_power.cycle

    def attach(*arguments: t.Any) -> t.Any:
        waiting.live = virt.domain("web", cards=virt.card(MAC) + DISK)
        return real(*arguments)

    monkeypatch.setattr(guest_power, "cycle", attach)
    result = host("guest_power_cycle", guests=["web"])
    assert [item["code"] for item in result["refused"]] == ["live_only_devices"]
    assert host.libvirt.calls == []


def test_k3_a_guest_that_would_reboot_instead_is_not_told_to_shut_down(host: Host, waiting: virt.FakeGuest) -> None:
    for place in ("inactive", "live"):
        xml = (getattr(waiting, place) or "").replace("</domain>", "<on_poweroff>restart</on_poweroff></domain>")
        setattr(waiting, place, xml)
    ((_subject, code, why),) = refused(host)
    assert (code, "on_poweroff" in why) == ("reboots_instead", True)
    assert host("guest_power_cycle", guests=["web"], method="destroy")["refused"] == []
    assert host.libvirt.calls == ["destroy web", "create web"]


def test_k3_a_guest_that_loses_nothing_is_cycled(host: Host, waiting: virt.FakeGuest) -> None:
    assert host("guest_power_cycle", guests=["web"])["refused"] == []
    assert host.libvirt.calls == ["shutdown web", "create web"]


# -- K4: a save while the journal is synced ----------------------------------------------------------------------------


class Saving:
    """Somebody who saves a file each time the journal was synced, for some times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, save: t.Callable[[], object], times: int) -> None:
        self.left = times
        record = Journal.record

        def recorded(journal: Journal, entries: t.Iterable[Entry]) -> int:
            position = record(journal, entries)
            if self.left:
                self.left -= 1
                save()
            return position

        monkeypatch.setattr(Journal, "record", recorded)


@pytest.mark.parametrize("form", ["in place", "renamed", "created", "removed"])
def test_k4_a_save_in_the_middle_is_seen_and_the_change_repeated(
    host: Host, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    if form != "created":
        host.conf.write_bytes(b"first\n")

    def save() -> None:
        if form == "renamed":
            fresh = host.conf.with_name("fresh")
            fresh.write_bytes(b"theirs\n")
            fresh.rename(host.conf)
        elif form == "removed":
            host.conf.unlink()
        else:
            host.conf.write_bytes(b"theirs\n")

    Saving(monkeypatch, save, 1)
    with Journal("x", host.folder) as journal:
        change_file(str(host.conf), lambda content: (content or b"") + b"ours\n", journal)
    theirs = b"" if form == "removed" else b"theirs\n"
    assert host.conf.read_bytes() == theirs + b"ours\n"
    (entry,) = entries_of(runs_in(host.folder)[0])  # the entry of the change that happened
    assert file_write.FileState.of(entry.before).content == (None if form == "removed" else b"theirs\n")
    assert host.roll_back() == []
    assert (host.conf.read_bytes() if host.conf.exists() else b"") == theirs


def test_k4_somebody_who_saves_without_end_keeps_the_file(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.conf.write_bytes(b"first\n")
    counter = iter(range(1000))
    Saving(monkeypatch, lambda: host.conf.write_bytes(b"theirs %d\n" % next(counter)), 1000)
    with Journal("x", host.folder) as journal, pytest.raises(HostWriteError) as error:
        change_file(str(host.conf), b"ours\n", journal)
    assert error.value.code == "changed_meanwhile"
    assert host.conf.read_bytes().startswith(b"theirs")
    assert runs_in(host.folder) == []  # nothing was changed, and nothing says so
    assert sorted(os.listdir(host.conf.parent)) == ["qemu.conf"]


def test_k4_a_plan_from_an_older_text_is_not_written_over_a_save(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.conf.write_bytes(b"first\n")
    basis = file_write.state_of(str(host.conf))
    Saving(monkeypatch, lambda: host.conf.write_bytes(b"theirs\n"), 1)
    with Journal("x", host.folder) as journal, pytest.raises(HostWriteError):
        change_file(str(host.conf), b"ours\n", journal, basis=basis)
    assert host.conf.read_bytes() == b"theirs\n"


def test_k4_a_save_while_a_file_is_put_back_is_seen(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.conf.write_bytes(b"first\n")
    host.write(b"ours\n")
    write = file_write._write

    def slow(path: str, state: file_write.FileState) -> None:
        write(path, state)
        host.conf.write_bytes(b"theirs\n")

    monkeypatch.setattr(file_write, "_write", slow)
    done = host("svirt_rollback")
    assert [(item["subject"], item["code"]) for item in done["refused"]] == [(str(host.conf), "changed_since")]
    assert host.conf.read_bytes() == b"theirs\n"


@pytest.mark.parametrize(("times", "failed"), [(1, False), (2, False), (99, True)])
def test_k4_qemu_conf_keeps_what_somebody_saved_in_the_middle(
    host: Host, real_conf: Path, monkeypatch: pytest.MonkeyPatch, times: int, failed: bool
) -> None:
    real_conf.write_text(f'vnc_password = "{PASSWORD}"\n')
    Saving(monkeypatch, lambda: host.conf.write_text(host.conf.read_text() + "max_files = 9\n"), times)
    result = host("libvirt_security", require_confined=True)
    text = host.conf.read_text()
    assert "max_files = 9\n" in text
    assert ("\nsecurity_require_confined = 1\n" in text) != failed
    assert bool(result.get("failed")) == failed
    assert PASSWORD not in host.output
    assert len(runs_in(host.folder)) == (0 if failed else 1)
