# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that reads and writes all the time sees no error while the whole of svirt.fleet.harden runs over its host.

That it counts errors is proved too: by what a careless hardening would do to the guest, a wrong label on its image
while it runs.
"""

from __future__ import annotations

from busy import HOST, IMAGE, Busy
from story import Story

OTHERS = "system_u:object_r:svirt_image_t:s0:c101,c202"
#: What works on the host meanwhile: a file, a restart of the daemon, a label, a definition.
MODULES = {"libvirt_security", "libvirt_restart", "image_label", "guest_network_filter"}


def test_guest_sees_no_error_while_its_host_is_hardened(story: Story) -> None:
    load, done = story.load, story.done.run
    assert {name for name in MODULES if any(item["changed"] for item in done.of(HOST, name))} == MODULES
    assert load.before.clean, load
    assert load.watched["errors"] == 0, load
    assert load.watched["last"] > load.watched["first"] > 0, load
    assert load.before.steps < load.after.steps
    assert load.after.clean, load
    assert load.same, "its process is another"
    assert load.said == "No errors found"
    assert load.failures["failed_rd_operations"] == load.failures["failed_wr_operations"] == 0, load
    assert min(load.failures["rd_operations"], load.failures["wr_operations"]) >= load.after.steps, load


def test_error_is_counted_and_a_guest_gets_its_image_back(story: Story, busy: Busy) -> None:
    node = busy.node
    assert story.load.after.clean
    before = busy.counters()
    assert busy.wait(lambda now: now.passes > before.passes).clean, "it goes on after the story"
    own = node.shell(f"getfattr --only-values -n security.selinux {IMAGE}").rstrip("\0")
    node.shell(f"setfattr -n security.selinux -v {OTHERS} {IMAGE}")
    lost = busy.wait(lambda now: now.failed > 0)
    assert lost.wrong > 0, "what was not read is not what was written"
    assert busy.failures()["failed_rd_operations"] > 0

    done = node.module("image_label", repair=["in_use"], within=[IMAGE.rpartition("/")[0]])
    assert [(line["action"], line["to"]) for line in done["plan"]] == [("relabel", own)], done
    back = busy.counters()
    since = busy.wait(lambda now: now.passes > back.passes)
    later = busy.wait(lambda now: now.passes > since.passes + 1)
    assert (later.failed, later.wrong) == (since.failed, since.wrong), "no error since"
    assert node.pid("busy") == busy.pid
