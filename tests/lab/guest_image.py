"""A kernel and an initramfs for guests that run: built once from the distribution's packages.

The initramfs holds busybox, the guest agent and dpkg with their libraries, this machine's list of
packages as dpkg's database, and the kernel modules that it needs.
Its `/init` does what the kernel command line says (`lab=idle`, see SCENARIOS), so no test has to
talk to a console. A guest is ready some 5 s after its start under TCG. x86-64 only, from the
packages of Debian or Ubuntu, which are downloaded and unpacked, never installed.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.daemon import CACHE

KERNELS: Final = ("linux-image-amd64", "linux-image-virtual")
"""Metapackages of Debian's and Ubuntu's kernels. Debian's `cloud` kernel has no i6300esb."""

MODULES: Final = (
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_console",
    "virtio_balloon",
    "i6300esb",
    "ext4",
)
"""Modules that the guest needs; a kernel may have them built in."""

OPTIONAL_MODULES: Final = ("crc32c_generic", "pvpanic", "pvpanic-mmio")
"""ext4 asks for crc32c by name up to Linux 6.13; pvpanic is in parts since 5.13."""

XEN_ELFNOTE_PHYS32_ENTRY: Final = 18

READY: Final = "lab: ready"
"""What a guest writes to its console once it has come up, before its scenario begins."""

INIT: Final = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /var /data
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
ln -s /run /var/run
for module in $(cat /modules/order); do
    case $module in
    i6300esb.ko) insmod /modules/$module heartbeat=${heartbeat:-30} ;;
    *) insmod /modules/$module ;;
    esac
done
hostname lab-guest
ip link set lo up
for device in /sys/class/net/eth*; do
    [ -e "$device" ] || continue
    ip link set "${device##*/}" up
    ip address add "192.0.2.1${device##*eth}/24" dev "${device##*/}"
done
mkdir -p /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
    [ -e "$port/name" ] || continue
    ln -s "../${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
done
agent=/dev/virtio-ports/org.qemu.guest_agent.0
[ -e $agent ] && [ "$lab" != no-agent ] && qemu-ga -d -m virtio-serial -p $agent -t /run
wait_for_disk() { until [ -b /dev/vda ]; do sleep 0.1; done; }
echo "$READY" >/dev/console
case $lab in
diskio)
    wait_for_disk
    while :; do
        dd if=/dev/zero of=/dev/vda bs=64k count=4 conv=fsync
        dd if=/dev/vda of=/dev/null bs=64k count=4 iflag=direct
        sleep 1
    done
    ;;
traffic)
    wait_for_disk
    mke2fs -F /dev/vdb 65536
    mount -t ext4 /dev/vdb /data
    arp -s 192.0.2.1 02:00:00:00:00:01
    ping -s 20 192.0.2.1 >/dev/null &
    while :; do
        dd if=/dev/zero of=/dev/vda bs=16k count=8 oflag=direct conv=fsync
        dd if=/dev/vda of=/dev/null bs=16k count=128 iflag=direct
        sleep 1
    done
    ;;
file-system)
    wait_for_disk
    mke2fs -F /dev/vda 65536
    mount -t ext4 /dev/vda /data
    dd if=/dev/zero of=/data/file bs=1M count=4
    ;;
feed-watchdog-and-stop)
    exec 3>/dev/watchdog
    for _ in 1 2 3; do echo A >&3; sleep 1; done
    ;;
fill-disk)
    wait_for_disk
    dd if=/dev/zero of=/dev/vda bs=64k conv=fsync
    ;;
dirty-memory)
    dd if=/dev/urandom of=/tmp/noise bs=1M count=24
    while :; do
        dd if=/tmp/noise of=/tmp/dirty bs=1M conv=notrunc
        dd if=/dev/zero of=/tmp/dirty bs=1M count=24 conv=notrunc
    done
    ;;
no-agent)
    echo "lab: no-agent done" >/dev/console
    while :; do
        exec 3<>$agent
        read -r _ <&3
        exec 3>&-
        sleep 1
    done
    ;;
