"""One interface to a machine of its own for every episode, and the choice of what stands behind it.

    namespace   bash in fresh Linux namespaces over a copy-on-write root (namespace.py): the default on Linux
    docker      a container of a Docker daemon, one attached shell each (containers.py)
    podman      the same through Podman's compatible API; only by name, as it does not pass all tests yet

Where none of them is safe to use, `open_machines` fails: there is no way to plain bash on the host.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cmat_gym.core.errors import BackendError, choose
from cmat_gym.core.sandbox.limits import Limits, SandboxDied

__all__ = [
    "BACKENDS",
    "FileInfo",
    "FinalState",
    "Limits",
    "Machines",
    "Output",
    "Process",
    "Ran",
    "Sandbox",
    "SandboxDied",
    "Script",
    "open_machines",
]

BACKENDS = ("namespace", "docker", "podman")
AUTOMATIC = ("namespace", "docker")


class Output(NamedTuple):
    """What a command in the shell gave: text, exit status (None: it was stopped), and what became of the shell."""

    text: str
    status: int | None
    event: str = ""  # "", "timeout", "flood", "exit" or "restart" (stopped, together with the shell)


class Script(NamedTuple):
    """A program text in a language (`bash` or `python`)."""

    code: str
    language: str = "bash"

    def command(self, parameters: Sequence[str] = ()) -> list[str]:
        """The command line that runs it without anybody's configuration; the backend knows where the program is."""
        if self.language == "python":
            return ["python3", "-I", "-S", "-c", self.code, *parameters]
        return ["bash", "--norc", "--noprofile", "-c", self.code, "--", *parameters]


class Ran(NamedTuple):
    """What a script outside of the shell gave."""

    output: str
    code: int
    timed_out: bool = False


@dataclass(frozen=True)
class FileInfo:
    """A file in the final state."""

    type: str  # file, folder, link, other
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    content: str = ""  # of files, its beginning
    target: str = ""  # of links


class Process(NamedTuple):
    """A process in the final state."""

    pid: int
    parent: int
    uid: int
    command: tuple[str, ...]
    state: str


@dataclass(frozen=True)
class FinalState:
    """The state of a machine as seen from outside: files below the paths that were asked for, and processes."""

    files: Mapping[str, FileInfo] = field(default_factory=dict)
    processes: tuple[Process, ...] = ()
    complete: bool = True  # False: more files than are looked at
    probes: tuple[Ran, ...] = ()  # what the task's own checks printed

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FinalState:
        """Read what a machine's PID 1 sends."""
        files = {path: FileInfo(**entry) for path, entry in data["entries"].items()}
        processes = tuple(
            Process(p["pid"], p["parent"], p["uid"], tuple(p["command"]), p["state"]) for p in data["processes"]
        )
        return cls(files, processes, data["complete"])


class Sandbox(abc.ABC):
    """The machine of one episode."""

    @abc.abstractmethod
    def populate(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Create files, and the folders above them.

        Each entry has a `path` and, as needed, `type` (file, folder, link, or append for more content at the end of an
        existing file), `content` or `hex`, `repeat`, `target`, `mode`, `uid`, `gid`, `mtime`.
        """

    @abc.abstractmethod
    def run(self, command: str) -> Output:
        """Run a command in the persistent shell.

        Raises:
            SandboxDied: The machine is gone.
        """

    @abc.abstractmethod
    def execute(self, script: Script, parameters: Sequence[str] = ()) -> Ran:
        """Run a script in a process of its own, beside the shell."""

    @abc.abstractmethod
    def freeze(self) -> None:
        """Stop all processes of the agent for good; only looking and checking are possible from here on."""

    @abc.abstractmethod
    def inspect(self, paths: Sequence[str]) -> FinalState:
        """What is at and below some paths, and which processes there are."""

    @abc.abstractmethod
    def check(self, script: Script, parameters: Sequence[str] = ()) -> Ran:
        """Run a script on a copy of the frozen state, with pristine programs; later checks see its effects."""

    @abc.abstractmethod
    def close(self) -> None:
        """End all processes and forget all files."""


class Machines(abc.ABC):
    """Gives out sandboxes of one kind."""

    name: str

    @abc.abstractmethod
    def start(self, limits: Limits) -> Sandbox:
        """A fresh machine.

        Raises:
            BackendError: It cannot be started.
        """


def open_machines(name: str | None = None, root: str | None = None, image: str | None = None) -> Machines:
    """The backend of a name, or the first one that this computer allows.

    Args:
        name: `namespace`, `docker` or `podman`; None tries the first two in this order.
        root: Folder of a root file system for `namespace`; None takes the host's /usr.
        image: Image for the containers; None takes the package's own.

    Raises:
        UnknownNameError: No such backend.
        BackendError: It cannot be used here; the message says why, and what to do.
        MissingExtraError: It needs an extra that is not installed.
    """
    if name is not None:
        return _open(choose("backend", name, BACKENDS), root, image)
    reasons = []
    for candidate in AUTOMATIC:
        try:
            return _open(candidate, root, image)
        except (BackendError, ImportError) as error:
            reasons.append(f"{candidate}: {error}")
    raise BackendError("No safe sandbox is available, and bash is never run without one.\n" + "\n".join(reasons))


def _open(name: str, root: str | None, image: str | None) -> Machines:
    if name == "namespace":
        from cmat_gym.envs.os.namespace import open_namespaces

        return open_namespaces(root or "/")
    from cmat_gym.envs.os.containers import open_containers

    return open_containers(name, image)
