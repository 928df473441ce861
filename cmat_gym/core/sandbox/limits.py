"""What one sandbox may use, and how its end is told."""

from __future__ import annotations

from dataclasses import dataclass

from cmat_gym.core.errors import BackendError

__all__ = ["Limits", "SandboxDied"]


class SandboxDied(BackendError):
    """The machine of an episode is gone: out of memory, or killed from outside."""


@dataclass(frozen=True)
class Limits:
    """What one episode may use.

    Attributes:
        memory: Bytes of all processes together (a control group; where none can be written, per process only).
        processes: Processes at a time.
        cpus: Processor cores (a control group, where one can be written).
        disk: Bytes of all written files.
        inodes: Written files and folders.
        file_size: Bytes of one file.
        cpu_seconds: CPU time of one process.
        open_files: Open files of one process.
        command_seconds: Wall-clock time of one command.
        output_bytes: Output of one command, after which it is stopped.
    """

    memory: int = 512 << 20
    processes: int = 100
    cpus: float = 1.0
    disk: int = 128 << 20
    inodes: int = 20_000
    file_size: int = 64 << 20
    cpu_seconds: int = 60
    open_files: int = 512
    command_seconds: float = 30.0
    output_bytes: int = 1 << 20
