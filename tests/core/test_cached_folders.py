"""Folders of the cache: complete or absent, made once, spared while used, and nothing is left of killed processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headstart.core import cached_folders
from headstart.core.cached_folders import open_folder, remove, stored
from headstart.core.eviction import FOLDERS, trim
from headstart.core.files import STALE_SECONDS, delete_abandoned, new_folder
from headstart.core.locks import try_lock
from headstart.errors import RunError


def fill(folder: Path) -> list[str]:
    (folder / "below").mkdir()
    (folder / "below" / "file").write_bytes(bytes(1000))
    return ["a note"]


def never(_: Path) -> None:
    raise AssertionError("filled again")


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """Each test is as a process of its own."""
    yield
    cached_folders._release()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Another process, which runs some lines, says so, and lives on."""
    started = []

    def start(lines: str) -> subprocess.Popen[str]:
        code = f"import sys, time\nfrom pathlib import Path\n{lines}\nprint('ready', flush=True)\ntime.sleep(100)"
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_folder_is_filled_once_and_its_facts_are_kept(tmp_path: Path) -> None:
    assert open_folder(tmp_path / "home" / "a", fill) == ["a note"]
    assert open_folder(tmp_path / "home" / "a", never) == ["a note"]
    (one,) = stored(tmp_path / "home")
    assert (one.path.name, one.size) == ("a", 1000)


@pytest.mark.parametrize("damage", ["record", "no record", "a file", "all files", "another's record"])
def test_a_folder_that_is_not_whole_is_filled_again(tmp_path: Path, damage: str) -> None:
    target = tmp_path / "home" / "a"
    open_folder(target, fill)
    record = target / cached_folders.RECORD
    if damage == "record":
        record.write_bytes(b"{")
    elif damage == "no record":
        record.unlink()
    elif damage == "a file":
        (target / "below" / "file").unlink()
    elif damage == "all files":
        shutil.rmtree(target / "below")
    else:
        record.write_text(json.dumps([1]))
    assert open_folder(target, fill) == ["a note"]
    assert (target / "below" / "file").stat().st_size == 1000


def test_where_filling_fails_nothing_is_left(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        fill(folder)
        raise RunError("no")

    with pytest.raises(RunError):
        open_folder(tmp_path / "home" / "a", fails)
    assert [p.name for p in (tmp_path / "home").iterdir()] == [".folders.lock"]


def test_a_folder_in_use_here_is_spared_until_the_process_ends(tmp_path: Path) -> None:
    target = tmp_path / "a"
    open_folder(target, fill)
    assert not remove(target)
    cached_folders._release()
    assert remove(target)
    assert not target.exists()


def test_a_folder_that_another_process_uses_is_spared_until_it_is_killed(
    tmp_path: Path, other: Callable[[str], subprocess.Popen[str]]
) -> None:
    cache, target = tmp_path / "cache", tmp_path / "cache" / FOLDERS / "a"
    open_folder(target, fill)
    cached_folders._release()
    user = other(f"from headstart.core.cached_folders import open_folder\nopen_folder(Path({str(target)!r}), None)")
    assert trim(cache=cache, limit=0) == 0
    assert (target / "below" / "file").exists()
    user.kill()
    user.wait()
    assert trim(cache=cache, limit=0) == 1000
    assert [p.name for p in target.parent.iterdir()] == [".folders.lock"]


def test_the_least_recently_used_goes_first_among_folders_and_rows(tmp_path: Path) -> None:
    home, shard = tmp_path / FOLDERS, tmp_path / "rows" / "k"
    for name in ("a", "b", "c"):
        open_folder(home / name, fill)
    shard.mkdir(parents=True)
    for suffix in (".index", ".values"):
        (shard / f"s{suffix}").write_bytes(bytes(500))
    cached_folders._release()
    ages = {home / "a" / cached_folders.RECORD: 300, shard / "s.index": 200, home / "b" / cached_folders.RECORD: 100}
    for path, age in ages.items():
        os.utime(path, (time.time() - age,) * 2)
    assert trim(cache=tmp_path, limit=3500) == 1000
    assert not (home / "a").exists()
    assert trim(cache=tmp_path, limit=2500) == 1000
    assert list(shard.iterdir()) == []
    open_folder(home / "b", never)  # used again
    cached_folders._release()
    os.utime(home / "c" / cached_folders.RECORD, (time.time() - 50,) * 2)
    trim(cache=tmp_path, limit=1500)
    assert [one.path.name for one in stored(home)] == ["b"]


def test_what_a_killed_process_was_writing_is_deleted_by_the_next_and_the_work_of_a_living_one_is_not(
    tmp_path: Path, other: Callable[[str], subprocess.Popen[str]]
) -> None:
    lines = (
        "from headstart.core.files import new_folder\nwriting = new_folder(Path('t{}'))\nwork = writing.__enter__()\n"
        "(work / 'half').write_text('x')"
    )
    killed, living = other(lines.format(1)), other(lines.format(2))
    killed.kill()
    killed.wait()
    assert len(list(tmp_path.glob(".writing-*"))) == 4
    with new_folder(tmp_path / "t3") as work:
        (work / "file").touch()
    left = list(tmp_path.glob(".writing-*"))
    assert len(left) == 2
    assert [p.name for p in left[0].parent.glob(".writing-*/half")] == ["half"]
    living.kill()
    living.wait()
    delete_abandoned(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["t3"]


def test_what_a_version_without_locks_left_is_deleted_once_it_is_old(tmp_path: Path) -> None:
    for name, age in ((".writing-old", STALE_SECONDS + 9), (".writing-new", 9)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    delete_abandoned(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".writing-new"]


def test_a_lock_whose_file_is_deleted_meanwhile_is_taken_anew(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "lock")
    assert first is not None
    assert try_lock(tmp_path / "lock") is None
    (tmp_path / "lock").unlink()
    second = try_lock(tmp_path / "lock")
    assert second is not None
    second.release()
    first.release()
    (tmp_path / "file").touch()
    assert try_lock(tmp_path / "file" / "lock") is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_may_only_be_read_serves(tmp_path: Path) -> None:
    open_folder(tmp_path / "home" / "a", fill)
    cached_folders._release()
    (tmp_path / "home").chmod(0o500)
    try:
        assert open_folder(tmp_path / "home" / "a", never) == ["a note"]
        assert not remove(tmp_path / "home" / "a")
    finally:
        (tmp_path / "home").chmod(0o700)
