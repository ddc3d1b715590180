# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""A host as something that runs: under QEMU (KVM or emulation), or as a User-Mode Linux process."""
