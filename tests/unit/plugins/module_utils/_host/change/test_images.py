# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""On real files: attributes of a name that starts with security. can be set by root wherever SELinux is not there."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import time
import typing as t
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostWriteError, JournalError, PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.model import (
    FileHolder,
    ImageChange,
    ImageKey,
    ImageTarget,
    SurveyedFile,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Entry, Journal, entries_of
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import images as image_files
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.images import ImageSurvey

from tests.unit.support.processes import OPENS, OwnProcesses, holding

LABEL = "security.selinux"
OLD = "system_u:object_r:svirt_image_t:s0:c1,c2"
NEW = "system_u:object_r:virt_image_t:s0"
REMEMBERED = {
    "trusted.libvirt.security.selinux": f"{NEW}\0".encode(),
    "trusted.libvirt.security.ref_selinux": b"1\0",
    "trusted.libvirt.security.ref_dac": b"1\0",
}


def only(not_made: dict[ImageKey, Reason]) -> str:
    """Code of the reason why the only change failed."""
    assert len(not_made) == 1
    return next(iter(not_made.values())).code


def can_label() -> bool:
    """Whether labels can be set here that no policy knows."""
    if os.geteuid() != 0:
        return False
    handle = os.memfd_create("probe")
    try:
        os.setxattr(handle, LABEL, b"x")
    except OSError as error:
        return error.errno == errno.EOPNOTSUPP  # a memory file has none, but nobody forbade it
    finally:
        os.close(handle)
    return True


pytestmark = pytest.mark.skipif(not can_label(), reason="sets labels on real files")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "images"
    path.mkdir()
    return path


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal("image_label", str(tmp_path / "journal")) as journal:
        yield journal


def make(path: Path, label: str | None = OLD, attributes: dict[str, bytes] | None = None, mode: int = 0o644) -> Path:
    path.write_bytes(b"image")
    path.chmod(mode)
    for name, value in (attributes or {}).items():
        os.setxattr(path, name, value)
    if label is not None:
        os.setxattr(path, LABEL, f"{label}\0".encode())
    return path


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}


def facts(path: Path) -> tuple[t.Any, ...]:
    seen = path.lstat()
    return seen.st_ino, seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode), attributes(path)


def survey(*paths: Path, within: Path | None = None, **more: t.Any) -> dict[Path, t.Any]:
    targets = [ImageTarget(str(path), "at_rest", **more) for path in paths]
    taken = ImageSurvey(OwnProcesses(), (str(within),) if within else (), 30).take(targets)
    return {path: taken[(None, str(path))] for path in paths}


def planned(path: Path, label: str | None = NEW, within: Path | None = None, **more: t.Any) -> ImageChange:
    """What the plan makes of the file as it is now."""
    return ImageChange(ImageTarget(str(path), "at_rest"), survey(path, within=within)[path], label, **more)


def test_what_a_survey_sees(folder: Path) -> None:
    image = make(folder / "a.raw", attributes=REMEMBERED, mode=0o640)
    os.chown(image, 107, 36)
    seen = survey(image)[image]
    assert (seen.error, seen.kind, seen.label, seen.uid, seen.gid, seen.mode) == ("", "file", OLD, 107, 36, 0o640)
    assert (seen.inode, seen.links, seen.holders, seen.blind) == (image.stat().st_ino, 1, [], "")
    assert seen.memory["trusted.libvirt.security.ref_dac"] == "1"
    plain = make(folder / "b.raw", label=None)
    assert survey(plain)[plain].label is None


def test_a_survey_follows_no_link_below_its_folder(folder: Path) -> None:
    image = make(folder / "a.raw")
    (folder / "link").symlink_to(image)
    (folder / "sub").symlink_to(folder)
    (folder.parent / "way").symlink_to(folder)
    way = folder.parent / "way"
    seen = survey(folder / "link", folder / "sub/a.raw", folder / "none", way / "a.raw")
    assert "it is a symbolic link" in seen[folder / "link"].error
    assert seen[folder / "sub/a.raw"].error
    assert seen[way / "a.raw"].error
    assert "No such file" in seen[folder / "none"].error
    through = survey(way / "a.raw", way / "link", way / "sub/a.raw", within=way)
    assert through[way / "a.raw"].label == OLD
    assert through[way / "link"].error
    assert through[way / "sub/a.raw"].error


@pytest.mark.parametrize("path", ["/proc/../etc/passwd", "/etc/./passwd", "/a\0b"])
def test_paths_that_are_not_plain(path: str) -> None:
    target = ImageTarget(path, "label")
    assert ImageSurvey(OwnProcesses(), (), 30).take([target])[target.key].error


