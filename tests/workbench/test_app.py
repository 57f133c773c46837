"""The studio's requests: who may ask, what is refused, what comes back."""

from __future__ import annotations

import errno
import io
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headstart.core.files import write_json
from headstart.serving.limits import Limits
from headstart.workbench import jobs as jobs_module
from headstart.workbench.app import make_app
from headstart.workbench.desk import Desk
from headstart.workbench.project import Project

HERE = "http://localhost"


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "_spawn", lambda *_: None)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "projects", Limits(file_mb=1, request_mb=3))


@pytest.fixture
def client(desk: Desk) -> Iterator[Any]:
    from starlette.testclient import TestClient

    with TestClient(make_app(desk), base_url=HERE, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def pets(client: Any) -> str:
    """The path of a project with two classes."""
    assert client.post("/api/projects", json={"name": "pets"}).json() == {"name": "pets"}
    for label in ("cat", "dog"):
        client.post("/api/projects/pets/classes", json={"do": "add", "name": label})
    return "/api/projects/pets"


def png(grey: int = 100, size: int = 40) -> bytes:
    out = io.BytesIO()
    Image.new("L", (size, size), grey).save(out, "PNG")
    return out.getvalue()


def drop(client: Any, project: str, *contents: bytes, label: str = "cat") -> dict[str, Any]:
    files = [("files", (f"{i}.png", content)) for i, content in enumerate(contents)]
    response = client.post(f"{project}/photos", params={"label": label}, files=files)
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_the_page_loads_its_own_files_only(client: Any) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert '<script type="module" src="app.js">' in page.text
    for name in ("app.js", "studio.css", "views/photos.js", "vendor/preact-htm.js"):
        assert client.get(f"/{name}").status_code == 200
    for name in ("../app.py", "views/../../app.py", "%2e%2e/app.py", "nothing.js", "views", "index.html.js"):
        assert client.get(f"/{name}").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": HERE}, 200),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_other_sites_cannot_ask(client: Any, pets: str, headers: dict[str, str], status: int) -> None:
    asked = {"content-type": "application/json", **headers}
    assert client.post(f"{pets}/undo-nothing", headers=asked, content=b"{}").status_code in (status, 404, 405)
    response = client.post(f"{pets}/classes", headers=asked, content=json.dumps({"do": "add", "name": "owl"}))
    assert response.status_code == status, response.text


def test_a_token_opens_a_studio_that_others_reach(desk: Desk) -> None:
    from starlette.testclient import TestClient

    with TestClient(make_app(desk, token="s3cret-token"), base_url=HERE, follow_redirects=False) as client:
        for path in ("/", "/api/projects", "/app.js", "/?token=wrong", "/api/projects?token=s3cret-token"):
            assert client.get(path).status_code == 401
        opened = client.get("/?token=s3cret-token")
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        assert "httponly" in opened.headers["set-cookie"].lower()
        assert "samesite=lax" in opened.headers["set-cookie"].lower()
        assert client.get("/api/projects").status_code == 200
        (name,) = client.cookies
        client.cookies.clear()
        for cookie, status in (
            (f"{name}=wrong", 401), (f"{name}=s3cret-token", 200), ("headstart-studio-1=s3cret-token", 401),
            (f'a={{"x": 1}}; b=c d; flag; e@f=1; {name}=s3cret-token', 200),  # of other services on this host
        ):  # fmt: skip
            assert client.get("/api/projects", headers={"cookie": cookie}).status_code == status, cookie


def test_photos_are_taken_and_shown(client: Any, pets: str, desk: Desk) -> None:
    told = drop(client, pets, png(1), png(2), png(1), b"no photo")
    assert told["added"] == [1, 2]
    assert set(told["refused"]) == {"2.png", "3.png"}
    assert client.get(f"{pets}/photos").json()["labels"] == ["cat", "cat"]
    thumbnail = client.get(f"{pets}/thumbnails/1")
    assert Image.open(io.BytesIO(thumbnail.content)).size == (192, 192)
    assert client.get(f"{pets}/photos/1").content == png(1)
    for number in (99, "x", -1):
        assert client.get(f"{pets}/thumbnails/{number}").status_code in (404, 422)
    assert (desk.home / "pets" / "labels.csv").read_text().count("cat") == 4  # in the path, and as the label


def test_numbers_and_names_that_no_project_has(client: Any, pets: str) -> None:
    assert client.get(f"{pets}/thumbnails/{10**23}").status_code == 404
    response = client.post(f"{pets}/photos?label=a%00", files=[("files", ("a.png", png()))])
    assert response.status_code == 422
    assert [one["name"] for one in client.get(pets).json()["classes"]] == ["cat", "dog"]


def test_a_photo_that_is_gone_says_so(client: Any, pets: str, desk: Desk) -> None:
    drop(client, pets, png())
    with desk.project("pets") as project:
        row = project.store.photo(1)
        assert row is not None
        project.path(row).unlink()
    response = client.get(f"{pets}/photos/1")
    assert response.status_code == 422
    assert "cannot be read" in response.json()["error"]


def test_too_much_is_refused(client: Any, pets: str) -> None:
    for contents in ([b"x" * 1_100_000], [b"x" * 900_000] * 4):
        files = [("files", (f"{i}.png", content)) for i, content in enumerate(contents)]
        assert client.post(f"{pets}/photos", files=files).status_code == 413


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {}), ("", {"name": ""}), ("", {"name": "pets"}), ("", {"data": "/nowhere/at/all"}), ("", {"name": 3}),
        ("/pets/change", {"do": "label", "ids": [1], "label": "owl"}), ("/pets/change", {"do": "explode", "ids": [1]}),
        ("/pets/classes", {"do": "add", "name": ""}), ("/pets/classes", {"do": "remove", "name": "owl"}),
        ("/pets/classes", {"do": "rename", "name": "cat", "to": ""}), ("/pets/jobs", {"kind": "explode"}),
        ("/pets/jobs", {"kind": "train", "options": []}), ("/none/classes", {"do": "add", "name": "x"}),
        ("/../pets/undo", {}), ("/pets/change", {"do": "leave_out", "ids": "all"}),
        ("/pets/change", {"do": "leave_out", "ids": [10**26]}), ("/pets/settings", {"training": 5}),
        ("/pets/settings", {"auto": "x"}),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_a_sentence(client: Any, pets: str, path: str, body: Any) -> None:
    response = client.post(f"/api/projects{path}", json=body)
    assert response.status_code in (404, 405, 422), response.text
    assert "defect" not in response.json()["error"]


