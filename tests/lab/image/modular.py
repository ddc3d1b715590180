# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""libvirt's modular daemons, which Debian does not package, built once from Debian's own source of libvirt.

Only the programs of the daemons are compiled. Drivers and libraries are those of Debian's packages, which the daemons
load: source and packages have one version, since one run of apt takes both.
"""

from __future__ import annotations

from pathlib import Path

from tests.lab import packages
from tests.lab.cache import digest, obtain
from tests.lab.errors import LabError
from tests.lab.shell import mortal, run, step

from .rootfs import KEYRING, MACHINE_PACKAGES, OWN_MOUNTS, chroot, mirror

#: Each is a socket-activated service of its own. virtlogd and virtlockd are Debian's, whose packages have them.
DAEMONS = tuple(f"virt{name}d" for name in "qemu network nwfilter secret storage nodedev proxy".split())
#: File in the tar with the version of libvirt that the daemons belong to.
VERSION_FILE = "usr/share/svirt-lab/modular-daemons"
LIBRARY = "libvirt0"
_PACKAGES = (
    "gcc libc6-dev meson ninja-build pkgconf patch xz-utils python3-docutils xsltproc libxml2-utils gettext "
    "libglib2.0-dev libxml2-dev libgnutls28-dev libtirpc-dev libjson-c-dev libsasl2-dev libselinux1-dev libaudit-dev "
    "libcap-ng-dev libacl1-dev libudev-dev libpciaccess-dev"
).split()
#: What a driver needs is Debian's matter; a daemon needs its driver enabled to be known to meson.
_OPTIONS = (
    "--prefix=/usr --libdir=lib/x86_64-linux-gnu --sysconfdir=/etc --localstatedir=/var --buildtype=plain "
    "--auto-features=disabled -Doptimization=1 -Dno_git=true -Drunstatedir=/run -Dinitconfdir=/etc/sysconfig "
    "-Dunitdir=/usr/lib/systemd/system -Dinit_script=systemd -Ddriver_remote=enabled -Ddriver_libvirtd=enabled "
    "-Ddriver_qemu=enabled -Ddriver_network=enabled -Ddriver_secrets=enabled -Dstorage_dir=enabled -Dudev=enabled "
    "-Dpciaccess=enabled -Djson_c=enabled -Dselinux=enabled -Dsecdriver_selinux=enabled -Dpolkit=enabled "
    "-Dcapng=enabled -Daudit=enabled -Dattr=enabled -Dsasl=enabled -Dqemu_user=qemu -Dqemu_group=qemu"
)
#: Not every mirror has the .dsc, which names no file that the signed index does not name too.
_SOURCE = """set -e
mkdir "$1/src"
cd "$1/src"
for part in --tar-only --diff-only; do
  APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -oAPT::Sandbox::User=root source "$part" libvirt
done"""
_UNPACK = """set -e
cd /src
tar -xJf libvirt_*.orig.tar.xz --strip-components=1
tar -xJf libvirt_*.debian.tar.xz
grep -v '^#' debian/patches/series | while read -r name; do patch -s -p1 <"debian/patches/$name"; done"""
#: The link commands are meson's own, with Debian's libraries in place of those that it would compile first.
_BUILD = f"""set -e
cd /src
meson setup build {_OPTIONS}
cd build
ninja -t targets all >targets
objects=$(for name in {" ".join(DAEMONS)}; do grep -o "^src/$name\\.p/[^:]*\\.o" targets; done)
ninja $objects src/admin/libvirt_admin_driver.a
for library in libvirt libvirt-lxc libvirt-qemu; do
  linked=$(grep -o "^src/$library\\.so\\.0\\.[0-9.]*[0-9]:" targets)
  cp /usr/lib/x86_64-linux-gnu/$library.so.0 "${{linked%:}}"
done
mkdir -p /result/usr/sbin /result/usr/lib/systemd/system /result/usr/share/svirt-lab
for name in {" ".join(DAEMONS)}; do
  ninja -t commands -s src/$name | sed "s|'-Wl,-rpath,[^']*'||" | sh -e
  strip -o /result/usr/sbin/$name src/$name
  cp src/$name.service src/$name.socket src/$name-ro.socket src/$name-admin.socket /result/usr/lib/systemd/system/
  /result/usr/sbin/$name --version
done
dpkg-query -Wf '${{Version}}' {LIBRARY} >/result/{VERSION_FILE}"""


def name(release: str) -> str:
    """File name of the daemons of a release; changes whenever an input does."""
    return f"modular-{release}-{digest([release, *_PACKAGES, *DAEMONS, _SOURCE, _UNPACK, _BUILD])}.tar"


def build(release: str) -> Path:
    """A tar of the daemons and their units, from the cache or built. Raises LabError with what the build said."""
    packages.require(MACHINE_PACKAGES, install=False)
    return obtain(name(release), lambda target, scratch: _make(release, target, scratch))


def _make(release: str, target: Path, scratch: Path) -> None:
    root = scratch / "root"
    with step("packages and source for libvirt's modular daemons"):
        _bootstrap(release, root)
    chroot(root, "sh", "-c", _UNPACK)
    with step(f"compiling {len(DAEMONS)} modular daemons (two minutes)"):
        said = chroot(root, "sh", "-c", _BUILD)
    if said.count(b"(libvirt)") != len(DAEMONS):
        raise LabError(f"not every modular daemon says its version: {said[-2000:].decode(errors='replace')}")
    run(["tar", "--numeric-owner", "--owner=0", "--group=0", "-cf", str(target), "-C", str(root / "result"), "."])


def _bootstrap(release: str, root: Path) -> None:
    excluded = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
    argv = ["mmdebstrap", "--mode=root", "--variant=apt", f"--keyring={KEYRING}"]
    argv += [f"--include={','.join((*_PACKAGES, LIBRARY))}", '--aptopt=APT::Install-Recommends "false"']
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in excluded]
    argv += ["--dpkgopt=force-unsafe-io", f"--customize-hook={_SOURCE}"]
    sources = [f"{kind} {mirror()} {release} main" for kind in ("deb", "deb-src")]
    run(mortal([*OWN_MOUNTS, *argv, release, str(root), *sources]))


def unpack(archive: Path, root: Path) -> None:
    """Put the daemons into a root. Raises LabError when they belong to another libvirt than the root has."""
    run(["tar", "--numeric-owner", "-xpf", str(archive), "-C", str(root)])
    built = (root / VERSION_FILE).read_text()
    there = chroot(root, "dpkg-query", "-Wf", "${Version}", LIBRARY).decode()
    if built != there:
        raise LabError(
            f"{archive.name} has daemons of libvirt {built}, the packages are of {there}: "
            "remove that file and the base-*.tar of the same release from the cache"
        )
