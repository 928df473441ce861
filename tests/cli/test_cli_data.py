"""`cmat-gym data get` against a real server on the loopback interface that breaks off, resumes, fails and lies."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cmat_gym.cli import data_get, datasets, download
from cmat_gym.cli.datasets import DATASETS, DataFile, Dataset
from cmat_gym.cli.main import main

CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Home:
    """A server for files, with ranges and entity tags; `cut` limits the bytes of the next answers."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: list[int] = []
        self.errors: list[int] = []
        self.stall = False
        self.kind = "application/octet-stream"
        self.requests: list[tuple[str, str | None]] = []
        self.sent = 0
        home = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                home.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        content = self.files.get(handler.path)
        code = self.errors.pop(0) if self.errors else 404 if content is None else 0
        if code or content is None:
            handler.send_error(code)
            return
        tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        start = 0
        if asked is not None and handler.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(content)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        body = content[start:]
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Content-Type", self.kind)
        handler.send_header("ETag", tag)
        handler.end_headers()
        body = body[: self.cut.pop(0)] if self.cut else body
        self.sent += len(body)
        handler.wfile.write(body)
        handler.wfile.flush()
        if len(body) < len(content) - start:
            while self.stall:
                time.sleep(0.02)
            handler.close_connection = True


@pytest.fixture
def home() -> Iterator[Home]:
    server = Home()
    server.files["/x.bin"] = CONTENT
    yield server
    server.stall = False
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def offer(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dataset]:
    """Puts a data set with one file at the server into the catalogue, in place of the real ones."""

    def put(path: str = "x/x.bin", sha256: str | None = hashlib.sha256(CONTENT).hexdigest(), **more: Any) -> Dataset:
        file = DataFile(path, f"{home.url}/x.bin", sha256, **more)
        dataset = Dataset("x/data", "a test", "MIT, by nobody", "open('{folder}/x')", (file,))
        monkeypatch.setattr(datasets, "DATASETS", (dataset,))
        monkeypatch.setattr(data_get, "DATASETS", (dataset,))
        return dataset

    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.01)))
    return put


def get(folder: Path, *options: str) -> int:
    return main(["data", "get", "x/data", "--folder", str(folder), *options])