def test_a_survey_sees_who_has_a_file_open(folder: Path) -> None:
    image, other = make(folder / "a.raw"), make(folder / "b.raw")
    with holding(OPENS, str(image)) as child:
        seen = survey(image, other)
        child.kill()
    assert [holder.pid for holder in seen[image].holders] == [child.pid]
    assert isinstance(seen[image].holders[0], FileHolder)
    assert seen[other].holders == []


def test_a_file_in_another_process_own_root(folder: Path) -> None:
    node = make(folder / "vda")
    with holding("import os, sys; os.chroot(sys.argv[1])", str(folder.parent)) as child:
        target = ImageTarget("/images/vda", "in_use", pid=child.pid)
        seen = ImageSurvey(OwnProcesses(), (), 30).take([target])[target.key]
        assert (seen.error, seen.inode, seen.label) == ("", node.stat().st_ino, OLD)
        child.kill()
    gone = ImageSurvey(OwnProcesses(), (), 30).take([target])[target.key]
    assert gone.error


def test_a_change_does_all_that_was_planned(folder: Path, journal: Journal) -> None:
    image = make(folder / "a.raw", attributes=REMEMBERED)
    os.chown(image, 107, 107)
    change = planned(image, close=True, forget=tuple(REMEMBERED))
    assert image_files.apply([change], (), journal, OwnProcesses()) == {}
    assert facts(image)[1:] == (0, 0, 0o600, {LABEL: f"{NEW}\0".encode()})
    assert image.read_bytes() == b"image"


@pytest.mark.parametrize("label", [OLD, None])
@pytest.mark.parametrize("close", [True, False])
def test_the_journal_puts_back_exactly_what_was_there(
    folder: Path, journal: Journal, label: str | None, close: bool
) -> None:
    image = make(folder / "a.raw", label=label, attributes={**REMEMBERED, "user.note": b"mine"}, mode=0o664)
    os.chown(image, 107, 36)
    before = facts(image)
    forget = tuple(sorted(REMEMBERED))
    assert image_files.apply([planned(image, close=close, forget=forget)], (), journal, OwnProcesses()) == {}
    assert facts(image) != before
    assert journal.path is not None
    (entry,) = entries_of(journal.path)
    assert (entry.kind, entry.subject) == ("label", str(image))
    image_files.restore(entry, OwnProcesses())
    assert facts(image) == before
    image_files.restore(entry, OwnProcesses())
    assert facts(image) == before


def test_everything_is_in_the_journal_before_anything_changes(folder: Path, journal: Journal) -> None:
    images = [make(folder / f"{number}.raw") for number in range(5)]
    changes = [planned(image) for image in images]

    class Full(Journal):
        def record(self, entries: t.Iterable[Entry]) -> int:
            assert len(list(entries)) == 5
            raise JournalError("the disk is full")

    journal.__class__ = Full
    with pytest.raises(JournalError):
        image_files.apply(changes, (), journal, OwnProcesses())
    assert [attributes(image)[LABEL] for image in images] == [f"{OLD}\0".encode()] * 5


def _hard_link(image: Path) -> None:
    os.link(image, image.with_name("second"))


def _another_file(image: Path) -> None:
    make(image.with_name("new")).rename(image)


def _another_label(image: Path) -> None:
    os.setxattr(image, LABEL, b"system_u:object_r:svirt_image_t:s0:c5,c6\0")


def _a_user_more(image: Path) -> None:
    os.setxattr(image, "trusted.libvirt.security.ref_selinux", b"1\0")


def _a_link(image: Path) -> None:
    image.rename(image.with_name("moved"))
    image.symlink_to("moved")


def _gone(image: Path) -> None:
    image.unlink()


@pytest.mark.parametrize("meanwhile", [_hard_link, _another_file, _another_label, _a_user_more, _a_link, _gone])
def test_a_file_that_changed_since_it_was_seen_is_left_alone(
    folder: Path, journal: Journal, meanwhile: Callable[[Path], None]
) -> None:
    image = make(folder / "a.raw")
    change = planned(image)
    meanwhile(image)
    before = {path: facts(path) for path in folder.iterdir()}
    refused = image_files.apply([change], (), journal, OwnProcesses())
    assert list(refused) == [(None, str(image))]
    assert {path: facts(path) for path in folder.iterdir()} == before
    assert journal.path is None  # nothing changed, so nothing was written


