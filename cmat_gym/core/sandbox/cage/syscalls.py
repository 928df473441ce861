"""The Linux calls that Python's standard library does not have: namespaces, mounts, capabilities, seccomp.

Only what the cage needs, each call as a function that raises `OSError` with the name of the call.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Collection

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2

LAST_CAPABILITY = 63  # the kernel answers EINVAL beyond its own last one
# What `useradd`, `chown`, `su` and `kill` need, all of it inside the sandbox's own user namespace only.
KEPT_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7}  # chown, dac_override, fowner, fsetid, kill, setgid, setuid

_NUMBERS = {  # call: (x86_64, aarch64)
    "pivot_root": (155, 41),
    "capset": (126, 91),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "mount_setattr": (442, 442),
}
MACHINES = ("x86_64", "aarch64")

_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV, _MOUNT_ATTR_IDMAP = 1, 2, 4, 0x100000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return int(result)


def _call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    number = _NUMBERS[name][MACHINES.index(os.uname().machine)]
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *converted), name)


def unshare(flags: int) -> None:
    """Leave some of the namespaces for fresh ones."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: int) -> None:
    """Enter the namespace of an open file."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    """Mount a file system, bind a folder, or change a mount."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    _check(result, f"mount {kind or 'bind'} on {target}")


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show a folder or file, with what is mounted below it, at another place."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def change_root(folder: str) -> None:
    """Make a mount the root of this mount namespace and let go of the old one."""
    os.chdir(folder)
    _call("pivot_root", b".", b".")
    _check(_libc.umount2(b".", ctypes.c_int(MNT_DETACH)), "umount2")
    os.chdir("/")


def unmount(target: str) -> None:
    """Detach a mount."""
    _check(_libc.umount2(target.encode(), ctypes.c_int(MNT_DETACH)), f"umount {target}")


def mount_with_ids(source: str, target: str, user_namespace: int) -> None:
    """Bind a folder read-only, with the owners of its files translated into a user namespace (Linux 5.12 and later)."""
    tree = _call("open_tree", -100, source.encode(), _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC)
    try:
        wanted = _MOUNT_ATTR_IDMAP | _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV
        attributes = ctypes.create_string_buffer(struct.pack("QQQQ", wanted, 0, 0, user_namespace), 32)
        _call("mount_setattr", tree, b"", _AT_EMPTY_PATH, attributes, 32)
        _call("move_mount", tree, b"", -100, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)


def prctl(option: int, value: int, third: int = 0) -> None:
    """Set one property of this process."""
    _check(_libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(v) for v in (value, third, 0, 0))), f"prctl {option}")


def drop_capabilities(kept: Collection[int]) -> None:
    """Give up all capabilities but the kept ones, for this process and for whatever it will execute."""
    for number in range(LAST_CAPABILITY + 1):
        if number not in kept:
            try:
                prctl(PR_CAPBSET_DROP, number)
            except OSError:
                break  # beyond the kernel's last capability
    low = sum(1 << number for number in kept)
    header = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0), 8)
    data = ctypes.create_string_buffer(struct.pack("6I", low, low, 0, 0, 0, 0), 24)
    _call("capset", header, data)


def install_filter(program: bytes) -> None:
    """Restrict the system calls of this process and of all its children; `program` is classic BPF."""
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)), 16)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(header))
