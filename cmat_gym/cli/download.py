"""Fetching a file: resumed where it was interrupted, checked against its hash, moved into place whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

from cmat_gym import __version__
from cmat_gym.cli.datasets import DataFile, Dataset
from cmat_gym.core.errors import CmatError, TaskError

__all__ = ["DownloadError", "Hashes", "OnBytes", "fetch", "is_url", "sha256_of", "unpack"]

OnBytes: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes that are there, and the size where it is known."""

CHUNK = 1 << 18
ATTEMPTS = 5
TIMEOUT = 60.0  # seconds without a byte
RECORD = "checksums.json"


class DownloadError(CmatError):
    """A file could not be fetched; what has come in is kept, and another try goes on from there."""


class Hashes:
    """The hashes of files that none were known of, kept in the data folder from the first use on."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / RECORD
        self.known: dict[str, str] = {}
        if self.file.is_file():
            try:
                self.known = dict(json.loads(self.file.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise TaskError(f"{self.file} cannot be read ({error}); remove it to trust the files anew") from error

    def expected(self, file: DataFile) -> str | None:
        """The hash a file must have."""
        return file.sha256 or self.known.get(file.path)

    def record(self, file: DataFile, digest: str) -> bool:
        """Keep the hash of a file that had none; returns whether this was its first use."""
        if self.expected(file) is not None:
            return False
        self.known[file.path] = digest
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".draft")
        draft.write_text(json.dumps(self.known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        draft.replace(self.file)
        return True


def fetch(
    dataset: Dataset, file: DataFile, target: Path, expected: str | None, base: str | None, on_bytes: OnBytes
) -> str:
    """Bring a file to `target`; returns its SHA-256.

    Args:
        dataset: What the file belongs to, for messages.
        file: The file.
        target: Where it goes. `target` + `.part` holds what has come in so far.
        expected: The hash it must have; None where none is known.
        base: A folder or the URL of a mirror with the layout of the data folder, or the file itself; None fetches it
            from its home.
        on_bytes: Told how far it is.

    Raises:
        DownloadError: It cannot be fetched, or not all of it.
        TaskError: It is not the file it should be; it is kept beside `target` as `….rejected`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    origin = file.url if base is None else _origin(file, base)
    if is_url(origin):
        _download(origin, part, on_bytes)
    else:
        _copy(Path(origin), part, on_bytes)
    found = sha256_of(part)
    if expected is not None and found != expected:
        rejected = target.with_name(target.name + ".rejected")
        part.replace(rejected)
        _forget(part)
        raise TaskError(
            f"{origin} is not {file.path} of {dataset.name}: its SHA-256 is {found}, expected {expected}. "
            f"What came in is kept as {rejected}; take another copy with --from"
        )
    part.replace(target)
    _forget(part)
    return found


def is_url(text: str) -> bool:
    """Whether this is an address, and no path."""
    return urlsplit(text).scheme in ("http", "https")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder; nothing in it can reach out of there.

    Raises:
        TaskError: It is damaged, or holds something that would leave the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as source:
                source.extractall(folder)  # which drops drives, roots and `..` from names
        else:
            with tarfile.open(archive) as source:
                source.extractall(folder, filter="data")
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise TaskError(f"{archive} cannot be unpacked: {error}") from error


def _origin(file: DataFile, base: str) -> str:
    if is_url(base):
        return f"{base.rstrip('/')}/{quote(file.path)}"
    place = Path(base).expanduser()
    if place.is_file():
        return str(place)
    for found in (place / file.path, place / Path(file.path).name):
        if found.is_file():
            return str(found)
    raise DownloadError(f"There is neither {file.path} nor {Path(file.path).name} in {place}")


def _copy(source: Path, part: Path, on_bytes: OnBytes) -> None:
    try:
        shutil.copyfile(source, part)
    except OSError as error:
        raise DownloadError(f"{source} cannot be copied: {error}") from error
    on_bytes(part.stat().st_size, part.stat().st_size)


def _download(url: str, part: Path, on_bytes: OnBytes) -> None:
    """Add to `part` until it is complete, with pauses between failures that may pass."""
    for attempt in range(1, ATTEMPTS + 1):
        before = _size(part)
        try:
            _receive(url, part, on_bytes)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise DownloadError(f"{url} answers {error.code} {error.reason}; a mirror or a copy: --from") from error
            reason = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        if attempt == ATTEMPTS:
            raise DownloadError(
                f"{url} cannot be fetched ({reason}). {_size(part):,} bytes are kept; try again, or use --from"
            )
        time.sleep(0 if _size(part) > before else min(30.0, 0.5 * 2**attempt))


def _receive(url: str, part: Path, on_bytes: OnBytes) -> None:
    """One request: for what is missing, if the file is still the one that was begun."""
    tag = part.with_name(part.name + ".tag")
    start = _size(part)
    headers = {"User-Agent": f"cmat-gym/{__version__}", "Accept-Encoding": "identity"}
    if start and tag.is_file():
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text(encoding="utf-8")}
    else:
        start = 0
    with _open(urllib.request.Request(url, headers=headers)) as response:
        if response is None:  # nothing is missing
            return
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(f"{url} answers with a web page in place of the file; fetch it by hand and use --from")
        goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        start = start if goes_on else 0
        if start == 0:
            identity = response.headers.get("ETag") or response.headers.get("Last-Modified")
            tag.write_text(identity, encoding="utf-8") if identity else tag.unlink(missing_ok=True)
        length = response.headers.get("Content-Length")
        size = None if length is None else start + int(length)
        with part.open("ab" if start else "wb") as out:
            done = start
            while chunk := response.read(CHUNK):
                out.write(chunk)
                done += len(chunk)
                on_bytes(done, size)
    if size is not None and done < size:
        raise http.client.IncompleteRead(b"", size - done)


@contextlib.contextmanager
def _open(request: urllib.request.Request) -> Iterator[Any]:
    """The answer; None where there is nothing left to send."""
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            yield response
    except urllib.error.HTTPError as error:
        complete = request.get_header("Range", "").removeprefix("bytes=").rstrip("-")
        if error.code != 416 or error.headers.get("Content-Range") != f"bytes */{complete}":
            raise
        yield None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _forget(part: Path) -> None:
    part.with_name(part.name + ".tag").unlink(missing_ok=True)
