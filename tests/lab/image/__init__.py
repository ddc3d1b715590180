# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What a host boots from: the image of its disk, and the kernel that runs it as a process."""