panic) echo c >/proc/sysrq-trigger ;;
reboot) reboot -f ;;
poweroff) poweroff -f ;;
esac
echo "lab: $lab done" >/dev/console
while :; do sleep 60; done
""".replace("$READY", READY)

PACKAGE: Final = Path("/packages/lab-package.deb")
"""A package that a guest can install: `dpkg --force-bad-path --install`."""

OS_RELEASE: Final = """\
ID=lab
NAME="Lab Guest"
PRETTY_NAME="Lab Guest 1"
VERSION_ID=1
"""

SCENARIOS: Final = (
    "idle",
    "diskio",
    "traffic",
    "file-system",
    "feed-watchdog-and-stop",
    "fill-disk",
    "dirty-memory",
    "no-agent",
    "panic",
    "reboot",
    "poweroff",
)
"""Values of `lab=`. `traffic` reads sixteen times what it writes, pings once a second whom nobody
answers for, and has a file system on its second disk. `no-agent` opens the agent's channel and
answers nothing; a line from the host has it opened anew. `heartbeat=` sets the seconds after which
an unfed watchdog fires (30)."""


@dataclass(frozen=True)
class GuestImage:
    """What `<kernel>` and `<initrd>` name."""

    kernel: Path
    initrd: Path


def guest_image() -> GuestImage:
    """The image for this distribution, from the cache or built: 20 s and one 70 MB download."""
    recipe = Path(__file__).read_bytes() + Path("/etc/os-release").read_bytes()
    directory = CACHE / f"guest-{hashlib.sha256(recipe).hexdigest()[:16]}"
    image = GuestImage(directory / "kernel", directory / "initrd")
    if not directory.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="guest-", dir=CACHE) as scratch:
            built = _build(Path(scratch))
            # Whoever comes first wins; the other's is the same.
            if not directory.exists():
                built.rename(directory)
    return image


def _build(scratch: Path) -> Path:
    unpacked, tree, built = scratch / "unpacked", scratch / "tree", scratch / "built"
    for path in (unpacked, tree / "bin", tree / "modules", built):
        path.mkdir(parents=True)
    _unpack([*_kernel_packages(), "busybox-static", "qemu-guest-agent", "dpkg", "tar"], unpacked)

    (kernel,) = unpacked.rglob("vmlinuz*")
    (built / "kernel").write_bytes(_uncompressed(kernel.read_bytes()))
    _add_modules(unpacked, tree / "modules")
    for name in ("busybox", "qemu-ga", "dpkg", "dpkg-query", "dpkg-deb", "dpkg-split", "tar"):
        (program,) = (
            path
            for path in unpacked.rglob(name)
            if path.parent.name in ("bin", "sbin") and os.access(path, os.X_OK)
        )
        shutil.copy(program, tree / "bin" / name)
        if name != "busybox":
            _add_libraries(tree / "bin" / name, tree)
    _add_packages(tree)
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    (tree / "etc").mkdir()
    (tree / "etc/os-release").write_text(OS_RELEASE)

    names = "\0".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    with (built / "initrd").open("wb") as initrd:
        # Not compressed: TCG would take longer to unpack it than the host to read it.
        command = ["cpio", "--null", "--create", "--format=newc", "--quiet", "--owner=0:0"]
        subprocess.run(command, cwd=tree, input=names.encode(), stdout=initrd, check=True)
    return built


def _add_packages(tree: Path) -> None:
    """Add this machine's database of dpkg, and a package that is not in it."""
    database = tree / "var/lib/dpkg"
    for directory in (
        database / "info",
        database / "updates",
        tree / PACKAGE.parent.relative_to("/"),
    ):
        directory.mkdir(parents=True)
    shutil.copy("/var/lib/dpkg/status", database / "status")
    with tempfile.TemporaryDirectory(dir=tree.parent) as scratch:
        control = Path(scratch, "DEBIAN/control")
        control.parent.mkdir()
        control.write_text(
            "Package: lab-package\nVersion: 1.0-1\nArchitecture: all\n"
            "Maintainer: Lab <lab@example.org>\nDescription: for the lab\n"
        )
        control.parent.chmod(0o755)
        target = tree / PACKAGE.relative_to("/")
        build = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", scratch, str(target)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)


