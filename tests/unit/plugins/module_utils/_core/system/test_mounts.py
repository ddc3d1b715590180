# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mount and export tables."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.system import mounts
from hypothesis import given
from hypothesis import strategies as st

CONTEXT = "system_u:object_r:virt_image_t:s0:c1,c2"

MOUNTINFO = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,seclabel,errors=remount-ro
25 22 0:21 / /dev rw,nosuid shared:2 master:7 - devtmpfs udev rw,seclabel,size=1
60 22 0:50 / /srv/share rw,relatime - nfs4 kvm1:/srv/export rw,seclabel,vers=4.2,addr=192.0.2.1
61 22 0:51 /sub /srv/with\040space rw - nfs4 kvm1:/a\040b rw,vers=4.2
62 22 8:17 / /srv/context rw - xfs /dev/sdb1 rw,seclabel,context="system_u:object_r:virt_image_t:s0:c1,c2",attr2
63 22 8:33 / /srv/context rw - ext4 /dev/sdc1 rw,context=system_u:object_r:virt_image_t:s0
broken line
64 22 8:49 / /x
"""


def test_mountinfo() -> None:
    found = mounts.parse_mountinfo(MOUNTINFO)
    assert [item.mount for item in found] == [
        "/",
        "/dev",
        "/srv/share",
        "/srv/with space",
        "/srv/context",
        "/srv/context",
    ]
    root, _dev, share, space, quoted, plain = found
    assert (root.type, root.source, root.device, root.labelled, root.remote) == (
        "ext4",
        "/dev/sda1",
        "8:1",
        True,
        False,
    )
    assert (share.type, share.source, share.labelled, share.remote) == ("nfs4", "kvm1:/srv/export", True, True)
    assert (space.root, space.source, space.labelled) == ("/sub", "kvm1:/a b", False)
    assert (quoted.context, quoted.labelled) == (CONTEXT, False)
    assert "attr2" in quoted.options
    assert plain.context == "system_u:object_r:virt_image_t:s0"


def test_proc_mounts() -> None:
    text = "/dev/sda1 / ext4 rw,seclabel 0 0\nkvm1:/e /srv/a\\040b nfs4 rw,vers=4.2 0 0\nbroken\n"
    root, share = mounts.parse_mounts(text)
    assert (root.mount, root.labelled, root.device) == ("/", True, None)
    assert (share.mount, share.type, share.labelled, share.remote) == ("/srv/a b", "nfs4", False, True)


@pytest.mark.parametrize(
    ("path", "mount", "type_"),
    [
        ("/srv/share/a/b.qcow2", "/srv/share", "nfs4"),
        ("/srv/share", "/srv/share", "nfs4"),
        ("/srv/shared/x", "/", "ext4"),
        ("/srv/context/x", "/srv/context", "ext4"),  # mounted over the other one
        ("/", "/", "ext4"),
    ],
)
def test_mount_of_a_path(path: str, mount: str, type_: str) -> None:
    found = mounts.mount_of(path, mounts.parse_mountinfo(MOUNTINFO))
    assert found is not None
    assert (found.mount, found.type) == (mount, type_)


def test_no_mount() -> None:
    assert mounts.mount_of("/a", []) is None


def test_etab_and_exports() -> None:
    text = (
        "# comment\n"
        "/srv/export\t192.0.2.0/24(rw,sync,security_label,fsid=0) 198.51.100.7(ro)\n"
        '"/srv/with space"  *(rw)\n'
        "/srv/a\\040b host.example(rw,security_label) # trailing\n"
        "/srv/long \\\n  one(rw) \\\n  two(security_label)\n"
        "/srv/default -rw,security_label one two(ro)\n"
        "/srv/bare\n"
    )
    found = [(item.path, item.client, item.labelled) for item in mounts.parse_exports(text)]
    assert found == [
        ("/srv/export", "192.0.2.0/24", True),
        ("/srv/export", "198.51.100.7", False),
        ("/srv/with space", "*", False),
        ("/srv/a b", "host.example", True),
        ("/srv/long", "one", False),
        ("/srv/long", "two", True),
        ("/srv/default", "one", True),
        ("/srv/default", "two", True),
        ("/srv/bare", "", False),
    ]
    under = mounts.exports_under("/srv/export", mounts.parse_exports(text))
    assert {item.path for item in under} == {"/srv/export"}
    assert len(mounts.exports_under("/", mounts.parse_exports(text))) == len(found)


@pytest.mark.parametrize(
    ("text", "plain"),
    [(r"a\040b", "a b"), (r"\011\012\134\043", "\t\n\\#"), ("plain", "plain"), (r"\4", r"\4"), (r"\777", r"\777")],
)
def test_unescape(text: str, plain: str) -> None:
    assert mounts.unescape(text) == plain


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40))
def test_any_mount_point_comes_back(name: str) -> None:
    escaped = "".join(f"\\{ord(char):03o}" if char in " \t\n\\#" else char for char in f"/{name}")
    line = f"1 0 8:1 / {escaped} rw - ext4 /dev/sda1 rw,seclabel\n"
    assert [item.mount for item in mounts.parse_mountinfo(line)] == [f"/{name}"]


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    mounts.parse_mountinfo(text)
    mounts.parse_mounts(text)
    for export in mounts.parse_exports(text):
        assert isinstance(export.labelled, bool)
