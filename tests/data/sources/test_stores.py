"""Object stores: the photos of an S3 server, a web server and a hub on this machine, read in place; what fails is told
in one message, without credentials.
"""

from __future__ import annotations

import http.server
import json
import pickle
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from helpers.shards import Bucket, Files, arrow_folder, parquet_file, seen, tar, web_shards

import headstart as hs
from headstart.data.schema import ReadOptions
from headstart.data.sources import remote_folder, stores
from headstart.data.sources.detect import scan
from headstart.data.sources.unlabelled import find_files
from headstart.errors import DataError, DownloadError, HeadstartError
from headstart.runs.images import run_photos


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "BACKOFF_S", 0.0)


def test_a_bucket_has_the_photos_of_the_folder(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = bucket.put(photos, "photos")
    tars = bucket.put(web_shards(photos, tmp_path / "tars"), "tars")
    tables = bucket.put(parquet_file(photos, tmp_path / "tables" / "data.parquet").parent, "tables")
    expected = seen(scan(photos))
    for data in (folder, tars, f"{tars}/photos-{{000..003}}.tar", f"{tars}/*.tar", tables, f"{tables}/data.parquet"):
        found = scan(data)
        assert (found.source, seen(found)) == ("stored", expected), data


def test_a_table_in_a_bucket(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    place = tmp_path / "flat"
    place.mkdir()
    lines = ["path,label"]
    for number, photo in enumerate(sorted(photos.rglob("*.png"))):
        (place / f"{number}.png").write_bytes(photo.read_bytes())
        lines.append(f"{number}.png,{photo.parent.name}")
    (place / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    assert seen(scan(bucket.put(place, "flat"))) == seen(scan(place))


def test_a_table_that_is_too_large_is_not_passed_over(
    bucket: Bucket, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold the labels that the folders' names would be taken for."""
    folder = bucket.put(photos, "photos")
    bucket.client.put_object(Bucket=bucket.name, Key="photos/more/notes.csv", Body=b"path,label\n" + b"\n" * (2 << 20))
    monkeypatch.setattr(remote_folder, "LARGEST_TABLE", 1 << 20)
    with pytest.raises(DataError, match=r"a table of 2 MB \(more/notes\.csv\); at most 1 are read") as error:
        scan(folder)
    assert "ignore='more/notes.csv'" in error.value.hint
    assert len(scan(folder, options=ReadOptions(ignore=("more/notes.csv",))).photos) == 36


def test_shards_among_photos_in_a_bucket_are_not_taken_for_the_data(
    bucket: Bucket, photos: Path, tmp_path: Path
) -> None:
    folder = bucket.put(photos, "photos")
    bucket.client.upload_file(str(web_shards(photos, tmp_path) / "photos-000.tar"), bucket.name, "photos/old/a.tar")
    with pytest.raises(DataError, match="not clear") as error:
        scan(folder)
    assert f"{folder}/old/*.tar" in error.value.hint
    assert "ignore='*.tar'" in error.value.hint
    assert len(scan(f"{folder}/old/*.tar", for_training=False).photos) == 10
    found = scan(folder, options=ReadOptions(ignore=("*.tar",)))
    assert seen(found) == seen(scan(photos))


def test_a_table_of_names_in_a_bucket_is_no_shard(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = bucket.put(photos, "photos")
    parquet.write_table(pa.table({"size": [1, 2]}), tmp_path / "sizes.parquet")
    bucket.client.upload_file(str(tmp_path / "sizes.parquet"), bucket.name, "photos/sizes.parquet")
    assert seen(scan(folder)) == seen(scan(photos))


def test_a_saved_data_set_in_a_bucket(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = bucket.put(arrow_folder(photos, tmp_path / "a"), "saved")
    with pytest.raises(DataError, match=f"{folder}: Arrow files"):
        scan(folder)


def test_odd_keys_of_a_bucket(bucket: Bucket, photos: Path) -> None:
    folder = bucket.put(photos, "photos")
    content = (photos / "cat" / "cat_00.png").read_bytes()
    bucket.client.put_object(Bucket=bucket.name, Key="photos/cat//odd.png", Body=content)
    assert len(scan(folder).photos) == 37
    bucket.client.put_object(Bucket=bucket.name, Key="photos/cat//cat_00.png", Body=content)
    with pytest.raises(DataError, match=r"two files cat/cat_00\.png"):
        scan(folder)
    bucket.client.put_object(Bucket=bucket.name, Key=f"long/cat/{'x' * 300}.png", Body=content)
    with pytest.raises(DataError, match="no file here can be named"):
        scan(f"{bucket.address}/long")


def test_an_error_names_the_address_and_not_a_folder_here(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    bucket.put(photos / "cat", "images/images")
    with pytest.raises(DataError) as error:
        scan(f"{bucket.address}/images")
    assert f"{bucket.address}/images" in str(error.value)
    assert tempfile.gettempdir() not in str(error.value)


def test_classes_are_named_beside_shards_elsewhere(bucket: Bucket, web: Files, photos: Path, tmp_path: Path) -> None:
    shards, expected = web_shards(photos, tmp_path / "web" / "shards", labels="cls"), seen(scan(photos))
    assert seen(scan(f"{web.address}/shards/photos-{{000..003}}.tar")) == expected
    assert seen(scan(f"{bucket.put(shards, 'shards')}/photos-*.tar")) == expected
    (shards / "classes.txt").unlink()
    assert {p.label for p in scan(f"{web.address}/shards/photos-{{000..003}}.tar").photos} == {"0", "1", "2"}


def test_the_folder_that_names_share() -> None:
    assert stores._shared(["b/x/c/1.tar", "b/y/c/2.tar"]) == "b"
    assert stores._shared(["https://h/a/1.tar", "https://h/a/2.tar"]) == "https://h/a"
    assert stores._shared(["b/1.tar", "b/x/2.tar"]) == "b"


def test_a_shard_in_a_bucket_is_fetched_in_blocks(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    found = scan(bucket.put(web_shards(photos, tmp_path / "tars", 100), "tars"))
    asked = []
    system = found.photos[0].reader.store.system  # type: ignore[attr-defined]
    fetch = system.cat_file
    system.cat_file = lambda *args, **more: asked.append(args) or fetch(*args, **more)
    assert seen(found) == seen(scan(photos))
    assert len(asked) <= 1  # 36 photos, and the index read the same block


def test_what_a_bucket_does_not_give(bucket: Bucket, photos: Path) -> None:
    bucket.put(photos, "photos")
    for data, words in (
        (f"{bucket.address}/nothing", "no files there"),
        ("s3://no-such-bucket/photos", "nothing is there"),
        (f"{bucket.address}/photos/{{0..3}}.tar", r"0\.tar is not there"),
    ):
        with pytest.raises(HeadstartError, match=words):
            scan(data)
    found = scan(f"{bucket.address}/photos")
    bucket.client.delete_object(Bucket=bucket.name, Key="photos/cat/cat_00.png")
    with pytest.raises(DownloadError, match=r"cat_00\.png cannot be read: nothing is there"):
        found.photos[0].open()


def test_no_credentials_are_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DownloadError) as error:
        scan(f"{bucket.address}/photos")
    assert "secret-for-tests" not in str(error.value)
    with pytest.raises(DataError, match="holds a user or password") as refused:
        scan("https://me:secret@example.org/photos-{0..3}.tar")
    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize("data", ["ftp://host/photos", "file:///etc", "local://x", "github://a/b", "zip://a::s3://b/c"])
def test_other_schemes_are_refused(data: str) -> None:
    with pytest.raises(DataError, match="are not read"):
        scan(data)


@pytest.mark.parametrize("command", ["pipe:touch ran", "pipe:touch ran #.tar", "file://x.tar | touch ran"])
def test_nothing_is_run(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeadstartError):
        scan(command)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(*_: object, **__: object) -> None:
        raise ImportError("gcsfs")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(DataError, match=r"headstart\[remote\]"):
        scan("gs://bucket/photos")


def test_shards_of_a_web_server(web: Files, photos: Path, tmp_path: Path) -> None:
    web_shards(photos, tmp_path / "web" / "shards")
    web.failing = 1
    found = scan(f"{web.address}/shards/photos-{{000..003}}.tar")
    assert seen(found) == seen(scan(photos))
    assert any("bytes=" in line for line in web.asked)
    web.failing = 100
    with pytest.raises(DownloadError):
        scan(f"{web.address}/shards/photos-{{000..003}}.tar")


def test_a_web_server_that_does_not_send_parts(web: Files, photos: Path, tmp_path: Path, monkeypatch) -> None:
    shards = web_shards(photos, tmp_path / "web" / "shards", 100)
    web.parts = False
    monkeypatch.setattr(stores, "BLOCK", shards.joinpath("photos-000.tar").stat().st_size // 2)
    with pytest.raises(DownloadError, match="does not send parts"):
        scan(f"{web.address}/shards/photos-000.tar")


def test_a_store_that_fails_stops_rather_than_losing_photos(
    web: Files, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.data.images import read_photos

    web_shards(photos, tmp_path / "web" / "shards")
    found = scan(f"{web.address}/shards/photos-{{000..003}}.tar")
    found.photos[0].reader.store._blocks.clear()  # type: ignore[attr-defined]
    web.failing = 10_000
    with pytest.raises(DownloadError):
        read_photos(found.photos, 32)


def test_a_run_fetches_nothing(bucket: Bucket, probe_run: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(probe_run, run)
    asked = json.loads((run / "request.json").read_text(encoding="utf-8"))
    asked["options"]["data"] = f"{bucket.address}/photos"
    (run / "request.json").write_text(json.dumps(asked), encoding="utf-8")
    with pytest.raises(DataError, match="a run fetches nothing"):
        run_photos(run, ("test",))


class _Hub:
    """Data sets of a hub: the answers that listing and reading one needs."""

    def __init__(self, files: dict[str, dict[str, bytes]]) -> None:
        self.files = files  # by revision
        hub = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(*hub.get(unquote(urlsplit(self.path).path), self.headers.get("Range", "")))

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                self.answer(404, b"{}")

            def answer(self, code: int, content: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Type", "application/json")
                self.send_header("X-Repo-Commit", "c" * 40)
                if code == 404:
                    self.send_header("X-Error-Code", "EntryNotFound")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def get(self, path: str, part: str) -> tuple[int, bytes]:
        for revision, files in self.files.items():
            if path.startswith(f"/api/datasets/someone/pets/revision/{revision}") or (
                revision == "main" and path == "/api/datasets/someone/pets"
            ):
                return 200, json.dumps({"id": "someone/pets", "sha": "c" * 40, "siblings": [], "tags": []}).encode()
            start = f"/api/datasets/someone/pets/tree/{revision}"
            if path.startswith(start):
                return 200, json.dumps(self._tree(files, path.removeprefix(start).strip("/"))).encode()
            start = f"/datasets/someone/pets/resolve/{revision}/"
            if path.startswith(start) and path.removeprefix(start) in files:
                content = files[path.removeprefix(start)]
                first, _, last = part.removeprefix("bytes=").partition("-")
                return (206, content[int(first) : int(last or len(content)) + 1]) if part else (200, content)
        return 404, b"{}"

    def _tree(self, files: dict[str, bytes], below: str) -> list[dict[str, object]]:
        there = [name for name in files if name.startswith(f"{below}/" if below else "")]
        folders = {name.rpartition("/")[0] for name in there} - {below, ""}
        return [
            *({"type": "directory", "path": name, "oid": "d" * 40, "size": 0} for name in sorted(folders)),
            *({"type": "file", "path": n, "oid": "f" * 40, "size": len(files[n])} for n in there),
        ]


@pytest.fixture
def sets(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Hub]:
    from huggingface_hub import HfFileSystem, constants

    hub = _Hub({"main": {}, "refs/convert/parquet": {}})
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    HfFileSystem.clear_instance_cache()
    yield hub
    HfFileSystem.clear_instance_cache()
    hub.server.shutdown()
    hub.server.server_close()


@pytest.mark.parametrize("revision", ["main", "refs/convert/parquet"])
def test_a_set_of_the_hub(sets: _Hub, revision: str, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    content = parquet_file(photos, tmp_path / "data.parquet").read_bytes()
    sets.files["main"]["README.md"] = b"# Pets"
    sets.files["main"]["pets.py"] = b"raise SystemExit('run')"
    sets.files[revision]["default/train/0000.parquet"] = content
    found = scan("hf://datasets/someone/pets", for_training=False)
    assert {photo.split for photo in found.photos} == {"train"}
    assert [row[3] for row in seen(found)] == [row[3] for row in seen(scan(photos))]
    if revision != "main":
        sets.files[revision]["other/train/0000.parquet"] = content
        with pytest.raises(DataError, match="several configurations"):
            scan("hf://datasets/someone/pets")


def test_photos_to_predict_are_read_in_place(bucket: Bucket, probe_run: Path, photos: Path, tmp_path: Path) -> None:
    """Whether or not they have labels: a flat folder, and shards in which one photo has none."""
    pytest.importorskip("pyarrow")
    flat = tmp_path / "flat"
    flat.mkdir()
    for photo in photos.rglob("*.png"):
        (flat / photo.name).write_bytes(photo.read_bytes())
    (flat / "broken.png").write_bytes(b"no picture")
    (flat / "song.mp3").write_bytes(b"x")
    shards = web_shards(photos, tmp_path / "tars")
    tar(shards / "more.tar", {"extra.png": next(photos.rglob("*.png")).read_bytes()})
    expected = sorted((one.path.name, one.label) for one in hs.predict(probe_run, photos))
    tables = parquet_file(photos, tmp_path / "tables" / "data.parquet").parent
    for folder, more in ((flat, "broken.png"), (shards, "extra.png"), (tables, "")):
        data = bucket.put(folder, folder.name)
        answer = hs.predict(probe_run, data)
        found = list(answer)
        assert sorted((one.path.name, one.label) for one in found if one.path.name != more) == expected
        assert all(one.name.startswith(f"{data}/") for one in found)
        assert [bad.path.name for bad in answer.skipped] == (["song.mp3"] if folder is flat else [])
        if folder is flat:
            (broken,) = [one for one in found if one.problem]
            assert broken.name == f"{data}/broken.png"


def test_parts_of_photos_elsewhere_travel_to_other_processes(
    bucket: Bucket, probe_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    for form, folder in (("tars", web_shards(photos, tmp_path / "tars")), ("photos", photos)):
        listed = list(find_files(bucket.put(folder, form)).photos)
        there = pickle.loads(pickle.dumps(listed))
        assert [one.open("rb").read() for one in there] == [one.open("rb").read() for one in listed]
        out = tmp_path / f"{form}-predicted"
        first = hs.predict_shards(probe_run, f"{bucket.address}/{form}", out, part=10, quiet=True)
        monkeypatch.chdir(tmp_path)  # the same photos from wherever they are asked for
        again = hs.predict_shards(probe_run, f"{bucket.address}/{form}", out, part=10, quiet=True)
        assert (first.computed, again.computed) == (len(listed), 0)
        monkeypatch.undo()


def test_one_photo_of_a_web_server(web: Files, probe_run: Path, photos: Path, tmp_path: Path) -> None:
    photo = next(photos.rglob("*.png"))
    (tmp_path / "web" / "a.png").write_bytes(photo.read_bytes())
    (found,) = hs.predict(probe_run, f"{web.address}/a.png")
    (here,) = hs.predict(probe_run, photo)
    assert (found.name, found.label, found.problem) == (f"{web.address}/a.png", here.label, None)
    with pytest.raises(DownloadError, match="nothing is there"):
        hs.predict(probe_run, f"{web.address}/b.png")
