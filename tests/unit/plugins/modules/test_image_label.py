# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The module as a whole: a captured host around real files."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.module_utils._backends import image_label as work
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.model import REPAIRS
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.file_contexts import ContextRule
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import entries_of
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import file_contexts
from ansible_collections.svirt.fleet.plugins.modules import image_label

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot
from tests.unit.support.handed_in import hand_journal, hand_root
from tests.unit.support.module_args import patch_module_args

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sets labels on real files")

LABEL = "security.selinux"
OLD = "system_u:object_r:svirt_image_t:s0:c1,c2"
LOCAL = "/etc/selinux/targeted/contexts/files/file_contexts.local"


class Host:
    """A host without guests, whose files are those of this machine."""

    def __init__(self, folder: Path) -> None:
        self.tree = hosts.bare()
        self.folder = folder.resolve()
        self.image = self.folder / "a.raw"
        self.image.write_bytes(b"x")
        os.setxattr(self.image, LABEL, f"{OLD}\0".encode())
        self.journal = self.folder / "journal"
        self.commits: list[list[ContextRule]] = []

    @property
    def label(self) -> str:
        return os.getxattr(self.image, LABEL).decode().rstrip("\0")

    def commit(self, rules: t.Sequence[ContextRule], timeout: float = 0) -> None:
        self.commits.append(list(rules))
        self.tree.file(LOCAL, "".join(f"{rule.target} {rule.context}\n" for rule in rules if rule.context))

    def runs(self) -> list[Path]:
        return sorted(self.journal.glob("*.jsonl"))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    hand_root(monkeypatch, lambda: CapturedRoot(host.tree, hosts.policy()))
    hand_journal(monkeypatch, image_label, host.journal)
    monkeypatch.setattr(file_contexts, "commit", host.commit)
    monkeypatch.setattr(file_contexts, "defaults", lambda wanted, *_: dict.fromkeys(wanted, hosts.REST_LABEL))
    return host


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(**arguments: t.Any) -> dict[str, t.Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            image_label.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run


Run = t.Callable[..., dict[str, t.Any]]


def test_check_mode_predicts_the_run_and_a_second_run_does_nothing(host: Host, run: Run) -> None:
    wanted: dict[str, t.Any] = {
        "labels": [{"path": str(host.image)}],
        "folders": [str(host.folder)],
        "fcontexts": [{"target": "/srv/x(/.*)?", "setype": "virt_content_t"}],
        "repair": list(REPAIRS),
    }
    expected = run(**wanted, _ansible_check_mode=True, _ansible_diff=True)
    assert (host.label, host.commits, host.journal.exists()) == (OLD, [], False)
    done = run(**wanted, _ansible_diff=True)
    for result in (expected, done):
        result.pop("invocation", None)
    assert expected == done
    assert done["changed"] is True
    assert [(line["action"], line["subject"]) for line in done["plan"]] == [
        ("fcontext", "file context /srv/x(/.*)? (a)"),
        ("fcontext", f"file context {host.folder}(/.*)? (a)"),
        ("relabel", f"image {host.folder}"),
        ("relabel", f"image {host.image}"),
    ]
    assert (host.label, len(host.commits)) == (hosts.REST_LABEL, 1)
    assert [entry.kind for entry in entries_of(str(host.runs()[0]))] == ["fcontext", "label", "label"]
    again = run(**wanted, _ansible_diff=True)
    assert (again["changed"], again["plan"], again["diff"]) == (False, [], [])
    assert len(host.runs()) == 1


def test_every_key_of_the_result_is_documented(host: Host, run: Run) -> None:
    result = run(labels=[{"path": str(host.image)}])
    assert set(result) - {"invocation", "changed"} == set(yaml.safe_load(image_label.RETURN))


def test_what_is_refused_fails_only_when_asked_to(host: Host, run: Run) -> None:
    os.link(host.image, host.folder / "second")
    wanted: dict[str, t.Any] = {"labels": [{"path": str(host.image)}, {"path": "/none/at/all"}]}
    result = run(**wanted)
    assert (result["changed"], result.get("failed", False)) == (False, False)
    assert [item["subject"] for item in result["refused"]] == ["image /none/at/all", f"image {host.image}"]
    failed = run(**wanted, strict=True)
    assert failed["failed"] is True
    assert failed["msg"].startswith("image /none/at/all: ")
    assert failed["refused"] == result["refused"]
    assert host.label == OLD


def test_shared_storage_is_only_touched_with_knowledge(host: Host, run: Run) -> None:
    table = host.tree.entries["/proc/self/mountinfo"]
    table.content += f"30 22 0:44 / {host.folder} rw - nfs4 filer:/x rw,seclabel\n".encode()
    wanted: dict[str, t.Any] = {"labels": [{"path": str(host.image)}]}
    assert run(**wanted)["refused"][0]["code"] == "use_elsewhere_unknown"
    known: dict[str, t.Any] = {"folder": str(host.folder), "complete": True}
    used = {**known, "in_use": [{"inode": host.image.stat().st_ino, "by": "guest x on kvm2"}]}
    assert run(**wanted, elsewhere=[used])["refused"][0]["code"] == "in_use_elsewhere"
    assert host.label == OLD
    assert run(**wanted, elsewhere=[known])["changed"] is True
    assert host.label == hosts.REST_LABEL


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"timeout": 0}, "timeout is 0"),
        ({"labels": [{"path": "a.raw"}]}, "is not absolute"),
        ({"labels": [{"path": "/a", "label": "virt_image_t"}]}, "has no level"),
        ({"labels": [{"path": "/a", "label": "system_u:object_r:nonsense_t:s0"}]}, "does not know the label"),
        ({"fallback": "x"}, "has no level"),
        ({"folders": ["/"]}, "is not an absolute path of a folder below /"),
        ({"fcontexts": [{"target": "/a", "setype": "nonsense_t"}]}, "does not know the label"),
        ({"fcontexts": [{"target": "/a"}]}, "has no setype"),
    ],
)
def test_wrong_input_fails_before_anything_changes(host: Host, run: Run, wrong: dict[str, t.Any], message: str) -> None:
    result = run(**{"labels": [{"path": str(host.image)}], **wrong})
    assert result["failed"] is True
    assert message in result["msg"]
    assert (host.label, host.runs()) == (OLD, [])


def test_the_documentation_says_what_the_arguments_are() -> None:
    documented = yaml.safe_load(image_label.DOCUMENTATION)["options"]
    assert set(documented) == set(work.ARGUMENTS)
    assert documented["repair"]["choices"] == list(REPAIRS)
    for rule in ("IMG-001", "IMG-002", "IMG-005", "IMG-006", "IMG-007", "IMG-009", "IMG-010"):
        assert rule in str(documented["repair"]["description"])