@pytest.mark.parametrize("meanwhile", [_hard_link, _another_file, _a_link, _gone])
def test_a_file_that_is_swapped_while_it_changes_is_put_back(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[Path], None]
) -> None:
    image = make(folder / "a.raw", attributes=REMEMBERED)
    before = facts(image)
    change = planned(image, close=True, forget=tuple(REMEMBERED))
    keep = os.open(image, os.O_PATH)
    set_it = image_files._set

    def then(handle: int, change: ImageChange) -> None:
        set_it(handle, change)
        meanwhile(image)

    monkeypatch.setattr(image_files, "_set", then)
    code = only(image_files.apply([change], (), journal, OwnProcesses()))
    assert code in ("hard_links", "another_file", "path_changed")
    name = f"/proc/self/fd/{keep}"
    seen = os.stat(name)
    now = (seen.st_ino, seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode))
    assert (*now, {one: os.getxattr(name, one) for one in os.listxattr(name)}) == before
    os.close(keep)


def test_a_change_that_fails_half_way_is_put_back(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, other = make(folder / "a.raw", attributes=REMEMBERED), make(folder / "b.raw")
    before = facts(image)
    changes = [planned(image, close=True, forget=tuple(REMEMBERED)), planned(other)]
    remove = os.removexattr

    def full(path: t.Any, name: str) -> None:
        if name.endswith("ref_dac"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        remove(path, name)

    monkeypatch.setattr(os, "removexattr", full)
    refused = image_files.apply(changes, (), journal, OwnProcesses())
    assert refused == {(None, str(image)): Reason("not_writable", "No space left on device; it is as it was")}
    assert facts(image) == before
    assert attributes(other)[LABEL] == f"{NEW}\0".encode()


def test_a_file_that_was_opened_since_it_was_seen_is_left_alone(folder: Path, journal: Journal) -> None:
    image, other = make(folder / "a.raw"), make(folder / "b.raw")
    changes = [planned(image), planned(other)]
    with holding(OPENS, str(image)) as child:
        code = only(image_files.apply(changes, (), journal, OwnProcesses()))
        child.kill()
    assert code == "open"
    assert (attributes(image)[LABEL], attributes(other)[LABEL]) == (f"{OLD}\0".encode(), f"{NEW}\0".encode())


def test_an_image_goes_back_to_the_guest_that_has_it_open(folder: Path, journal: Journal) -> None:
    image = make(folder / "a.raw")
    with holding(OPENS, str(image)) as child:
        change = planned(image)
        assert [holder.pid for holder in change.file.holders] == [child.pid]
        assert image_files.apply([change], (), journal, OwnProcesses()) == {}
        child.kill()
    assert attributes(image)[LABEL] == f"{NEW}\0".encode()


def test_what_cannot_even_be_restored_is_reported(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make(folder / "a.raw")
    change = planned(image, close=True)

    def broken(*_: t.Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "setxattr", broken)
    assert only(image_files.apply([change], (), journal, OwnProcesses())) == "not_restored"


def test_while_libvirt_works_on_a_file_it_is_left_alone(folder: Path, journal: Journal) -> None:
    image = make(folder / "a.raw")
    program = "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX, 1, 1)"
    with holding(program, str(image)) as child:
        code = only(image_files.apply([planned(image)], (), journal, OwnProcesses()))
        child.kill()
    assert code == "libvirt_changes_label"
    assert attributes(image)[LABEL] == f"{OLD}\0".encode()


def test_libvirt_waits_while_a_file_changes(folder: Path) -> None:
    image = make(folder / "a.raw")
    program = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'r+b')\n"
        "try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1)\nexcept OSError: sys.exit(7)"
    )
    handle = os.open(image, os.O_PATH)
    with image_files._libvirt_lock(handle):
        assert subprocess.run([sys.executable, "-c", program, str(image)], check=False).returncode == 7
    assert subprocess.run([sys.executable, "-c", program, str(image)], check=False).returncode == 0
    os.close(handle)


def entry_of(folder: Path, journal: Journal, **more: t.Any) -> tuple[Path, Entry]:
    image = make(folder / "a.raw")
    assert image_files.apply([planned(image, **more)], (), journal, OwnProcesses()) == {}
    assert journal.path is not None
    return image, entries_of(journal.path)[0]


def test_what_is_in_use_is_not_put_back(folder: Path, journal: Journal) -> None:
    image, entry = entry_of(folder, journal)
    with holding(OPENS, str(image)) as child:
        with pytest.raises(PlanError, match=f"process {child.pid} python") as refused:
            image_files.restore(entry, OwnProcesses())
        assert refused.value.code == "open"
        child.kill()
    assert attributes(image)[LABEL] == f"{NEW}\0".encode()


@pytest.mark.parametrize("meanwhile", [_hard_link, _another_file, _a_link, _gone])
def test_another_file_than_was_changed_is_not_put_back(
    folder: Path, journal: Journal, meanwhile: Callable[[Path], None]
) -> None:
    image, entry = entry_of(folder, journal)
    meanwhile(image)
    before = {path: facts(path) for path in folder.iterdir()}
    with pytest.raises((PlanError, HostWriteError)):
        image_files.restore(entry, OwnProcesses())
    assert {path: facts(path) for path in folder.iterdir()} == before


def _given_to_a_backup(image: Path) -> None:
    os.chown(image, 34, 34)


def _opened_to_a_group(image: Path) -> None:
    os.chmod(image, 0o640)


def _counted_by_libvirt(image: Path) -> None:
    os.setxattr(image, "trusted.libvirt.security.ref_selinux", b"2\0")


@pytest.mark.parametrize("meanwhile", [_given_to_a_backup, _opened_to_a_group, _counted_by_libvirt])
def test_owner_and_notes_that_somebody_set_since_are_not_put_back(
    folder: Path, journal: Journal, meanwhile: Callable[[Path], None]
) -> None:
    image = make(folder / "a.raw", attributes=REMEMBERED, mode=0o664)
    os.chown(image, 107, 36)
    assert image_files.apply([planned(image, close=True, forget=tuple(REMEMBERED))], (), journal, OwnProcesses()) == {}
    assert journal.path is not None
    (entry,) = entries_of(journal.path)
    meanwhile(image)
    before = facts(image)
    for dry in (True, False):
        with pytest.raises(PlanError) as refused:
            image_files.restore(entry, OwnProcesses(), dry)
        assert refused.value.code == "changed_since"
    assert facts(image) == before


def test_on_shared_storage_a_label_goes_back_only_when_nobody_set_another(folder: Path, journal: Journal) -> None:
    image, entry = entry_of(folder, journal, shared=True)
    _another_label(image)
    with pytest.raises(PlanError) as refused:
        image_files.restore(entry, OwnProcesses())
    assert refused.value.code == "use_elsewhere_unknown"
    os.setxattr(image, LABEL, f"{NEW}\0".encode())
    image_files.restore(entry, OwnProcesses())
    assert attributes(image)[LABEL] == f"{OLD}\0".encode()


def test_what_is_back_already_is_left_alone_wherever_it_lies_and_whoever_uses_it(
    folder: Path, journal: Journal
) -> None:
    image, entry = entry_of(folder, journal, shared=True)
    image_files.restore(entry, OwnProcesses())
    before = facts(image)
    image_files.restore(entry, OwnProcesses())
    with holding(OPENS, str(image)):
        image_files.restore(entry, OwnProcesses())
    assert facts(image) == before


def test_a_node_of_a_running_guest_is_not_put_back(folder: Path) -> None:
    node = make(folder / "vda")
    seen = node.stat()
    with holding("import os, sys; os.chroot(sys.argv[1])", str(folder.parent)) as child:
        before = {
            "pid": child.pid,
            "within": [],
            "shared": False,
            "device": f"{os.major(seen.st_dev)}:{os.minor(seen.st_dev)}",
            "inode": seen.st_ino,
            "owner": None,
            "xattrs": {LABEL: None},
            "set": NEW,
        }
        with pytest.raises(PlanError) as refused:
            image_files.restore(Entry("label", "/images/vda", before), OwnProcesses())
        assert refused.value.code == "guest_runs"
        child.kill()
    image_files.restore(Entry("label", "/images/vda", before), OwnProcesses())  # it went with its guest


@pytest.mark.parametrize(
    "before", [{}, {"xattrs": 5, "owner": None}, {"xattrs": {"user.x": None}, "owner": None}, {"more": 1}]
)
def test_an_entry_that_is_none(before: dict[str, t.Any]) -> None:
    with pytest.raises(PlanError) as refused:
        image_files.restore(Entry("label", "/a", before))
    assert refused.value.code == "bad_journal_entry"


@pytest.mark.parametrize("after", [0.0, 0.002, 0.005, 0.01])
def test_a_run_that_is_killed_can_be_put_back_whole(folder: Path, tmp_path: Path, after: float) -> None:
    images = [make(folder / f"{number}.raw", attributes=REMEMBERED) for number in range(25)]
    before = {image: facts(image) for image in images}
    targets = [ImageTarget(str(image), "at_rest") for image in images]
    seen = ImageSurvey(OwnProcesses(), (), 30).take(targets)
    changes = [ImageChange(target, seen[target.key], NEW, True, tuple(REMEMBERED)) for target in targets]
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), Journal("image_label", str(tmp_path / "journal")) as journal:
            record = journal.record

            def then(entries: t.Iterable[Entry]) -> int:
                position = record(entries)
                os.write(tell, b"x")
                return position

            journal.record = then  # type: ignore[method-assign]
            image_files.apply(changes, (), journal, OwnProcesses())
        os._exit(0)
    os.read(told, 1)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(told)
    os.close(tell)
    with Journal("svirt_rollback", str(tmp_path / "journal"), wait=0) as journal:
        (run,) = journal.runs()
        for entry in reversed(entries_of(run)):
            image_files.restore(entry, OwnProcesses())
    assert {image: facts(image) for image in images} == before


