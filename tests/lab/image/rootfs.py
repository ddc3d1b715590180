# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The root file system of a lab host: packages from Debian, then our configuration, policy and labels."""

from __future__ import annotations

import os
import shutil
from importlib import resources
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.shell import run, step

from .files import HOST_APPENDS, HOST_FILES, IMAGE_LINKS, PYTHON_FOLDER, PYTHON_MODULE

RELEASES = ("trixie", "bookworm")
PACKAGES = (
    "linux-image-cloud-amd64 systemd-sysv dbus udev openssh-server python3 python3-selinux python3-libvirt "
    "python3-setools selinux-policy-default selinux-basics policycoreutils policycoreutils-python-utils setools "
    "libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils iproute2 auditd nfs-common nfs-kernel-server "
    "attr procps kmod initramfs-tools nftables iptables grub-pc dosfstools"
).split()
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: Debian packages that the controlling machine needs: package name -> what it brings.
MACHINE_PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "qemu-system-x86": "qemu-system-x86_64",
    "qemu-utils": "qemu-img",
    "e2fsprogs": "mke2fs",
    "fdisk": "sfdisk",
    "openssh-client": "ssh",
    "debian-archive-keyring": str(KEYRING),
}
POLICY_STORE = "default"
#: Format of a compiled policy that the kernels of all releases here take.
KERNEL_POLICY = "33"


def mirror() -> str:
    """The Debian archive that this machine's own apt uses. Raises LabError when there is none."""
    listing = run(["apt-get", "indextargets", "--format", "$(LABEL)|$(CREATED_BY)|$(COMPONENT)|$(REPO_URI)|$(SUITE)"])
    for line in listing.stdout.decode().splitlines():
        label, kind, component, uri, suite = (line.split("|") + [""] * 5)[:5]
        if label == "Debian" and kind == "Packages" and component == "main" and "security" not in suite:
            return uri
    raise LabError("apt on this machine knows no Debian archive (apt-get indextargets); add one to its sources")


def bootstrap(release: str, target: Path) -> None:
    """Write a tar of the unconfigured system of a release. Raises LabError when mmdebstrap fails."""
    excluded = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar", f"--keyring={KEYRING}"]
    argv += [f"--include={','.join(PACKAGES)}", '--aptopt=APT::Install-Recommends "false"']
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in excluded]
    with step(f"bootstrapping Debian {release} with {len(PACKAGES)} packages (a minute and a half)"):
        run([*argv, release, str(target), mirror()])


def policy_sources() -> dict[str, str]:
    """Our policy modules: file name -> CIL source."""
    folder = resources.files("tests.lab") / "policy"
    return {
        entry.name: entry.read_text()
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".cil")
    }


def configure(root: Path) -> None:
    """Turn an unpacked bootstrap into a host: files, services, policy. Runs in a chroot with a /proc of its own."""
    for left in ("initrd.img.old", "vmlinuz.old"):  # dangling links stop setfiles
        (root / left).unlink(missing_ok=True)
    for name, content in HOST_FILES.items():
        _write(root, name, content)
    for name, content in HOST_APPENDS.items():
        with (root / name.lstrip("/")).open("a") as handle:
            handle.write(content)
    for name, source in policy_sources().items():
        _write(root, f"/usr/share/svirt-lab/{name}", source)
    for name, target in IMAGE_LINKS.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    (root / "etc/machine-id").write_text("")
    (root / "srv/vms").mkdir(parents=True, exist_ok=True)
    # Nothing in a running host is to write it, least of all a daemon's hook, which may not.
    _chroot(root, "python3", "-m", "py_compile", f"{PYTHON_FOLDER}/{PYTHON_MODULE}.py")
    with step("policy modules and booleans"):
        _install_policy(root)


def _install_policy(root: Path) -> None:
    """Our supporting module and boolean, and beside them a compiled policy with svirt_t permissive, kept for a fault:
    building one inside an emulated host takes half a minute."""
    sources = "/usr/share/svirt-lab"
    semodule = ("semodule", "-n", "-s", POLICY_STORE)
    _chroot(root, *semodule, "-i", f"{sources}/svirt_lab.cil", "-i", f"{sources}/permissive_svirt.cil")
    policy = next((root / "etc/selinux" / POLICY_STORE / "policy").glob("policy.*"))
    inside = f"/{policy.relative_to(root)}"
    # The kernel takes no newer format than its own, and only the library that loads at boot converts.
    _chroot(root, "checkpolicy", "-M", "-b", "-c", KERNEL_POLICY, "-o", f"{sources}/policy.permissive-svirt", inside)
    _chroot(root, *semodule, "-r", "permissive_svirt")
    _chroot(root, "setsebool", "-N", "-P", "virt_use_execmem", "on")


def label(root: Path) -> None:
    """Write SELinux labels on every file, from outside. Raises LabError when some label is missing."""
    contexts = f"/etc/selinux/{POLICY_STORE}/contexts/files/file_contexts"
    with step("labelling the file system"):
        # Debian 12's library reaches a file through /proc. -m: mounts of a machine without SELinux show no seclabel.
        _chroot(root, "setfiles", "-F", "-m", "-e", "/proc", "-e", "/sys", "-e", "/dev/pts", contexts, "/")
    for name, wanted in (
        ("etc/shadow", "shadow_t"),
        ("usr/sbin/libvirtd", "virtd_exec_t"),
        ("srv/vms", "virt_image_t"),
        ("var/lib/libvirt/images", "virt_image_t"),
    ):
        seen = os.getxattr(root / name, "security.selinux", follow_symlinks=False).decode()
        if wanted not in seen:
            raise LabError(f"/{name} in the image carries {seen!r} instead of {wanted}; setfiles stopped early")


def unpack(archive: Path, root: Path) -> None:
    """Unpack the tar of a bootstrap, with its device nodes."""
    root.mkdir()
    run(["tar", "--numeric-owner", "--xattrs", "-xpf", str(archive), "-C", str(root)])


def kernel_of(root: Path, target: Path) -> tuple[Path, Path]:
    """Copy the newest kernel and its initrd out of the root into a folder."""
    kernel = sorted((root / "boot").glob("vmlinuz-*"))[-1]
    initrd = root / "boot" / kernel.name.replace("vmlinuz-", "initrd.img-")
    return Path(shutil.copy(kernel, target)), Path(shutil.copy(initrd, target))


def _chroot(root: Path, *argv: str) -> None:
    """Run a command in the root, in a mount namespace of its own: a crash leaves nothing mounted here."""
    inner = f"mount -t proc proc '{root}/proc' && exec chroot '{root}' \"$@\""
    env = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]
    run([*env, "unshare", "--mount", "--propagation", "private", "sh", "-c", inner, "sh", *argv])


def _write(root: Path, name: str, content: str) -> None:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o644)
