"""File trees: written for a task, read for the grader, repaired for a check."""

from __future__ import annotations

import os
import shutil
import stat
from typing import Any

from . import skeleton

MAX_ENTRIES = 4000
MAX_CONTENT, MAX_TOTAL = 1 << 16, 1 << 22  # bytes that are read of one file, and of all of them
LINKS = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")
LINKER_FILES = ("etc/ld.so.cache", "etc/ld.so.conf", "etc/ld.so.preload")


def repair_links(root: str, lower: str) -> None:
    """Put back what decides which programs and libraries run: /bin, /lib … and the linker's files."""
    for name in LINKS:
        wanted, path = f"{lower}/{name}", f"{root}/{name}"
        if os.path.islink(wanted) and not (os.path.islink(path) and os.readlink(path) == os.readlink(wanted)):
            remove(path)
            os.symlink(os.readlink(wanted), path)
    etc = f"{root}/etc"
    if os.path.islink(etc) or not os.path.isdir(etc):
        remove(etc)
        os.mkdir(etc)
    for name in LINKER_FILES:
        if content(f"{root}/{name}") != content(f"{lower}/{name}"):
            remove(f"{root}/{name}")
            if os.path.isfile(f"{lower}/{name}"):
                shutil.copyfile(f"{lower}/{name}", f"{root}/{name}")


def content(path: str) -> bytes | None:
    """What a regular file holds; None for anything else."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return file.read()


def remove(path: str) -> None:
    """Remove a file or a folder, if it is there, without following links."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def write_tree(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Create files, folders and links; folders get their times last, deepest first, as writing into them changes it."""
    for entry in entries:
        path, kind = entry["path"], entry.get("type", "file")
        os.makedirs(os.path.dirname(path) or "/", exist_ok=True)
        if kind == "folder":
            os.makedirs(path, exist_ok=True)
        elif kind == "link":
            os.symlink(entry["target"], path)
        elif kind == "append":
            with open(path, "ab") as file:
                file.write(entry["content"].encode())
            os.utime(path, (skeleton.EPOCH, skeleton.EPOCH))
            continue
        else:
            with open(path, "wb") as file:
                content = bytes.fromhex(entry["hex"]) if "hex" in entry else entry["content"].encode()
                file.write(content * entry.get("repeat", 1))
        os.chown(path, entry.get("uid", 0), entry.get("gid", 0), follow_symlinks=False)
        if kind != "link":
            os.chmod(path, entry.get("mode", 0o755 if kind == "folder" else 0o644))
    folders = {folder for entry in entries for folder in parents(entry["path"])}
    times = {entry["path"]: entry.get("mtime", skeleton.EPOCH) for entry in entries}  # those of folders come last
    times |= {folder: times.get(folder, skeleton.EPOCH) for folder in folders}
    for path in sorted(times, key=len, reverse=True):
        os.utime(path, (times[path], times[path]), follow_symlinks=False)
    return {"ok": True}


def parents(path: str) -> list[str]:
    """All folders above a path, without the root."""
    parts = path.strip("/").split("/")[:-1]
    return ["/" + "/".join(parts[: depth + 1]) for depth in range(len(parts))]


def read_tree(paths: list[str]) -> dict[str, Any]:
    """Describe the files at and below some paths; too many of them are cut off, which `complete` says."""
    entries: dict[str, dict[str, Any]] = {}
    waiting, total = sorted(paths, reverse=True), 0
    while waiting and len(entries) < MAX_ENTRIES and total < MAX_TOTAL:
        path = waiting.pop()
        if path in entries:
            continue
        try:
            entries[path] = entry = describe(path)
            total += len(entry.get("content", ""))
            if entry["type"] == "folder":
                waiting += sorted((f"{path.rstrip('/')}/{name}" for name in os.listdir(path)), reverse=True)
        except OSError:
            continue
    return {"entries": entries, "complete": not waiting}


def describe(path: str) -> dict[str, Any]:
    """One file: type, mode, owner, size, time, and content or target."""
    info = os.lstat(path)
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    entry: dict[str, Any] = {
        "type": kinds.get(stat.S_IFMT(info.st_mode), "other"),
        "mode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "size": info.st_size,
        "mtime": int(info.st_mtime),
    }
    if entry["type"] == "link":
        entry["target"] = os.readlink(path)
    elif entry["type"] == "file":
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            entry["content"] = file.read(MAX_CONTENT).decode("utf-8", "surrogateescape")
    return entry
