# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The root file system of a lab host: packages from Debian, then our configuration, policy and labels."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.shell import mortal, run, step

from .files import PYTHON_FOLDER, PYTHON_MODULE
from .recipe import Recipe

RELEASES = ("trixie", "bookworm")
#: Packages of a Debian host.
PACKAGES = tuple(
    (
        "linux-image-cloud-amd64 systemd-sysv dbus udev openssh-server python3 python3-selinux python3-libvirt "
        "python3-setools selinux-policy-default selinux-basics policycoreutils policycoreutils-python-utils setools "
        "libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils iproute2 auditd nfs-common nfs-kernel-server "
        "attr procps kmod initramfs-tools nftables iptables grub-pc dosfstools"
    ).split()
)
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
#: Format of a compiled policy that the kernels of all releases here take.
KERNEL_POLICY = "33"
#: Guests are emulated, and Debian's policy has one type for guests.
BOOLEAN = "virt_use_execmem"
#: The policy module that is a fault: built, and not loaded.
FAULT = "permissive_svirt.cil"
#: A namespace for a command's mounts, which end with it, even when it is killed.
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")


def mirror() -> str:
    """The Debian archive that this machine's own apt uses. Raises LabError when there is none."""
    listing = run(["apt-get", "indextargets", "--format", "$(LABEL)|$(CREATED_BY)|$(COMPONENT)|$(REPO_URI)|$(SUITE)"])
    for line in listing.stdout.decode().splitlines():
        label, kind, component, uri, suite = (line.split("|") + [""] * 5)[:5]
        if label == "Debian" and kind == "Packages" and component == "main" and "security" not in suite:
            return uri
    raise LabError("apt on this machine knows no Debian archive (apt-get indextargets); add one to its sources")


def bootstrap(release: str, packages: Sequence[str], target: Path) -> None:
    """Write a tar of the unconfigured system of a release with packages. Raises LabError when mmdebstrap fails."""
    excluded = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar", f"--keyring={KEYRING}"]
    argv += [f"--include={','.join(packages)}", '--aptopt=APT::Install-Recommends "false"']
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in excluded]
    with step(f"bootstrapping Debian {release} with {len(packages)} packages (a minute and a half)"):
        run(mortal([*OWN_MOUNTS, *argv, release, str(target), mirror()]))


def configure(root: Path, recipe: Recipe) -> None:
    """Turn an unpacked bootstrap into a host: files, services, policy. Runs in a chroot with a /proc of its own."""
    for left in ("initrd.img.old", "vmlinuz.old"):  # dangling links stop setfiles
        (root / left).unlink(missing_ok=True)
    for name, content in recipe.files.items():
        write(root, name, content)
    for name, content in recipe.appends.items():
        with (root / name.lstrip("/")).open("a") as handle:
            handle.write(content)
    for name, source in recipe.policy_sources().items():
        write(root, f"/usr/share/svirt-lab/{name}", source)
    for name, target in recipe.links.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    (root / "etc/machine-id").write_text("")
    (root / "srv/vms").mkdir(parents=True, exist_ok=True)
    # Nothing in a running host is to write it, least of all a daemon's hook, which may not.
    chroot(root, "python3", "-m", "py_compile", f"{PYTHON_FOLDER}/{PYTHON_MODULE}.py")
    with step("policy modules and booleans"):
        _install_policy(root, recipe)


def _install_policy(root: Path, recipe: Recipe) -> None:
    """Our supporting modules and boolean, and beside them a compiled policy with svirt_t permissive, kept for a fault:
    building one inside an emulated host takes half a minute.

    Each is built once, side by side: the fault's in a copy of the store.
    """
    sources, copy = "/usr/share/svirt-lab", f"{recipe.policy}-permissive"
    modules = [f"{sources}/{name}" for name in recipe.policy_sources()]
    # As `setsebool -P` leaves it, which would build the policy a second time.
    write(root, f"/var/lib/selinux/{recipe.policy}/active/booleans.local", f"{BOOLEAN}=1\n")
    stores = [root / folder for folder in ("etc/selinux", "var/lib/selinux")]
    for store in stores:
        run(["cp", "-a", str(store / recipe.policy), str(store / copy)])
    with ThreadPoolExecutor(2) as pool:
        permissive = pool.submit(_build_policy, root, copy, modules)
        _build_policy(root, recipe.policy, [path for path in modules if not path.endswith(FAULT)])
        inside = permissive.result().relative_to(root)
    # The kernel takes no newer format than its own, and only the library that loads at boot converts.
    chroot(
        root, "checkpolicy", "-M", "-b", "-c", KERNEL_POLICY, "-o", f"{sources}/policy.permissive-svirt", f"/{inside}"
    )
    for store in stores:
        shutil.rmtree(store / copy)
    said = chroot(root, "semanage", "boolean", "-N", "-S", recipe.policy, "-l").decode()
    if not re.search(rf"(?m)^{BOOLEAN}\s.*\bon\)", said):
        raise LabError(f"the policy of the image does not have {BOOLEAN} on")


def _build_policy(root: Path, store: str, modules: Sequence[str]) -> Path:
    """Add modules to a store, and return the policy that was built."""
    chroot(root, "semodule", "-n", "-s", store, *(word for path in modules for word in ("-i", path)))
    return next((root / "etc/selinux" / store / "policy").glob("policy.*"))


def label(root: Path, recipe: Recipe) -> None:
    """Write SELinux labels on every file, from outside. Raises LabError when some label is missing."""
    contexts = f"/etc/selinux/{recipe.policy}/contexts/files/file_contexts"
    with step("labelling the file system"):
        # Debian 12's library reaches a file through /proc. -m: mounts of a machine without SELinux show no seclabel.
        chroot(root, "setfiles", "-F", "-m", "-e", "/proc", "-e", "/sys", "-e", "/dev/pts", contexts, "/")
    for name, wanted in recipe.labels.items():
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


def chroot(root: Path, *argv: str) -> bytes:
    """Run a command in the root, in a mount namespace of its own, and return its output.

    A crash leaves nothing mounted here, and no command that still writes.
    """
    inner = f"mount -t proc proc '{root}/proc' && exec chroot '{root}' \"$@\""
    env = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]
    # semodule ignores every other signal.
    return run(mortal([*env, *OWN_MOUNTS, "sh", "-c", inner, "sh", *argv], "KILL")).stdout


def write(root: Path, name: str, content: str) -> None:
    """Write a file of the root, with the folders above it."""
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o644)
