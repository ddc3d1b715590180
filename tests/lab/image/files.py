# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Files of our own inside the image of a host."""

from __future__ import annotations

from importlib import resources

from tests.lab.network import BRIDGE, HOSTS, LINK_PREFIX

_NETWORK = "/etc/systemd/network"
_NO_AUTO = "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
_UNITS = "/etc/systemd/system"
_DISK_LABEL = "svirt-lab"

#: Set by the machine that starts a host, read by the host through QEMU's firmware configuration.
FW_CFG = "opt/org.svirt-fleet"
#: The same for a host that is no virtual machine: the name and the key are the lines of its second disk.
IDENTITY_DISK = "/dev/ubdb"
#: A module that every Python of a host imports as it starts: what it is for stands there.
PYTHON_MODULE = "svirt_lab_compiled"
PYTHON_FOLDER = "/usr/lib/python3/dist-packages"
FIRST_BOOT_UNIT = "svirt-lab-firstboot.service"
FIRST_BOOT_MARK = "SVIRT-LAB-BOOT-LOADER-READY"
TRIAL_UNIT = "svirt-lab-trial.service"
TRIAL_MARK = "SVIRT-LAB-HOST-ENFORCES"
DISK_LABEL = _DISK_LABEL
_EXPORT = "rw,no_root_squash,no_subtree_check,security_label,fsid=0"

_FW = f"/sys/firmware/qemu_fw_cfg/by_name/{FW_CFG}"


def _identity(there: str, name: str, key: str) -> str:
    """A unit that takes the host's name and key from two commands, where a path exists."""
    return f"""[Unit]
Description=Name and ssh key of this lab host, as given by the machine that started it
Before=ssh.service
ConditionPathExists={there}

[Service]
Type=oneshot
ExecStart=/bin/sh -c '{name} >/etc/hostname && hostname -F /etc/hostname'
ExecStart=/bin/sh -c '{key} >/etc/ssh/lab_authorized_keys'

[Install]
WantedBy=multi-user.target
"""


#: unit -> content
_IDENTITIES = {
    "svirt-lab-identity.service": _identity(f"{_FW}.name/raw", f"cat {_FW}.name/raw", f"cat {_FW}.key/raw"),
    "svirt-lab-identity-disk.service": _identity(
        IDENTITY_DISK, f"sed -n 1p {IDENTITY_DISK}", f"sed -n 2p {IDENTITY_DISK}"
    ),
}

# Names given on the command line are wrong here: the mark must reach the serial line after everything succeeded.
_FIRST_BOOT = f"""[Unit]
Description=Install the boot loader, once, while the image is built
Wants=systemd-remount-fs.service
After=systemd-remount-fs.service

[Service]
Type=oneshot
ExecStart=/usr/sbin/grub-install /dev/vda
ExecStart=/usr/sbin/update-grub
ExecStart=/usr/sbin/restorecon -RF /boot /etc
ExecStart=/bin/sh -c ': >/etc/machine-id; sync; echo {FIRST_BOOT_MARK} >/dev/ttyS0'
ExecStopPost=/usr/bin/systemctl --no-block poweroff
"""

_TRIAL = f"""[Unit]
Description=Say that this kernel boots a host that enforces, while the kernel is tried

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'grep -q 1 /sys/fs/selinux/enforce && echo {TRIAL_MARK} >/dev/console'
ExecStopPost=/usr/bin/systemctl --no-block poweroff
"""

_QEMU_CONF = """
# svirt.fleet lab: the safe settings, stated
security_driver = "selinux"
security_default_confined = 1
security_require_confined = 1
"""


def _links() -> dict[str, str]:
    """One .network file per host, matched by the address of the card between the hosts."""
    return {
        f"{_NETWORK}/20-link-{host.name}.network": (
            f"[Match]\nMACAddress={host.link_mac}\n\n[Network]\nAddress={host.link_address}/{LINK_PREFIX}\n{_NO_AUTO}"
        )
        for host in HOSTS.values()
    }


