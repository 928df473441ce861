"""The root that every episode starts from, apart from /usr: small, the same on every machine, without secrets."""

from __future__ import annotations

import os
import shutil

EPOCH = 1_767_225_600  # 2026-01-01 00:00 UTC: every file of the skeleton was last changed then
HOSTNAME = "sandbox"

_LINKS = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")
_FOLDERS = {
    "boot": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "media": 0o755, "mnt": 0o755, "opt": 0o755,
    "proc": 0o555, "root": 0o700, "run": 0o755, "run/lock": 0o1777, "srv": 0o755, "sys": 0o555, "tmp": 0o1777,
    "usr": 0o755, "var": 0o755, "var/backups": 0o755, "var/cache": 0o755, "var/lib": 0o755, "var/local": 0o2775,
    "var/log": 0o755, "var/mail": 0o2775, "var/spool": 0o755, "var/spool/cron": 0o755,
    "var/spool/cron/crontabs": 0o1730, "var/tmp": 0o1777, "var/www": 0o755, "etc/cron.d": 0o755,
    "etc/profile.d": 0o755, "etc/default": 0o755, "etc/skel": 0o755,
}  # fmt: skip
# What programs need to run, and no more: no keys, no host names, no accounts of the host.
_COPIED = (
    "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "login.defs", "pam.d", "pam.conf",
    "security/limits.conf", "security/pam_env.conf", "adduser.conf", "deluser.conf", "default/useradd",
    "services", "protocols", "mime.types", "terminfo", "host.conf", "debian_version", "os-release", "magic",
)  # fmt: skip
_USERS = (
    "root:x:0:0:root:/root:/bin/bash", "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
    "bin:x:2:2:bin:/bin:/usr/sbin/nologin", "sys:x:3:3:sys:/dev:/usr/sbin/nologin",
    "mail:x:8:8:mail:/var/mail:/usr/sbin/nologin", "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin",
    "backup:x:34:34:backup:/var/backups:/usr/sbin/nologin",
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
)  # fmt: skip
_GROUPS = (
    "root:x:0:", "daemon:x:1:", "bin:x:2:", "sys:x:3:", "adm:x:4:", "tty:x:5:", "mail:x:8:", "sudo:x:27:",
    "www-data:x:33:", "backup:x:34:", "staff:x:50:", "users:x:100:", "nogroup:x:65534:",
)  # fmt: skip
_FILES = {
    "etc/passwd": "\n".join(_USERS) + "\n",
    "etc/group": "\n".join(_GROUPS) + "\n",
    "etc/shadow": "".join(f"{user.partition(':')[0]}:*:20454:0:99999:7:::\n" for user in _USERS),
    "etc/gshadow": "".join(f"{group.partition(':')[0]}:*::\n" for group in _GROUPS),
    "etc/hostname": f"{HOSTNAME}\n",
    "etc/hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{HOSTNAME}\n",
    "etc/resolv.conf": "",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
    "etc/shells": "/bin/sh\n/bin/bash\n/usr/bin/bash\n",
    "etc/timezone": "Etc/UTC\n",
    "etc/crontab": "# m h dom mon dow user command\n",
    "etc/profile": "if [ -d /etc/profile.d ]; then\n  for i in /etc/profile.d/*.sh; do [ -r $i ] && . $i; done\n"
    "  unset i\nfi\n",
    "root/.profile": "if [ -f ~/.bashrc ]; then . ~/.bashrc; fi\n",
    "root/.bashrc": "# ~/.bashrc\n",
    "etc/skel/.profile": "if [ -f ~/.bashrc ]; then . ~/.bashrc; fi\n",
    "etc/skel/.bashrc": "# ~/.bashrc\n",
}
_PRIVATE = {"etc/shadow": 0o640, "etc/gshadow": 0o640}


def build_skeleton(folder: str, host: str = "/") -> None:
    """Fill an empty folder; `host` is where the files to copy are."""
    for path, mode in _FOLDERS.items():
        os.makedirs(f"{folder}/{path}", exist_ok=True)
        os.chmod(f"{folder}/{path}", mode)
    for name in _LINKS:
        if os.path.islink(f"{host}/{name}"):
            os.symlink(os.readlink(f"{host}/{name}"), f"{folder}/{name}")
    os.symlink("/run", f"{folder}/var/run")
    os.symlink("/run/lock", f"{folder}/var/lock")
    os.symlink("/proc/self/mounts", f"{folder}/etc/mtab")
    for name in _COPIED:
        _copy(f"{host}/etc/{name}", f"{folder}/etc/{name}")
    for path, text in _FILES.items():
        with open(f"{folder}/{path}", "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(f"{folder}/{path}", _PRIVATE.get(path, 0o644))
    for top, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            os.utime(f"{top}/{name}", (EPOCH, EPOCH), follow_symlinks=False)
    os.utime(folder, (EPOCH, EPOCH))


def _copy(source: str, target: str) -> None:
    """Copy a file or folder if it is there and may be read."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        if os.path.isdir(source) and not os.path.islink(source):
            shutil.copytree(source, target, symlinks=True, copy_function=shutil.copyfile, dirs_exist_ok=True)
        elif os.path.lexists(source):
            shutil.copyfile(source, target, follow_symlinks=False)
    except (OSError, shutil.Error):
        return  # one file less; what needs it says so itself
