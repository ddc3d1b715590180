# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This fragment is PRIVATE to the collection: it can change or go at any time.
# Do not use it from other collections.
"""Options that several modules share."""

from __future__ import annotations


class ModuleDocFragment:
    STRICT = r"""
options:
  strict:
    description:
      - Fail when anything was refused. Without it, RV(refused) says what and why.
    type: bool
    default: false
"""

    # Of modules that change guests' definitions.
    TIMEOUT = r"""
options:
  timeout:
    description:
      - Seconds that libvirt may take for each step, such as the definition of one guest.
      - In addition, the module waits up to a minute for another run of this collection's modules on the host.
    type: int
    default: 120
"""

    FORESEEN_CONTEXT = r"""
options:
  foreseen_context:
    description:
      - RV(svirt.fleet.category_range#module:context) of an earlier task, where a restart of the daemon followed it. In
        check mode the daemon is then taken to run with this label. Outside of check mode it is ignored.
    type: str
"""

    SNAPSHOTS = r"""
options:
  snapshots:
    description: Folder on the controller with one file per host, as M(svirt.fleet.svirt_info) writes them.
    type: path
    required: true
"""

    STORE = r"""
options:
  store:
    description:
      - URL of the database. V(sqlite:///FILE) with a path relative to the working directory, V(sqlite:////FILE) with an
        absolute path, or V(postgresql://USER@HOST/DATABASE).
      - Keep the password of a server in C(~/.pgpass) or in C(PGPASSWORD), not in the URL. Output never shows it.
    type: str
    default: sqlite:///svirt-fleet.db
"""

    # Of modules that work on a run in the store.
    RUN = r"""
options:
  run:
    description:
      - Id of a run in the store. All jobs of a run give the same one, or none.
      - 1 to 100 letters, digits, dots, colons, hyphens and underscores.
    type: str
    default: ""
  inventory:
    description:
      - Name of the inventory, by which jobs without O(run) find their common run, and a run the last one that it is
        compared with.
      - By default the id of the inventory in AWX, else the places that the inventory was read from. Give a name where
        jobs read the same inventory from different places.
    type: str
    default: ""
"""

    STORAGE = r"""
options:
  storage:
    description:
      - Statements on which mounts are one storage. Mounts of one entry are the same storage, mounts of two entries are
        different ones. Without a statement, mounts of different sources may be one storage; what follows from that is
        unknown.
      - Each entry has C(name), and C(sources) or C(mounts) or both. C(sources) are mount sources as the mount table
        has them, such as V(filer:/vol/vms), on any host. C(mounts) are C(HOST:/FOLDER), the folder being a mount
        point of that host or one that it exports; they take precedence over C(sources).
      - C(hosts) lists all hosts that use the storage, inside the fleet and outside. Files on it are then repaired only
        where all of these hosts were read. Without it, all hosts of the fleet must have been read, and have the
        storage or not have it beyond doubt.
      - A statement that the snapshots disprove is an error that names both.
    type: list
    elements: dict
    default: []
"""

    # Of modules that assign labels to guests.
    TENANTS = r"""
options:
  tenants:
    description: Tenants of guests. They count only where labels are reserved in a store.
    type: list
    elements: dict
    default: []
    suboptions:
      match:
        description: Exact name or uuid of a guest. An entry for the uuid wins over one for the name.
        type: str
        required: true
      tenant:
        description: Name of the tenant.
        type: str
        required: true
  default_tenant:
    description: Tenant of the guests that O(tenants) does not name.
    type: str
    default: default
"""