def _uncompressed(kernel: bytes) -> bytes:
    """The ELF kernel in a bzImage, where QEMU can boot it by its PVH entry; else the bzImage.

    Under TCG the decompression takes as long as all the rest of the boot. Fields: Linux'
    Documentation/arch/x86/boot.rst.
    """
    setup_sectors = kernel[0x1F1] or 4
    offset, length = struct.unpack_from("<II", kernel, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = kernel[start : start + length]
    # The last four bytes are the size of what was compressed.
    if payload.startswith(b"\xfd7zXZ\0"):
        elf = lzma.decompress(payload[:-4])
    elif payload.startswith(b"\x28\xb5\x2f\xfd"):
        elf = _zstd(payload[:-4])
    else:
        return kernel
    entries = (struct.pack("<III4s", 4, size, XEN_ELFNOTE_PHYS32_ENTRY, b"Xen") for size in (4, 8))
    return elf if any(entry in elf for entry in entries) else kernel


def _zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-dcq"], input=content, capture_output=True, check=True).stdout


def _kernel_packages() -> list[str]:
    """The packages of this distribution's kernel and of its modules, in how many it may come."""
    for metapackage in KERNELS:
        images = _dependencies(metapackage, r"linux-image-\d\S*")
        if images:
            parts = _dependencies(images[0], r"linux-(?:base|binary|modules)-\d\S*")
            extra = [name.replace("-modules-", "-modules-extra-") for name in parts]
            return [images[0], *parts, *filter(_is_known, {*extra} - {*parts})]
    raise RuntimeError(f"apt knows none of {', '.join(KERNELS)}: run apt-get update")


def _is_known(package: str) -> bool:
    """Whether apt can download it: Ubuntu has modules beside those of Debian."""
    command = ["apt-cache", "show", package]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _dependencies(package: str, pattern: str) -> list[str]:
    command = ["apt-cache", "depends", "--important", package]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return re.findall(rf"^ *Depends: ({pattern})$", output, re.MULTILINE)


def _unpack(packages: Iterable[str], target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as downloads:
        command = ["apt-get", "-q", "-o", "APT::Sandbox::User=", "download", *packages]
        result = subprocess.run(command, cwd=downloads, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
        for package in Path(downloads).glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, target], check=True)


def _add_modules(unpacked: Path, target: Path) -> None:
    """Copy the modules and what they depend on, and write the order in which to load them."""
    files = {path.name.partition(".ko")[0]: path for path in unpacked.rglob("*.ko*")}
    names = {name.replace("-", "_"): path for name, path in files.items()}
    (builtin,) = unpacked.rglob("modules.builtin")
    built_in = {Path(line).stem.replace("-", "_") for line in builtin.read_text().split()}
    order: dict[str, None] = {}

    def add(module: str) -> None:
        module = module.replace("-", "_")
        if f"{module}.ko" in order or module in built_in:
            return
        content = _module(names[module])
        # modules.dep is made at installation; the module itself says the same.
        depends = re.search(rb"\0depends=([^\0]*)\0", content)
        for dependency in depends.group(1).decode().split(",") if depends else ():
            if dependency:
                add(dependency)
        order[f"{module}.ko"] = None
        (target / f"{module}.ko").write_bytes(content)

    for module in OPTIONAL_MODULES:
        if module.replace("-", "_") in names:
            add(module)
    for module in MODULES:
        add(module)
    (target / "order").write_text("\n".join(order))


def _module(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return _zstd(path.read_bytes())
    return path.read_bytes()


def _add_libraries(program: Path, tree: Path) -> None:
    """Copy the host's libraries that the program loads; libvirt and QEMU brought them all."""
    output = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    missing = re.findall(r"^\s*(\S+) => not found", output, re.MULTILINE)
    if missing:
        raise RuntimeError(f"{program.name} needs {', '.join(missing)}")
    for library in re.findall(r"(/\S+) \(0x", output):
        (tree / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, tree / library.lstrip("/"))
