# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What runs inside a host. Sent over ssh as it is: standard library and the distribution's bindings only, any of them
imported where it is used, because under emulation an import costs as much as the work."""