def test_a_file_is_fetched_checked_and_not_fetched_again(
    home: Home, offer: Callable[..., Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer()
    assert get(tmp_path) == 0
    shown = capsys.readouterr()
    assert "Licence: MIT, by nobody" in shown.err
    assert f"x/x.bin: checked, SHA-256 {hashlib.sha256(CONTENT).hexdigest()}" in shown.err
    assert shown.out.strip() == f"open('{tmp_path}/x')"
    assert (tmp_path / "x" / "x.bin").read_bytes() == CONTENT
    assert [file.name for file in (tmp_path / "x").iterdir()] == ["x.bin"]
    assert get(tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["how"] == "already there"
    assert len(home.requests) == 1
    (tmp_path / "x" / "x.bin").write_bytes(b"damaged")
    assert get(tmp_path) == 0
    assert (tmp_path / "x" / "x.bin").read_bytes() == CONTENT


def test_a_connection_that_breaks_off_is_taken_up_again_where_it_was(
    home: Home, offer: Callable[..., Dataset], tmp_path: Path
) -> None:
    offer()
    home.cut, home.errors = [300_000, 200_000], [503]
    assert get(tmp_path) == 0
    assert (tmp_path / "x" / "x.bin").read_bytes() == CONTENT
    assert [asked for _, asked in home.requests] == [None, None, "bytes=300000-", "bytes=500000-"]
    assert home.sent == len(CONTENT), "no byte came twice"


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_command_goes_on_where_it_was(home: Home, tmp_path: Path) -> None:
    """The real command, stopped by Ctrl-C in the middle, over a mirror; no hash of these files is published."""
    home.files = {f"/mind2web/train/train_{n}.json": CONTENT for n in range(11)}
    home.cut, home.stall = [700_000], True
    command = [sys.executable, "-m", "cmat_gym.cli.main", "data", "get", "mind2web/train", "--folder", str(tmp_path),
               "--from", home.url]  # fmt: skip
    part = tmp_path / "mind2web" / "train" / "train_0.json.part"
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 240
    while not part.exists() or part.stat().st_size < 500_000:
        assert time.monotonic() < limit
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    assert "interrupted" in running.communicate(timeout=240)[1]
    assert running.returncode == 130
    home.stall = False
    there = part.stat().st_size
    home.requests.clear()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert home.requests[0][1] == f"bytes={there}-"
    assert part.with_suffix("").read_bytes() == CONTENT
    assert done.stderr.count("no hash is published, recorded on first use") == 11


def test_a_file_that_has_changed_in_between_is_begun_anew(
    home: Home, offer: Callable[..., Dataset], tmp_path: Path
) -> None:
    offer()
    part = tmp_path / "x" / "x.bin.part"
    part.parent.mkdir()
    part.write_bytes(bytes(100_000))
    part.with_name("x.bin.part.tag").write_text('"older"')
    assert get(tmp_path) == 0
    assert home.requests == [("/x.bin", "bytes=100000-")]
    assert (tmp_path / "x" / "x.bin").read_bytes() == CONTENT


def test_a_part_that_is_already_complete_is_only_checked(
    home: Home, offer: Callable[..., Dataset], tmp_path: Path
) -> None:
    offer()
    part = tmp_path / "x" / "x.bin.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    part.with_name("x.bin.part.tag").write_text(f'"{hashlib.sha256(CONTENT).hexdigest()[:8]}"')
    assert get(tmp_path) == 0
    assert home.sent == 0


def test_a_wrong_file_is_named_and_kept_aside(
    home: Home, offer: Callable[..., Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer()
    home.files["/x.bin"] = b"something else"
    assert get(tmp_path) == 2
    shown = capsys.readouterr().err
    assert f"expected {hashlib.sha256(CONTENT).hexdigest()}" in shown
    assert hashlib.sha256(b"something else").hexdigest() in shown
    assert f"{home.url}/x.bin is not x/x.bin of x/data" in shown
    assert [file.name for file in (tmp_path / "x").iterdir()] == ["x.bin.rejected"]


def test_a_hash_is_recorded_on_first_use_and_binding_from_then_on(
    home: Home, offer: Callable[..., Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(sha256=None)
    assert get(tmp_path) == 0
    assert "recorded on first use" in capsys.readouterr().err
    assert json.loads((tmp_path / "checksums.json").read_text()) == {"x/x.bin": hashlib.sha256(CONTENT).hexdigest()}
    (tmp_path / "x" / "x.bin").unlink()
    home.files["/x.bin"] = b"other"
    assert get(tmp_path) == 2
    assert "expected" in capsys.readouterr().err
    (tmp_path / "checksums.json").write_text("[")
    assert get(tmp_path) == 2
    assert "remove it to trust the files anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": {}}, "answers 404"),
        ({"errors": [500] * 9}, "bytes are kept; try again"),
        ({"kind": "text/html"}, "a web page in place of the file"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(
    change: dict[str, Any], message: str, home: Home, offer: Callable[..., Dataset], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    offer()
    vars(home).update(change)
    assert get(tmp_path) == 2
    assert message in capsys.readouterr().err
    assert len(home.requests) == (download.ATTEMPTS if "errors" in change else 1)


def test_copies_and_mirrors_take_the_place_of_the_home(
    home: Home, offer: Callable[..., Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer()
    home.files["/mirror/x/x.bin"] = home.files.pop("/x.bin")
    copies = tmp_path / "copies"
    copies.mkdir()
    (copies / "x.bin").write_bytes(CONTENT)
    for number, place in enumerate((f"{home.url}/mirror/", str(copies), str(copies / "x.bin"))):
        assert get(tmp_path / str(number), "--from", place) == 0
        assert (tmp_path / str(number) / "x" / "x.bin").read_bytes() == CONTENT
    capsys.readouterr()
    assert get(tmp_path / "none", "--from", str(tmp_path / "nowhere")) == 2
    assert "There is neither x/x.bin nor x.bin" in capsys.readouterr().err
    assert main(["data", "get", "x/data", "x/data", "--from", str(copies / "x.bin")]) == 2
    assert "is one file" in capsys.readouterr().err
    assert main(["data", "get", "x/date"]) == 2
    assert "Did you mean 'x/data'" in capsys.readouterr().err


def archives() -> dict[str, bytes]:
    good, evil, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(good, "w") as archive:
        archive.writestr("games/one.txt", "1")
        archive.writestr("../../outside.txt", "2")
    with tarfile.open(fileobj=evil, mode="w:gz") as archive:
        member = tarfile.TarInfo("../outside.txt")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"1"))
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("tree/one.txt")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"1"))
    return {"good.zip": good.getvalue(), "evil.tar.gz": evil.getvalue(), "good.tar.gz": packed.getvalue()}


def test_archives_are_unpacked_and_cannot_reach_out(
    home: Home, offer: Callable[..., Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in archives().items():
        home.files["/x.bin"] = content
        offer(f"x/{name}", sha256=None, unpack=f"x/{name}.d")
        assert get(tmp_path / "deep" / "data") == (2 if "evil" in name else 0)
    folder = tmp_path / "deep" / "data" / "x"
    assert (folder / "good.zip.d" / "games" / "one.txt").read_text() == "1"
    assert (folder / "good.tar.gz.d" / "tree" / "one.txt").read_text() == "1"
    assert "cannot be unpacked" in capsys.readouterr().err
    assert not [file for file in tmp_path.rglob("outside.txt") if folder not in file.parents]


def test_the_list_names_size_licence_and_what_is_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mind2web").mkdir()
    (tmp_path / "mind2web" / "autowebbench_en_ind.json").touch()
    assert main(["data", "list", "--folder", str(tmp_path), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["datasets"]}
    assert [name for name, row in rows.items() if row["here"]] == ["mind2web/autowebbench"]
    assert rows["webshop/small"]["bytes"] == 9_751_660
    assert main(["data", "list", "--folder", str(tmp_path)]) == 0
    assert "os/agentbench" in capsys.readouterr().out


def test_the_catalogue_is_complete_and_safe() -> None:
    files = [file for dataset in DATASETS for file in dataset.files]
    assert len({file.path for file in files}) == len(files)
    for file in files:
        assert file.url.startswith("https://")
        assert ".." not in file.path
        assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
    assert all(dataset.licence and dataset.about for dataset in DATASETS)


@pytest.mark.parametrize("name", ["os/agentbench", "db/agentbench", "kg/agentbench", "alfworld/agentbench"])
def test_the_hashes_are_those_of_the_real_files(name: str, data_file: Callable[[str], Path]) -> None:
    dataset = next(dataset for dataset in DATASETS if dataset.name == name)
    folder = data_file(name)
    checked = 0
    for file in dataset.files:
        copy = folder.parents[1] / file.path
        if file.sha256 is not None and copy.is_file():
            checked += 1
            assert download.sha256_of(copy) == file.sha256, file.path
            assert copy.stat().st_size == file.bytes
    assert checked