SWAPPER = """
import contextlib, itertools, os, sys, time
folder, outside = sys.argv[1:]
names = [f"{folder}/{number}.raw" for number in range(8)]
victims = [f"{outside}/{name}" for name in ("secret", "keys/key", "shadow")]
print(flush=True)
for turn in itertools.count():
    name, victim = names[turn % 8], victims[turn % 3]
    spare = f"{folder}/.spare"
    with contextlib.suppress(OSError):
        kind = turn // 8 % 5
        if kind == 0:
            os.symlink(victim, spare)
        elif kind == 1:
            os.link(victim, spare)
        elif kind == 2:
            os.rename(f"{folder}/sub", f"{folder}/aside")
            os.symlink(outside, f"{folder}/sub")
            time.sleep(0.0002)
            os.unlink(f"{folder}/sub")
            os.rename(f"{folder}/aside", f"{folder}/sub")
            continue
        elif kind == 3:
            os.rename(name, f"{outside}/taken")
            time.sleep(0.0002)
            os.rename(f"{outside}/taken", name)
            continue
        else:
            os.link(name, f"{outside}/second")
            time.sleep(0.0001)
            os.unlink(f"{outside}/second")
            continue
        aside = f"{folder}/.aside"
        os.rename(name, aside)
        os.rename(spare, name)
        time.sleep(0.0002)
        os.unlink(name)
        os.rename(aside, name)
    with contextlib.suppress(OSError):
        os.unlink(spare)
"""