def test_every_file_that_is_refused_is_named(client: Any, pets: str) -> None:
    """Phones send image.jpg many times."""
    names = [("files", ("image.jpg", content)) for content in (png(), b"", b"none", png())]
    told = client.post(f"{pets}/photos?label=cat", files=names).json()
    assert len(told["added"]) == 1
    assert sorted(told["refused"]) == ["image.jpg", "image.jpg (2)", "image.jpg (3)"]
    assert "already" in told["refused"]["image.jpg (3)"]


def test_a_photo_named_twice_is_changed_once(client: Any, pets: str) -> None:
    drop(client, pets, png())
    assert client.post(f"{pets}/change", json={"do": "leave_out", "ids": [1, 1, 1]}).json() == {"changed": 1}


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"1", b"[" * 100_000, b"\xff"])
def test_what_is_no_json_object(client: Any, pets: str, content: bytes) -> None:
    response = client.post(f"{pets}/classes", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400


def test_changes_reach_the_table_and_can_be_undone(client: Any, pets: str, desk: Desk) -> None:
    drop(client, pets, png(1), png(2), png(3))
    assert client.post(f"{pets}/change", json={"do": "label", "ids": [1, 2], "label": "dog"}).json() == {"changed": 2}
    assert client.post(f"{pets}/change", json={"do": "leave_out", "ids": [3]}).json() == {"changed": 1}
    table = (desk.home / "pets" / "labels.csv").read_text().splitlines()
    assert table == ["path,label", "photos/cat/0.png,dog", "photos/cat/1.png,dog"]
    assert client.post(f"{pets}/undo", json={}).json() == {"undone": "Left 1 photo out"}
    assert len((desk.home / "pets" / "labels.csv").read_text().splitlines()) == 4
    about = client.get(pets).json()
    assert [(one["name"], one["photos"]) for one in about["classes"]] == [("cat", 1), ("dog", 2)]


def test_files_come_from_runs_and_jobs_alone(client: Any, pets: str, desk: Desk) -> None:
    project = desk.home / "pets"
    (project / "runs" / "run-1").mkdir(parents=True)
    (project / "runs" / "run-1" / "report.html").write_text("<h1>report</h1>")
    (project / "runs" / "run-1" / "escape").symlink_to(desk.home)
    report = client.get(f"{pets}/files/runs/run-1/report.html")
    assert "sandbox" in report.headers["content-security-policy"]
    for path in ("labels.csv", ".studio/project.sqlite", "runs/../labels.csv", "runs/run-1", "runs/%2e%2e/labels.csv",
                 "runs/run-1/escape/pets/labels.csv"):  # fmt: skip
        assert client.get(f"{pets}/files/{path}").status_code == 404, path


def test_a_project_of_existing_data_is_opened_once(client: Any, photos: Path) -> None:
    names = {client.post("/api/projects", json={"data": str(photos)}).json()["name"] for _ in range(2)}
    assert len(names) == 1


def test_what_check_found_is_listed_until_it_is_settled(client: Any, pets: str, desk: Desk) -> None:
    drop(client, pets, png(1), png(2), png(3))
    jobs = desk.jobs("pets")
    job = jobs.folder / f"{jobs.start('check', {}):04d}"
    write_json(job / "end.json", {"state": "done", "result": {}})
    cases = [{"photos": [{"path": f"photos/cat/{i}.png", "label": "cat", "split": None}], "words": "looks like dog",
              "score": 1.0} for i in range(3)]  # fmt: skip
    finding = {"kind": "label", "severity": "warning", "sentence": "3 likely label errors", "advice": "", "files": []}
    write_json(job / "findings.json", {"findings": [{**finding, "cases": cases}]})

    def left() -> list[int]:
        return [c["photos"][0]["id"] for f in client.get(f"{pets}/findings").json()["findings"] for c in f["cases"]]

    assert left() == [1, 2, 3]
    client.post(f"{pets}/change", json={"do": "keep", "finding": "label", "ids": [1]})
    client.post(f"{pets}/change", json={"do": "label", "ids": [2], "label": "dog"})
    assert left() == [3]
    client.post(f"{pets}/change", json={"do": "leave_out", "ids": [3]})
    assert client.get(f"{pets}/findings").json()["findings"] == []
    client.post(f"{pets}/undo", json={})
    assert left() == [3]


def test_a_second_job_waits_its_turn(client: Any, pets: str) -> None:
    assert client.post(f"{pets}/jobs", json={"kind": "train"}).json() == {"job": 1}
    response = client.post(f"{pets}/jobs", json={"kind": "check"})
    assert (response.status_code, response.json()["error"]) == (422, "train is running.")
    assert client.get(pets).json()["active"]["kind"] == "train"


def test_projects_that_were_made_elsewhere_are_listed(client: Any, desk: Desk) -> None:
    Project.create(desk.home / "mine").store.close()
    (desk.home / "other things").mkdir()
    assert client.get("/api/projects").json()["projects"] == ["mine"]


def test_a_project_that_was_deleted_and_made_again_is_the_new_one(client: Any, pets: str, desk: Desk) -> None:
    drop(client, pets, png(1))
    first = client.get(pets).json()["id"]
    shutil.rmtree(desk.home / "pets")
    assert client.get(pets).status_code == 422
    client.post("/api/projects", json={"name": "pets"})
    again = client.get(pets).json()
    assert again["classes"] == []
    assert again["id"] != first


def test_edits_of_the_table_survive_a_change_on_the_page(client: Any, pets: str, desk: Desk) -> None:
    drop(client, pets, png(1), png(2))
    table = desk.home / "pets" / "labels.csv"
    table.write_text(table.read_text().replace("0.png,cat", "0.png,dog"))
    client.post(f"{pets}/change", json={"do": "leave_out", "ids": [2]})
    assert table.read_text().splitlines() == ["path,label", "photos/cat/0.png,dog"]


def test_a_damaged_project_is_in_nobodys_way(client: Any, desk: Desk, photos: Path) -> None:
    (desk.home / "bad" / ".studio").mkdir(parents=True)
    (desk.home / "bad" / ".studio" / "project.sqlite").write_bytes(b"damaged" * 1000)
    assert client.get("/api/projects/bad").status_code == 422
    assert client.post("/api/projects", json={"data": str(photos)}).status_code == 200


def test_a_full_disk_is_told_as_such(client: Any, pets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", "labels.csv")

    monkeypatch.setattr(Project, "drop", full)
    response = client.post(f"{pets}/photos", files=[("files", ("a.png", png()))])
    assert response.status_code == 507
    assert "No space left" in response.json()["error"]


def test_a_replaced_file_has_a_new_thumbnail(client: Any, pets: str, desk: Desk) -> None:
    drop(client, pets, png(0))
    before = client.get(f"{pets}/thumbnails/1").content
    (desk.home / "pets" / "photos" / "cat" / "0.png").write_bytes(png(255, 50))
    assert client.get(f"{pets}/thumbnails/1").content != before


def test_too_much_json_is_refused(client: Any, pets: str) -> None:
    headers = {"content-type": "application/json"}
    response = client.post(f"{pets}/change", content=b'{"ids": "' + b"x" * (11 << 20) + b'"}', headers=headers)
    assert response.status_code == 413


@pytest.mark.parametrize("path", ["..\\..\\app.js", "C:/page.js", "views\\photos.js"])
def test_paths_of_windows_lead_nowhere(client: Any, path: str) -> None:
    assert client.get(f"/{path}").status_code == 404


def test_a_job_begins_with_what_was_edited_by_hand(client: Any, pets: str, desk: Desk) -> None:
    drop(client, pets, png(1), png(2))
    table = desk.home / "pets" / "labels.csv"
    table.write_text(table.read_text().replace("1.png,cat", "1.png,dog"))
    client.post(f"{pets}/jobs", json={"kind": "check", "options": {"out": "x"}})
    assert client.get(f"{pets}/photos").json()["labels"].count("dog") == 1
    assert table.read_text().count(",dog") == 1


@pytest.mark.parametrize(
    ("path", "status"), [("files/%00", 404), ("photos/x", 422), ("jobs/abc/events", 422), ("runs/none", 422)]
)
def test_odd_addresses_are_answered_in_a_sentence(client: Any, pets: str, path: str, status: int) -> None:
    answer = client.get(f"{pets}/{path}")
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)


def test_a_damaged_run_hides_no_other(client: Any, pets: str, desk: Desk, probe_run: Path) -> None:
    runs = desk.home / "pets" / "runs"
    for name in ("good", "bad", "cut"):
        shutil.copytree(probe_run, runs / name)
    (runs / "bad" / "metrics.json").unlink()
    (runs / "cut" / "predictions.csv").unlink()
    found = {run["run"]: run["finished"] for run in client.get(f"{pets}/runs").json()["runs"]}
    assert found == {"good": True, "bad": False, "cut": True}
    answer = client.get(f"{pets}/runs/cut")
    assert (answer.status_code, "predictions.csv is not there any more" in answer.json()["error"]) == (422, True)


def test_commands_to_copy_quote_folders(client: Any, desk: Desk, probe_run: Path) -> None:
    client.post("/api/projects", json={"name": "my pets"})
    shutil.copytree(probe_run, desk.home / "my pets" / "runs" / "run-1")
    about = client.get("/api/projects/my pets").json()
    assert shlex.split(about["table"]) == [str(desk.home / "my pets" / "labels.csv")]
    (run,) = client.get("/api/projects/my pets/runs").json()["runs"]
    assert shlex.split(run["place"]) == [str(desk.home / "my pets" / "runs" / "run-1")]
    data = json.loads((probe_run / "request.json").read_text())["options"]["data"]
    assert shlex.split(client.get("/api/projects/my pets/runs/run-1").json()["command"])[:3] == [
        "headstart",
        "train",
        data,
    ]
    assert about["table"].startswith("'")


def test_copies_of_job_folders_are_passed_over(client: Any, pets: str, desk: Desk) -> None:
    made = desk.home / "pets" / ".studio" / "jobs" / "0001 copy"
    made.mkdir(parents=True)
    (made / "job.json").write_text("{}")
    assert client.get(f"{pets}/jobs").json() == {"jobs": []}


def test_a_refusal_names_no_option_that_the_studio_lacks(client: Any) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
        answer = client.post("/api/projects", json={"sample": True}, headers=headers)
        assert answer.status_code == 403
        assert "option" not in answer.json()["error"]


def test_an_address_is_opened_as_it_is_written(client: Any) -> None:
    answer = client.post("/api/projects", json={"data": " ftp://host/photos "})
    assert "ftp://host/photos" in answer.json()["error"]
