"""The system call filter of the sandbox: everything a shell user needs, nothing that reaches beyond the cage.

The namespaces and the missing capabilities already refuse most of what is listed here; the filter also keeps the agent
away from the code of the kernel that would have to refuse it. A refused call gives EPERM; a call newer than this list
gives ENOSYS, so that what a future kernel adds is closed until someone looked at it.
"""

from __future__ import annotations

import os
import struct

EPERM, ENOSYS = 1, 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _GREATER_EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24  # offsets into struct seccomp_data (low words)

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NAMESPACE_FLAGS = 0x7E020000  # every CLONE_NEW… that clone() knows
SOCKET_FAMILIES = (1, 2, 10, 16)  # unix, inet, inet6, netlink: what libraries expect; vsock would leave the machine
TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
NEWEST = 462  # mseal, Linux 6.10

CALLS = {
    "x86_64": {"clone": 56, "socket": 41, "ioctl": 16},
    "aarch64": {"clone": 220, "socket": 198, "ioctl": 29},
}
# Calls with one number on all machines (those added since Linux 5.1, and clone3).
_COMMON = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447,
    "process_mrelease": 448, "statmount": 457, "listmount": 458,
}  # fmt: skip
REFUSED = {
    "x86_64": {
        **_COMMON,
        "ptrace": 101, "syslog": 103, "modify_ldt": 154, "pivot_root": 155, "adjtimex": 159, "chroot": 161,
        "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168,
        "reboot": 169, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179,
        "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249,
        "keyctl": 250, "mbind": 237, "set_mempolicy": 238, "migrate_pages": 256, "unshare": 272,
        "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321,
        "userfaultfd": 323,
    },
    "aarch64": {
        **_COMMON,
        "umount2": 39, "mount": 40, "pivot_root": 41, "quotactl": 60, "chroot": 51, "acct": 89, "unshare": 97,
        "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112, "syslog": 116,
        "ptrace": 117, "reboot": 142, "settimeofday": 170, "adjtimex": 171, "add_key": 217, "request_key": 218,
        "keyctl": 219, "swapon": 224, "swapoff": 225, "mbind": 235, "set_mempolicy": 237, "migrate_pages": 238,
        "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
        "kexec_file_load": 294, "lookup_dcookie": 18,
    },
}  # fmt: skip
CLONE3 = 435  # its flags lie in memory, where a filter cannot look: libc falls back to clone on ENOSYS


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _refuse(error: int) -> bytes:
    return _instruction(_RETURN, _ERRNO | error)


def build_filter(machine: str | None = None) -> bytes:
    """The filter for this machine, as classic BPF.

    Raises:
        OSError: The machine is neither x86_64 nor aarch64.
    """
    machine = machine or os.uname().machine
    if machine not in CALLS:
        raise OSError(f"There is no system call filter for {machine}")
    calls = CALLS[machine]
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, AUDIT_ARCH[machine], 1, 0),
        _instruction(_RETURN, _KILL),  # 32-bit calls on a 64-bit machine
        _instruction(_LOAD, _NUMBER),
        _instruction(_GREATER_EQUAL, NEWEST + 1, 0, 1),  # x32's numbers lie up there too
        _refuse(ENOSYS),
        _instruction(_EQUAL, CLONE3, 0, 1),
        _refuse(ENOSYS),
    ]
    for number in sorted(REFUSED[machine].values()):
        program += [_instruction(_EQUAL, number, 0, 1), _refuse(EPERM)]
    program += [
        _instruction(_EQUAL, calls["clone"], 0, 4),
        _instruction(_LOAD, _FIRST),
        _instruction(_ANY_BIT, NAMESPACE_FLAGS, 0, 1),
        _refuse(EPERM),
        _instruction(_RETURN, _ALLOW),
    ]
    families = [_instruction(_EQUAL, family, len(SOCKET_FAMILIES) - i, 0) for i, family in enumerate(SOCKET_FAMILIES)]
    program += [
        _instruction(_EQUAL, calls["socket"], 0, len(families) + 3),
        _instruction(_LOAD, _FIRST),
        *families,
        _refuse(EPERM),
        _instruction(_RETURN, _ALLOW),
    ]
    requests = [_instruction(_EQUAL, r, len(TERMINAL_INJECTION) - i, 0) for i, r in enumerate(TERMINAL_INJECTION)]
    program += [
        _instruction(_EQUAL, calls["ioctl"], 0, len(requests) + 3),
        _instruction(_LOAD, _SECOND),
        *requests,
        _instruction(_RETURN, _ALLOW),
        _refuse(EPERM),
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(program)
