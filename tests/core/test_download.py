"""Downloads, against a server on this machine: whole and verified, or not there at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import multiprocessing
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headstart.core import download as module
from headstart.core.download import download, mirrored
from headstart.errors import DownloadError

DATA = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(DATA).hexdigest()
URL = "https://far.away.example/models/file.bin"


class Home(ThreadingHTTPServer):
    """Serves ``data`` at every path; ``faults`` are met one per request: a status, "cut" (hangs up), "endless",
    "trickle".
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.ranges, self.faults, self.seen = DATA, True, [], []


class Handler(BaseHTTPRequestHandler):
    server: Home

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.seen.append((self.path, asked))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if isinstance(fault, int):
            return self.send_error(fault)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.ranges else 0
        if start >= len(self.server.data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.server.data)}")
            self.end_headers()
            return None
        if fault in ("endless", "trickle"):
            return self.go_on_sending(1 << 16 if fault == "endless" else 1)
        body = self.server.data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
        return None

    def go_on_sending(self, step):
        """Without an announced length, until the other side hangs up."""
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"x" * step)
                if step == 1:
                    time.sleep(0.01)

    def log_message(self, *_):
        pass


@pytest.fixture
def home(monkeypatch):
    server = Home()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("HEADSTART_MIRROR", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(module, "BACKOFF_S", 0.0)
    yield server
    server.shutdown()
    server.server_close()


def test_a_file_is_fetched_verified_and_not_fetched_again(home, tmp_path):
    steps = []
    to = download(URL, tmp_path / "a" / "file.bin", sha256=SHA256, progress=lambda *step: steps.append(step))
    assert to.read_bytes() == DATA
    assert steps[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    download(URL, to, sha256=SHA256)
    assert home.seen == [("/models/file.bin", None)]
    assert {p.name for p in to.parent.iterdir()} <= {"file.bin", "file.bin.lock"}


@pytest.mark.parametrize(
    "checksum",
    [
        {"sha256": SHA256.upper()}, {"sha256": SHA256[:8]}, {"md5": (hashlib.md5(DATA).hexdigest(),)},
        {"md5": ("0" * 32, hashlib.md5(DATA).hexdigest())}, {},
    ],
)  # fmt: skip
def test_every_kind_of_checksum(home, tmp_path, checksum):
    assert download(URL, tmp_path / "file.bin", **checksum).read_bytes() == DATA


@pytest.mark.parametrize(
    "checksum", [{"sha256": "0" * 64}, {"sha256": "0" * 8}, {"sha256": SHA256, "md5": ("0" * 32,)}]
)
def test_other_bytes_than_promised_are_deleted(home, tmp_path, checksum):
    with pytest.raises(DownloadError, match="checksum differs"):
        download(URL, tmp_path / "file.bin", **checksum)
    assert [p.name for p in tmp_path.glob("file.bin*") if not p.name.endswith(".lock")] == []


def test_a_damaged_file_in_place_is_replaced(home, tmp_path):
    (tmp_path / "file.bin").write_bytes(DATA[:-1])
    assert download(URL, tmp_path / "file.bin", sha256=SHA256).read_bytes() == DATA


def test_a_broken_line_is_resumed_where_it_broke(home, tmp_path):
    home.faults = ["cut", 503]
    assert download(URL, tmp_path / "file.bin", sha256=SHA256).read_bytes() == DATA
    assert home.seen[0][1] is None
    assert home.seen[1][1] == home.seen[2][1] == f"bytes={len(DATA) // 2}-"


def test_a_later_call_resumes_what_an_earlier_left(home, tmp_path):
    home.faults = ["cut", 503, 503]
    with pytest.raises(DownloadError, match="answered 503"):
        download(URL, tmp_path / "file.bin", sha256=SHA256)
    half = (tmp_path / "file.bin.part").stat().st_size
    assert 0 < half < len(DATA)
    download(URL, tmp_path / "file.bin", sha256=SHA256)
    assert home.seen[-1][1] == f"bytes={half}-"


def test_a_server_that_knows_no_ranges_starts_over(home, tmp_path):
    home.ranges = False
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    assert download(URL, tmp_path / "file.bin", sha256=SHA256).read_bytes() == DATA
    assert len(home.seen) == 1


def test_the_part_of_another_edition_is_thrown_away(home, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    assert download(URL, tmp_path / "file.bin", sha256=SHA256).read_bytes() == DATA
    assert [asked for _, asked in home.seen] == ["bytes=1000-", None]


def test_halves_are_not_joined_without_a_checksum(home, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    assert download(URL, tmp_path / "file.bin").read_bytes() == DATA


@pytest.mark.parametrize("part", [DATA, DATA + b"more"])
def test_a_part_that_is_whole_or_too_long(home, tmp_path, part):
    (tmp_path / "file.bin.part").write_bytes(part)
    assert download(URL, tmp_path / "file.bin", sha256=SHA256).read_bytes() == DATA


def test_a_missing_file_is_asked_for_once(home, tmp_path):
    home.faults = [404, 404]
    with pytest.raises(DownloadError, match="answered 404"):
        download(URL, tmp_path / "file.bin", sha256=SHA256)
    assert len(home.seen) == 1


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_MIRROR", "http://127.0.0.1:1")
    monkeypatch.setattr(module, "BACKOFF_S", 0.0)
    with pytest.raises(DownloadError) as error:
        download(URL, tmp_path / "file.bin", sha256=SHA256, hint="Give --weights FILE.")
    assert error.value.problem.startswith("no connection to 127.0.0.1:1")
    assert error.value.hint == "Give --weights FILE."
    assert error.value.exit_code == 2


def test_a_full_disk(home, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_copy", full)
    with pytest.raises(DownloadError, match="disk is full"):
        download(URL, tmp_path / "file.bin", sha256=SHA256)
    assert not (tmp_path / "file.bin").exists()


def test_a_folder_that_cannot_be_written(home, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="HEADSTART_CACHE"):
        download(URL, tmp_path / "file" / "a.bin", sha256=SHA256)


def test_mirrors(monkeypatch):
    assert mirrored(URL) == URL
    monkeypatch.setenv("HEADSTART_MIRROR", "http://inside:8000/copies/")
    assert mirrored(URL + "?v=1") == "http://inside:8000/copies/models/file.bin?v=1"
    monkeypatch.setenv("HEADSTART_MIRROR", "file:///etc")
    with pytest.raises(DownloadError, match="HEADSTART_MIRROR"):
        mirrored(URL)


def _fetch(to):
    download(URL, to, sha256=SHA256)


def test_two_processes_fetch_once(home, tmp_path):
    start = multiprocessing.get_context("spawn").Process
    both = [start(target=_fetch, args=(tmp_path / "file.bin",)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "file.bin").read_bytes() == DATA
    assert len(home.seen) == 1


@pytest.mark.parametrize("fault", ["endless", None], ids=["endless", "announced"])
def test_more_than_may_be_is_not_fetched(home, tmp_path, fault):
    home.faults = [fault]
    with pytest.raises(DownloadError, match="sends more than 100,000 bytes"):
        download(URL, tmp_path / "file.bin", at_most=100_000)
    assert len(home.seen) == 1
    assert not [p for p in tmp_path.glob("file.bin*") if not p.name.endswith(".lock")]


def test_a_server_that_trickles_is_given_up(home, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STALL_S", 0.1)
    home.faults = ["trickle"] * module.ATTEMPTS
    with pytest.raises(DownloadError, match=r"fewer than 60,000 bytes in 0\.1 s"):
        download(URL, tmp_path / "file.bin")
    assert len(home.seen) == module.ATTEMPTS
