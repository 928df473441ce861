"""What an agent may try against its cage. The host is unharmed, the machine answers or dies, the next one is clean.

Every attack runs behind small limits, on each backend that this machine allows.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cmat_gym.core.errors import BackendError
from cmat_gym.envs.os.backend import Limits, Machines, Sandbox, SandboxDied, Script

# As in conftest.py: an attack that gets through must not take the machine of the tests with it.
SMALL = Limits(memory=96 << 20, processes=30, disk=24 << 20, inodes=2000, file_size=16 << 20, cpu_seconds=10,
               open_files=128, command_seconds=2.0, output_bytes=1 << 18)  # fmt: skip

ATTACKS = {
    "fork bomb": ":(){ :|:& };:",
    "fork bomb of many users": "for u in daemon bin sys mail; do su $u -s /bin/bash -c ':(){ :|:& };:' & done; wait",
    "memory hog": "a=x; while :; do a=$a$a; done",
    "memory in files": "cat /dev/zero > /dev/shm/x; cat /dev/zero > /tmp/x",
    "full disk": "for i in $(seq 100); do head -c 4000000 /dev/zero > /tmp/f$i || break; done",
    "many files": "mkdir /tmp/m; cd /tmp/m; for i in $(seq 4000); do : > $i || break; done",
    "endless output": "yes",
    "endless loop": "while :; do :; done",
    "kill all": "kill -9 -1",
    "kill all from below": "bash -c 'kill -9 -1'",
    "kill the shell": "kill -9 $$",
    "kill the parent": "kill -9 1; kill -TERM 1; kill -INT 1; kill -STOP 1",
    "end the shell": "exit 7",
    "replace the shell": "exec sleep 100",
    "close everything": "exec 0<&- 1>&- 2>&- 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-",
    "traps": "trap 'sleep 100' DEBUG EXIT ERR RETURN",
    "functions": "eval() { :; }; builtin() { :; }; echo() { :; }; printf() { :; }; exec() { :; }",
    "aliases": "alias eval=true builtin=true echo=true printf=true",
    "readonly": "readonly PATH IFS BASH_ENV; PATH=/nowhere; IFS=x; set -euo pipefail; set -n",
    "background writers": "(while :; do echo noise; done) & sleep 0.1",
    "stopped shell": "kill -STOP $$",
    "large command": "x='" + "y" * 60_000 + "'; echo ${#x}",
}


def survives(sandbox: Sandbox) -> bool:
    """Whether the machine still answers, or is known to be dead."""
    for _ in range(6):
        try:
            if sandbox.run("true").status is not None:
                return True
        except SandboxDied:
            return True
    return False


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_stay_inside(sandbox: Sandbox, machines: Machines, name: str) -> None:
    processes = count_processes()
    begin = time.monotonic()
    with suppress(SandboxDied):
        sandbox.run(ATTACKS[name])
    assert time.monotonic() - begin < SMALL.command_seconds + 6
    assert count_processes() < processes + SMALL.processes + 60
    assert survives(sandbox)
    other = machines.start(SMALL)
    try:
        assert other.run("ls /tmp | wc -l; echo ok").text == "0\nok\n"
        assert "noise" not in other.run("ps ax 2>/dev/null; ls /dev/shm").text
    finally:
        other.close()


def count_processes() -> int:
    return sum(name.isdigit() for name in os.listdir("/proc"))


def test_all_processes_end_with_the_machine(machines: Machines) -> None:
    """Also those that left their session, ignore signals, and fork again and again."""
    mark = f"{os.getpid()}{int(time.time() * 1000) % 10**8}"
    sandbox = machines.start(SMALL)
    stubborn = f"trap '' TERM INT HUP; exec -a m{mark} sleep 1000"
    sandbox.run(f'setsid bash -c "{stubborn}" & ({stubborn}) & sleep 0.2')
    assert len(marked(mark)) >= 2
    sandbox.close()
    deadline = time.monotonic() + 10
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert marked(mark) == []


def marked(mark: str) -> list[str]:
    """The host's processes with a mark in front of their command line."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{name}/cmdline").read_bytes().startswith(f"m{mark}".encode()):
                found.append(name)
        except OSError:
            continue
    return found


# Looking out ---------------------------------------------------------------------------------------------------------