_UPLINKS = " ".join(host.uplink_mac for host in HOSTS.values())
_HOSTS_FILE = "127.0.0.1 localhost\n" + "".join(f"{host.link_address} {host.name}\n" for host in HOSTS.values())

#: path -> whole content
HOST_FILES: dict[str, str] = {
    **_links(),
    f"{PYTHON_FOLDER}/{PYTHON_MODULE}.py": (resources.files("tests.lab") / "site" / f"{PYTHON_MODULE}.py").read_text(),
    f"{PYTHON_FOLDER}/{PYTHON_MODULE}.pth": f"import {PYTHON_MODULE}\n",
    f"{_NETWORK}/50-uplink.network": f"[Match]\nMACAddress={_UPLINKS}\n\n[Network]\nDHCP=ipv4\n{_NO_AUTO}",
    f"{_NETWORK}/30-bridge.netdev": f"[NetDev]\nName={BRIDGE}\nKind=bridge\n",
    f"{_NETWORK}/30-bridge.network": (f"[Match]\nName={BRIDGE}\n\n[Network]\nConfigureWithoutCarrier=yes\n{_NO_AUTO}"),
    **{f"{_UNITS}/{unit}": content for unit, content in _IDENTITIES.items()},
    f"{_UNITS}/{FIRST_BOOT_UNIT}": _FIRST_BOOT,
    f"{_UNITS}/{TRIAL_UNIT}": _TRIAL,
    "/etc/modules-load.d/svirt-lab.conf": "qemu_fw_cfg\nloop\n",
    "/etc/fstab": (
        f"LABEL={_DISK_LABEL} / ext4 defaults,errors=remount-ro 0 1\nkvm1:/ /srv/vms nfs4 vers=4.2,noauto 0 0\n"
    ),
    "/etc/hosts": _HOSTS_FILE,
    "/etc/exports": f"/srv/vms {HOSTS['kvm2'].link_address}({_EXPORT})\n",
    "/etc/nfs.conf.d/lab.conf": "[nfsd]\nthreads=2\nvers3=n\ngrace-time=1\nlease-time=10\n",
    "/etc/ssh/sshd_config.d/lab.conf": (
        "AuthorizedKeysFile /etc/ssh/lab_authorized_keys\nPermitRootLogin prohibit-password\nMaxSessions 64\n"
        "MaxStartups 64\nPrintMotd no\nUseDNS no\n"
    ),
    "/etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=default\nSETLOCALDEFS=0\n",
    "/etc/default/grub": (
        'GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_DISTRIBUTOR=Debian\nGRUB_CMDLINE_LINUX_DEFAULT=""\n'
        'GRUB_CMDLINE_LINUX="security=selinux console=ttyS0 panic=-1"\n'
        "GRUB_TERMINAL=console\nGRUB_DISABLE_OS_PROBER=true\n"
    ),
}

#: path -> text put at the end of what the package ships
HOST_APPENDS: dict[str, str] = {"/etc/libvirt/qemu.conf": _QEMU_CONF}

_MASKED = (
    "systemd-networkd-wait-online.service libvirt-guests.service apt-daily.timer apt-daily-upgrade.timer "
    "fstrim.timer logrotate.timer dpkg-db-backup.timer e2scrub_all.timer nfs-blkmap.service rpc-gssd.service "
    "getty@tty1.service man-db.timer grub-common.service user@.service"
).split()

#: path -> target of the symbolic link
IMAGE_LINKS: dict[str, str] = {
    **{f"{_UNITS}/{unit}": "/dev/null" for unit in _MASKED},
    f"{_UNITS}/multi-user.target.wants/systemd-networkd.service": "/usr/lib/systemd/system/systemd-networkd.service",
    **{f"{_UNITS}/multi-user.target.wants/{unit}": f"{_UNITS}/{unit}" for unit in _IDENTITIES},
}