def test_a_race_never_changes_anything_outside_the_folder(tmp_path: Path) -> None:
    """Another process swaps paths for links, and files in and out of the folder, as fast as it can."""
    tmp_path = tmp_path.resolve()
    folder, outside = tmp_path / "images", tmp_path / "outside"
    for place in (folder, folder / "sub", outside, outside / "keys"):
        place.mkdir()
    victims = [make(outside / name, label=OLD, mode=0o640) for name in ("secret", "keys/key", "shadow")]
    victims.append(make(outside / "inner.raw", label=OLD, mode=0o640))  # what folder/sub/inner.raw would lead to
    before = {path: facts(path) for path in victims}
    images = [make(folder / f"{number}.raw") for number in range(8)]
    images.append(make(folder / "sub/inner.raw"))
    own = {path.stat().st_ino for path in images}
    made, refused, until = 0, 0, time.monotonic() + 4
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, str(folder), str(outside)], stdout=subprocess.PIPE)
    assert swapper.stdout is not None
    swapper.stdout.readline()
    try:
        while time.monotonic() < until:
            for old, new in ((OLD, NEW), (NEW, OLD)):
                changes = []
                for path in images:
                    with contextlib.suppress(OSError), image_files.opened(str(path), (str(folder),)) as handle:
                        now = image_files.state_of(handle)
                        seen = as_seen(now)
                        # The plan refuses links by their number; here every file is tried that has the right label.
                        if now.label == old:
                            changes.append(ImageChange(ImageTarget(str(path), "at_rest"), seen, new))
                outcome = image_files.apply(changes, (str(folder),), Silent(), OwnProcesses())
                made, refused = made + len(changes) - len(outcome), refused + len(outcome)
                assert {path: facts(path) for path in victims} == before
    finally:
        with swapper:
            swapper.kill()
    assert {path: facts(path) for path in victims} == before
    assert (made > 10, refused > 10) == (True, True), (made, refused)
    taken = (
        outside / "taken"
    )  # moved out while it was not being changed, perhaps with a label set before: ours by inode
    assert not taken.exists() or taken.stat().st_ino in own


class Silent(Journal):
    """Keeps nothing: the race makes thousands of entries."""

    def __init__(self) -> None:
        pass

    def record(self, entries: t.Iterable[Entry]) -> int:
        return -1


def as_seen(state: image_files.ImageState) -> SurveyedFile:
    seen = SurveyedFile("", state.kind, state.device, state.inode, state.links, state.label)
    return replace(seen, uid=state.uid, gid=state.gid, mode=state.mode)