def test_files_of_the_host_are_not_there(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's own")
    shown = sandbox.run(
        f"cat {secret}; ls {tmp_path}; cat /etc/shadow /root/.ssh/* /proc/1/environ; ls /proc/1/cwd/ /proc/1/root/"
    ).text
    assert "the host's own" not in shown
    assert "$6$" not in shown
    assert "$y$" not in shown
    assert str(Path(__file__).parent) not in sandbox.run("cat /proc/*/cmdline /proc/*/environ /proc/mounts").text


def test_secrets_in_the_environment_stay_outside(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAT_TEST_SECRET", "do-not-tell")
    sandbox = machines.start(SMALL)
    try:
        assert "do-not-tell" not in sandbox.run("env; cat /proc/*/environ").text
    finally:
        sandbox.close()


def test_processes_of_the_host_are_not_there(sandbox: Sandbox) -> None:
    shown = sandbox.run("for p in /proc/[0-9]*; do cat $p/comm; done").text
    assert "pytest" not in shown
    assert sandbox.run("ls -d /proc/[0-9]* | wc -l").text.strip().isdigit()
    assert int(sandbox.run("ls -d /proc/[0-9]* | wc -l").text) < 12
    assert sandbox.run(f"kill -9 {os.getpid()} {os.getppid()} 2> /dev/null; echo done").text.endswith("done\n")


def test_there_is_no_network(sandbox: Sandbox) -> None:
    """A listening port of the host is out of reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached = threading.Event()
        port = server.getsockname()[1]
        server.settimeout(3)

        def wait() -> None:
            try:
                server.accept()
                reached.set()
            except OSError:
                return

        thread = threading.Thread(target=wait)
        thread.start()
        sandbox.run(f"exec 9<>/dev/tcp/127.0.0.1/{port}; exec 9<>/dev/tcp/1.1.1.1/53")
        thread.join()
        assert not reached.is_set()


PRIVILEGED = (
    "mount -t tmpfs none /mnt",
    "mount --bind / /mnt",
    "umount -l /proc",
    "umount -l /",
    "unshare -r id",
    "unshare -m id",
    "unshare -p --fork id",
    "chroot / true",
    "mknod /tmp/sda b 8 0",
    "mknod /tmp/mem c 1 1",
    "nsenter -t 1 -a id",
    "dmesg",
    "echo 1 > /proc/sys/kernel/sysrq",
    "echo b > /proc/sysrq-trigger",
    "echo x > /proc/sys/kernel/core_pattern",
    "echo -1000 > /proc/1/oom_score_adj",
    "mkdir /sys/fs/cgroup/memory/mine",
    "echo x > /sys/kernel/uevent_helper",
    "cat /proc/1/mem",
    "head -c 1 /proc/kcore | grep -q .",
    "date -s 2001-01-01",
    "hostname stolen",
    "swapoff -a -v | grep -q .",
    "ulimit -u 100000",
    "ulimit -n 100000",
)


# Docker has no way to forbid it. It only keeps the container's own PID 1 from being chosen when the container's memory
# is used up, and the limit of that memory stands.
GRANTED_BY_CONTAINERS = {"echo -1000 > /proc/1/oom_score_adj"}


def test_privileges_are_refused(sandbox: Sandbox, machines: Machines) -> None:
    granted = {command for command in PRIVILEGED if sandbox.run(f"{command} > /dev/null 2>&1").status == 0}
    assert granted <= (set() if machines.name == "namespace" else GRANTED_BY_CONTAINERS)


def test_setuid_programs_give_no_powers(sandbox: Sandbox) -> None:
    """A user of the sandbox does not become its root, and its root is nobody on the host."""
    prepared = sandbox.run("useradd eve && cp /bin/bash /tmp/sh && chmod 4755 /tmp/sh && ls -l /tmp/sh | cut -c1-10")
    assert prepared.text == "-rwsr-xr-x\n"
    shown = sandbox.run("su eve -c '/tmp/sh -p -c \"cat /etc/shadow; id -u\"'").text
    assert "Permission denied" in shown
    bounds = sandbox.run("grep -e CapBnd -e NoNewPrivs -e Seccomp: /proc/self/status").text.split()
    assert int(bounds[1], 16) & ~0xFB == 0  # chown, dac_override, fowner, fsetid, kill, setgid, setuid
    assert bounds[3] == "1"
    assert bounds[5] == "2"


def test_no_tracing(cage: Sandbox) -> None:
    calls = {"ptrace": 101, "keyctl": 250, "bpf": 321, "unshare": 272, "setns": 308, "userfaultfd": 323, "mount": 165}
    program = "import ctypes; l = ctypes.CDLL(None, use_errno=True)\n" + "\n".join(
        f"print('{name}', l.syscall({number}, 0, 0, 0, 0, 0), ctypes.get_errno())" for name, number in calls.items()
    )
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of the calls are those of x86_64")
    ran = cage.execute(Script(program, "python"))
    assert ran.output.splitlines() == [f"{name} -1 1" for name in calls], ran
    families = (
        "import socket\nfor f in (40, 38, 17, 16, 1):\n try: socket.socket(f, 3 if f == 17 else 1 if f != 16 else 3)\n"
    )
    families += " except OSError as e: print(f, e.errno)\n else: print(f, 'open')"
    assert cage.execute(Script(families, "python")).output.split("\n")[:5] == [
        "40 1", "38 1", "17 1", "16 open", "1 open",
    ]  # fmt: skip


# What the agent sees -------------------------------------------------------------------------------------------------


def test_binary_output_and_escapes_are_only_bytes(sandbox: Sandbox) -> None:
    assert "\udcff" in sandbox.run(r"printf '\xff\xfe\x00binary'").text
    assert sandbox.run(r"printf '\033[2J\033]0;title\007x'").status == 0
    assert sandbox.run("head -c 200000 /dev/urandom").event in ("", "flood")
    assert sandbox.run("echo fine").text == "fine\n"


def test_a_machine_that_dies_is_told_apart(cage: Sandbox) -> None:
    cage._channel.socket.shutdown(2)  # type: ignore[attr-defined]  # as if its PID 1 had been killed
    with pytest.raises(BackendError):
        cage.freeze()


# The grader's inputs -------------------------------------------------------------------------------------------------

FORGERIES = (
    "echo '#!/bin/sh\necho forged' > /tmp/f; chmod 755 /tmp/f",
    "for p in bash grep cat ls timeout; do cp /tmp/f /usr/bin/$p; cp /tmp/f /usr/local/bin/$p; done 2>/dev/null",
    "mkdir -p /usr/lib/python3.11; echo 'print(\"forged\")' > /usr/lib/python3.11/os.py; : > /usr/lib/python311.zip",
    "echo home = /tmp > /usr/bin/pyvenv.cfg; cp /usr/bin/pyvenv.cfg /usr/pyvenv.cfg; : > /usr/bin/pybuilddir.txt",
    "echo /tmp/evil.so > /etc/ld.so.preload; echo /tmp > /etc/ld.so.conf; : > /etc/ld.so.cache",
    "echo 'echo forged' > /etc/profile; echo 'echo forged' > /root/.bashrc; export BASH_ENV=/root/.bashrc",
    "rm -rf /bin /lib /lib64 2>/dev/null; mkdir -p /bin /lib64; cp /tmp/f /bin/sh",
)


@pytest.mark.parametrize("order", [1, -1])
def test_checks_run_with_pristine_programs(sandbox: Sandbox, order: int) -> None:
    """Whatever an agent replaces, a check runs the programs of the base and sees the agent's files."""
    sandbox.run("echo kept > /srv/file; echo '#!/bin/sh\necho added' > /usr/bin/mine; chmod 755 /usr/bin/mine")
    for forgery in FORGERIES[::order] if order == 1 else [FORGERIES[0], *FORGERIES[:0:-1]]:
        sandbox.run(forgery)
    ran = sandbox.check(Script("cat /srv/file; mine; echo a | grep a; echo $1 $BASH_ENV; ls -d /srv"), ["p"])
    assert ran.output == "kept\nadded\na\np\n/srv\n", ran
    assert ran.code == 0


def test_checks_do_not_change_what_is_checked(sandbox: Sandbox) -> None:
    sandbox.run("echo one > /srv/file")
    assert sandbox.check(Script("echo two > /srv/file; cat /srv/file; exit 3")) == ("two\n", 3, False)
    assert sandbox.check(Script("cat /srv/file")).output == "two\n", "the scripts of a chain see one another's effects"
    assert sandbox.inspect(["/srv/file"]).files["/srv/file"].content == "one\n"


def test_nothing_runs_while_it_is_graded(sandbox: Sandbox) -> None:
    """A process that rewrites a file all the time cannot do so under the grader's eyes."""
    sandbox.run("(while :; do date +%N > /srv/clock; done) & sleep 0.2")
    sandbox.freeze()
    first = sandbox.inspect(["/srv/clock"]).files["/srv/clock"].content
    time.sleep(0.1)
    assert sandbox.inspect(["/srv/clock"]).files["/srv/clock"].content == first


def test_links_do_not_lead_the_grader_out(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "host").write_text("host")
    sandbox.run(
        f"ln -s {tmp_path} /srv/out; ln -s / /srv/root; ln -s /srv/loop /srv/loop; mkfifo /srv/pipe; echo x > /srv/f"
    )
    state = sandbox.inspect(["/srv", "/srv/out/host"])
    kinds = {path: info.type for path, info in state.files.items()}
    assert kinds == {
        "/srv": "folder", "/srv/out": "link", "/srv/root": "link", "/srv/loop": "link", "/srv/pipe": "other",
        "/srv/f": "file",
    }  # fmt: skip
