"""A private MariaDB server: its data in memory, reached through a socket of this user, gone with the process.

The server is started once a process and shared by all environments in it.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from cmat_gym.core.errors import BackendError

__all__ = ["PrivateServer", "is_installed", "shared_server"]

SERVERS = ("mariadbd", "mysqld")
INSTALLERS = ("mariadb-install-db", "mysql_install_db")
PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/bin", "/usr/local/bin")
BOOT_SECONDS = 30
SETTINGS = (
    "--skip-log-bin", "--skip-name-resolve", "--performance-schema=OFF", "--sql-mode=",
    "--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci", "--group-concat-max-len=1024",
    "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0",
    "--local-infile=0", "--secure-file-priv=/dev/null", "--max-connections=300", "--lower-case-table-names=0",
    "--innodb-use-native-aio=0", "--innodb-temp-data-file-path=ibtmp1:12M:autoextend:max:256M", "--symbolic-links=0",
)  # fmt: skip
# A hard ceiling for everything agents may store: all tables in one file that cannot grow beyond 256 MB.
STORAGE = (
    "--innodb-file-per-table=0",
    "--innodb-data-file-path=ibdata1:12M:autoextend:max:256M",
    "--innodb-log-file-size=8M",
)


def _find(names: tuple[str, ...]) -> str | None:
    path = os.pathsep.join([os.environ.get("PATH", ""), *PLACES])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def is_installed() -> bool:
    """Whether this machine has what a private server needs."""
    return _find(SERVERS) is not None and _find(INSTALLERS) is not None


class PrivateServer:
    """One running server. `socket` is where it listens; its superuser is `root` without a password.

    Args:
        port: A port of the loopback interface to listen at as well; None for the socket alone.

    Raises:
        BackendError: MariaDB is not installed, or does not start.
    """

    def __init__(self, port: int | None = None) -> None:
        server, installer = _find(SERVERS), _find(INSTALLERS)
        if server is None or installer is None:
            raise BackendError(
                "backend='mariadb' needs MariaDB's server on this machine (on Debian and Ubuntu: apt install "
                "mariadb-server); backend='embedded' needs nothing, and a DSN reaches a server elsewhere"
            )
        self._owner = os.getpid()
        memory = Path("/dev/shm")
        base = memory if os.access(memory, os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="cmat-db-", dir=base))
        self.socket = str(self.folder / "socket")
        self._process: subprocess.Popen[bytes] | None = None
        scratch = self.folder / "tmp"  # two servers that start at once must not share one
        scratch.mkdir()
        user = self._unprivileged_user()
        network = ("--skip-networking",) if port is None else ("--bind-address=127.0.0.1", f"--port={port}")
        common = ("--no-defaults", *user, f"--datadir={self.folder / 'data'}", f"--tmpdir={scratch}", *STORAGE)
        try:
            self._run(
                installer, *common, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"
            )
            here = (f"--socket={self.socket}", f"--pid-file={self.folder / 'pid'}")
            self._start(server, *common, *network, *here, *SETTINGS)
        except BaseException:
            self.stop()
            raise
        atexit.register(self.stop)

    def _unprivileged_user(self) -> tuple[str, ...]:
        """MariaDB does not run as root: there it runs as `mysql`, or as `nobody`."""
        if os.geteuid() != 0:
            return ()
        known = {entry.pw_name for entry in pwd.getpwall()}
        name = "mysql" if "mysql" in known else "nobody"
        shutil.chown(self.folder, name)
        shutil.chown(self.folder / "tmp", name)
        return (f"--user={name}",)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        if done.returncode:
            raise BackendError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")

    def _start(self, *command: str) -> None:
        log = self.folder / "log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd=self.folder
            )
        deadline = time.monotonic() + BOOT_SECONDS
        while not Path(self.socket).exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BackendError(f"MariaDB did not start: {log.read_text(errors='replace').strip()[-500:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End the server and remove its data; a forked child leaves its parent's server alone."""
        if os.getpid() != self._owner:
            return
        if self._process is not None and self._process.poll() is None:
            self._process.kill()  # nothing is kept, so nothing has to be written out
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)


_shared: PrivateServer | None = None


def shared_server() -> PrivateServer:
    """The server of this process, started at the first call."""
    global _shared
    if _shared is None or _shared._owner != os.getpid():
        _shared = PrivateServer()
    return _shared
