"""Class folders of photos as shards, written by nothing of headstart, and servers that hold them."""

from __future__ import annotations

import http.server
import io
import json
import re
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from headstart.data.filenames import shown
from headstart.data.schema import Manifest


def members(folder: Path) -> list[Path]:
    """The photos of class folders, in the order of their names."""
    return sorted(folder.rglob("*.png"))


def seen(found: Manifest) -> list[tuple[str, str, str | None, bytes]]:
    """What a manifest says of each photo, and the photo."""
    return [(shown(p.path, found.root), p.label, p.split, p.open().read()) for p in found.photos]


def tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """A tar of these files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as out:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return path


def web_shards(folder: Path, to: Path, each: int = 10, labels: str = "json") -> Path:
    """WebDataset shards of class folders; ``labels``: "json", "cls" (numbers), "txt" (names) or "" (folders alone)."""
    photos = members(folder)
    classes = sorted({photo.parent.name for photo in photos})
    for number, start in enumerate(range(0, len(photos), each)):
        files: dict[str, bytes] = {}
        for photo in photos[start : start + each]:
            label, key = photo.parent.name, photo.relative_to(folder).with_suffix("").as_posix()
            files[f"{key}.png"] = photo.read_bytes()
            if labels:
                content = {"json": json.dumps({"label": label}), "cls": str(classes.index(label)), "txt": label}[labels]
                files[f"{key}.{labels}"] = content.encode()
        tar(to / f"photos-{number:03d}.tar", files)
    if labels == "cls":
        (to / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
    return to


def table(folder: Path, paths: bool = True) -> Any:
    """An Arrow table with the metadata of Hugging Face's features."""
    import pyarrow as pa

    photos = members(folder)
    classes = sorted({photo.parent.name for photo in photos})
    features = {"image": {"_type": "Image"}, "label": {"names": classes, "_type": "ClassLabel"}}
    rows = [
        {
            "image": {"bytes": photo.read_bytes(), "path": photo.name if paths else None},
            "label": classes.index(photo.parent.name),
        }
        for photo in photos
    ]
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    return pa.Table.from_pylist(rows, schema)


def parquet_file(folder: Path, to: Path, group: int = 8, paths: bool = True) -> Path:
    """One Parquet file of class folders."""
    from pyarrow import parquet

    to.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table(folder, paths), to, row_group_size=group)
    return to


def arrow_folder(folder: Path, to: Path) -> Path:
    """A folder as ``Dataset.save_to_disk`` writes it."""
    import pyarrow as pa

    to.mkdir(parents=True)
    whole = table(folder)
    with pa.OSFile(str(to / "data-00000-of-00001.arrow"), "wb") as file, pa.ipc.new_stream(file, whole.schema) as out:
        out.write_table(whole, max_chunksize=7)
    for name in ("state.json", "dataset_info.json"):
        (to / name).write_text("{}", encoding="utf-8")
    return to


FORMS: dict[str, Callable[[Path, Path], Path]] = {
    "json": lambda folder, to: web_shards(folder, to),
    "cls": lambda folder, to: web_shards(folder, to, labels="cls"),
    "txt": lambda folder, to: web_shards(folder, to, labels="txt"),
    "folders": lambda folder, to: web_shards(folder, to, labels=""),
    "parquet": lambda folder, to: parquet_file(folder, to / "data.parquet").parent,
    "arrow": arrow_folder,
}
"""Class folders in other forms, by name."""


class Files:
    """A web server of the files of a folder that answers requests for parts, unless ``parts`` is False; ``asked`` logs
    each request. ``failing``: how many requests it refuses with 503 before it answers.
    """

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.parts, self.failing = True, 0
        files = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                files.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
                if files.failing:
                    files.failing -= 1
                    return self.say(503, b"")
                path = folder / self.path.lstrip("/").partition("?")[0]
                if not path.is_file():
                    return self.say(404, b"")
                content = path.read_bytes()
                part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if part and files.parts:
                    return self.say(206, content[int(part[1]) : int(part[2] or len(content)) + 1])
                self.say(200, content)

            def do_HEAD(self) -> None:
                self.do_GET()

            def say(self, code: int, content: bytes) -> None:
                self.send_response(code)
                if files.parts:
                    self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Files]:
    """A web server of what is in ``tmp_path/web``."""
    pytest.importorskip("aiohttp")
    (tmp_path / "web").mkdir()
    made = Files(tmp_path / "web")
    yield made
    made.close()


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[str]:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server")
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


class Bucket:
    """An S3 bucket, by its address and a client."""

    def __init__(self, name: str, client: Any) -> None:
        self.name, self.client, self.address = name, client, f"s3://{name}"

    def put(self, folder: Path, key: str) -> str:
        """Upload a folder; returns its address."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.client.upload_file(str(path), self.name, f"{key}/{path.relative_to(folder).as_posix()}")
        return f"{self.address}/{key}"


@pytest.fixture
def bucket(_s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A new bucket of an S3 server on this machine (moto)."""
    import boto3
    import s3fs

    for name, value in (
        ("AWS_ACCESS_KEY_ID", "for-tests"), ("AWS_SECRET_ACCESS_KEY", "secret-for-tests"),
        ("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_ENDPOINT_URL", _s3_server),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    name = f"photos-{len(client.list_buckets()['Buckets'])}"
    client.create_bucket(Bucket=name)
    return Bucket(name, client)
