"""The state of a project in one SQLite file: photos, classes, decisions, and their history, which only grows.

Each change is one transaction with one line of history, so a process that is killed leaves the state before or after
it, and two servers or tabs see each other's changes. Undo is a change as well: it restores what the last one replaced.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from headstart.errors import RunError

FORMAT = 2
_TABLES = (
    "photos (id integer primary key autoincrement, path text not null unique, label text,"
    ' left_out integer not null default 0, split text, digest text, added real not null, "group" text)',
    "classes (name text primary key, place integer not null)",
    "kept (finding text not null, photo integer not null, primary key (finding, photo))",
    "history (n integer primary key autoincrement, time real not null, what text not null, undoes integer,"
    " before text not null)",
    "settings (name text primary key, value text not null)",
)
_INDEXES = ("by_label on photos (label, left_out)", "by_digest on photos (digest)")


class Row(NamedTuple):
    """One photo; ``path``: relative to the project's folder where it is inside, else absolute; ``label``: None where it
    has none yet; ``split``, ``group``: None where the data has none."""

    id: int
    path: str
    label: str | None
    left_out: bool
    split: str | None
    group: str | None


class NewRow(NamedTuple):
    """A photo to add; ``digest``: of its file, where it was dropped."""

    path: str
    label: str | None = None
    split: str | None = None
    group: str | None = None
    digest: str | None = None


class Store:
    """The state of the project in ``folder``. An object may be used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / ".studio" / "project.sqlite"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.db = sqlite3.connect(self.file, timeout=20, isolation_level=None, check_same_thread=False)
            self.db.execute("pragma journal_mode=wal")
            self.db.execute("pragma synchronous=normal")
            made_by = self.db.execute("pragma user_version").fetchone()[0]
            if made_by > FORMAT:
                raise RunError(f"{folder} was made by a newer headstart.", "Update headstart to open it.")
            for table in _TABLES:
                self.db.execute(f"create table if not exists {table}")
            if made_by == 1:
                self.db.execute('alter table photos add column "group" text')
            for index in _INDEXES:
                self.db.execute(f"create index if not exists {index}")
            self.db.execute(f"pragma user_version={FORMAT}")
            self.opened = self._identity()
        except sqlite3.Error as error:
            raise RunError(f"{self.file} cannot be read: {error}.", "Restore it from a copy of the project.") from None

    def is_current(self) -> bool:
        """Whether the file is still the one that was opened."""
        try:
            return self._identity() == self.opened
        except OSError:
            return False

    def _identity(self) -> tuple[int, int]:
        found = self.file.stat()
        return found.st_dev, found.st_ino

    def close(self) -> None:
        self.db.close()

    @property
    def revision(self) -> int:
        """A number that grows with every change."""
        return int(self.db.execute("select coalesce(max(n), 0) from history").fetchone()[0])

    def photos(self, where: str = "", values: Sequence[Any] = ()) -> list[Row]:
        """Photos in the order in which they were added; ``where``: an SQL condition."""
        found = self.db.execute(
            f'select id, path, label, left_out, split, "group" from photos {f"where {where}" if where else ""}'
            " order by id",
            values,
        )
        return [Row(i, path, label, bool(out), *others) for i, path, label, out, *others in found]

    def photo(self, number: int) -> Row | None:
        """One photo by its id."""
        return next(iter(self.photos("id = ?", (number,))), None) if 0 < number < 2**63 else None

    def of_digest(self, digest: str) -> Row | None:
        """The photo whose file has this digest."""
        return next(iter(self.photos("digest = ?", (digest,))), None)

    def classes(self) -> list[str]:
        """Names in the order in which they are shown."""
        return [name for (name,) in self.db.execute("select name from classes order by place")]

    def counts(self) -> dict[str | None, tuple[int, int]]:
        """Photos in use, and left out, of each class; None: without a label."""
        found: dict[str | None, tuple[int, int]] = dict.fromkeys((*self.classes(), None), (0, 0))
        for label, used, out in self.db.execute(
            "select label, sum(left_out = 0), sum(left_out = 1) from photos group by label"
        ):
            found[label] = (used, out)
        return found

    def kept(self) -> set[tuple[str, int]]:
        """(finding, photo id) of what was judged to be right as it is."""
        return set(self.db.execute("select finding, photo from kept"))

    def setting(self, name: str, default: Any = None) -> Any:
        found = self.db.execute("select value from settings where name = ?", (name,)).fetchone()
        return json.loads(found[0]) if found else default

    def set_setting(self, name: str, value: Any) -> None:
        self.db.execute("insert or replace into settings values (?, ?)", (name, json.dumps(value)))

    def history(self, most: int = 50) -> list[dict[str, Any]]:
        """The last changes, the newest first: {"n", "time", "what", "undoes"}."""
        rows = self.db.execute("select n, time, what, undoes from history order by n desc limit ?", (most,))
        return [dict(zip(("n", "time", "what", "undoes"), row, strict=True)) for row in rows]

    # -- changes

    def add(self, rows: Sequence[NewRow], what: str, back: Sequence[int] = (), label: str | None = None) -> list[int]:
        """Add photos and their classes; a path that is known already is skipped. ``back``: photos that get the
        ``label`` and are brought back in the same change. Returns the new ids.
        """

        def work() -> dict[str, Any]:
            before = self._give(back, {"label": label, "left_out": 0}, label)
            ids = []
            for name in dict.fromkeys(row.label for row in rows if row.label is not None):
                self._add_class(name)
            for row in rows:
                done = self.db.execute(
                    'insert or ignore into photos (path, label, split, "group", digest, added)'
                    " values (?, ?, ?, ?, ?, ?)",
                    (*row, time.time()),
                )
                if done.rowcount:
                    ids.append(int(done.lastrowid or 0))
            return {**before, "added": ids}

        return list(self._change(what, work, empty=lambda b: not (b["added"] or b["photos"]))["added"])

    def label(self, ids: Sequence[int], label: str | None, what: str) -> int:
        """Give photos a label (None: take it away), and bring back those left out; returns how many changed."""
        return self._set(ids, {"label": label, "left_out": 0}, what, new_class=label)

    def leave_out(self, ids: Sequence[int], what: str) -> int:
        """Leave photos out of training; their labels stay. Returns how many changed."""
        return self._set(ids, {"left_out": 1}, what)

    def bring_back(self, ids: Sequence[int], what: str) -> int:
        """The reverse of ``leave_out``."""
        return self._set(ids, {"left_out": 0}, what)

    def place(self, places: Mapping[int, tuple[str | None, str | None]]) -> int:
        """Give photos another (split, group), which is no decision to undo: it is what the table says. Returns how many
        changed.
        """
        with self._transaction():
            rows = {row.id: (row.split, row.group) for row in self.photos()}
            other = [(*found, number) for number, found in places.items() if rows.get(number, found) != found]
            self.db.executemany('update photos set split = ?, "group" = ? where id = ?', other)
        return len(other)

    def keep(self, finding: str, ids: Sequence[int], what: str) -> int:
        """Remember that these photos of a finding are right as they are; returns how many are new to that."""

        def work() -> dict[str, Any]:
            known = self.kept()
            new = [i for i in ids if (finding, i) not in known and self.photo(i) is not None]
            self.db.executemany("insert or ignore into kept values (?, ?)", [(finding, i) for i in new])
            return {"kept": [finding, new]}

        return len(self._change(what, work, empty=lambda before: not before["kept"][1])["kept"][1])

    def set_classes(self, names: Sequence[str], renamed: tuple[str, str] | None, what: str) -> None:
        """Replace the list of classes; ``renamed``: (old, new) name, whose photos follow."""

        def work() -> dict[str, Any]:
            before: dict[str, Any] = {"classes": self.classes()}
            if renamed:
                old, new = renamed
                before["photos"] = [[row.id, row.label, int(row.left_out)] for row in self.photos("label = ?", (old,))]
                self.db.execute("update photos set label = ? where label = ?", (new, old))
            self._write_classes(names)
            return before

        self._change(what, work, empty=lambda before: before["classes"] == list(names))

    def undo(self) -> str | None:
        """Undo the last change that is not undone; returns what it was, or None where there is nothing to undo."""
        done: list[str] = []

        def work() -> dict[str, Any]:
            found = self.db.execute(
                "select n, what, before from history where undoes is null and n not in"
                " (select undoes from history where undoes is not null) order by n desc limit 1"
            ).fetchone()
            if found is None:
                return {}
            n, what, text = found
            self._restore(json.loads(text))
            done.append(what)
            return {"undoes": n}

        self._change("Undid: {}", work, empty=lambda before: not before, told=done)
        return done[0] if done else None

    # -- how

    def _set(self, ids: Sequence[int], values: dict[str, Any], what: str, new_class: str | None = None) -> int:
        found = self._change(what, lambda: self._give(ids, values, new_class), empty=lambda b: not b["photos"])
        return len(found["photos"])

    def _give(self, ids: Sequence[int], values: dict[str, Any], new_class: str | None) -> dict[str, Any]:
        """Within a change: give photos these values; returns what that replaced."""
        before: dict[str, Any] = {"photos": []}
        if ids and new_class is not None and new_class not in (classes := self.classes()):
            before["classes"] = classes
            self._add_class(new_class)
        for number in ids:
            row = self.photo(number)
            if row is None or all(getattr(row, name) == value for name, value in values.items()):
                continue
            before["photos"].append([row.id, row.label, int(row.left_out)])
            given = ", ".join(f"{name} = ?" for name in values)
            self.db.execute(f"update photos set {given} where id = ?", (*values.values(), number))
        return before

    def _restore(self, before: dict[str, Any]) -> None:
        for number in before.get("added", ()):
            self.db.execute("update photos set left_out = 1, label = null where id = ?", (number,))
        for number, label, out in before.get("photos", ()):
            self.db.execute("update photos set label = ?, left_out = ? where id = ?", (label, out, number))
        if "kept" in before:
            finding, ids = before["kept"]
            self.db.executemany("delete from kept where finding = ? and photo = ?", [(finding, i) for i in ids])
        if "classes" in before:
            self._write_classes(before["classes"])

    def _write_classes(self, names: Sequence[str]) -> None:
        self.db.execute("delete from classes")
        self.db.executemany("insert into classes values (?, ?)", [(name, i) for i, name in enumerate(names)])

    def _add_class(self, name: str) -> None:
        self.db.execute(
            "insert or ignore into classes values (?, (select coalesce(max(place), -1) + 1 from classes))", (name,)
        )

    def _change(
        self,
        what: str,
        work: Callable[[], dict[str, Any]],
        empty: Callable[[dict[str, Any]], bool],
        told: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Run ``work``, which returns what it replaced, and write the history; nothing where that is ``empty``."""
        with self._transaction():
            before = work()
            if not empty(before):
                undoes = before.get("undoes")
                self.db.execute(
                    "insert into history (time, what, undoes, before) values (?, ?, ?, ?)",
                    (time.time(), what.format(*told) if told else what, undoes, json.dumps(before)),
                )
        return before

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("begin immediate")
        try:
            yield
            self.db.execute("commit")
        except BaseException:
            if self.db.in_transaction:  # SQLite itself rolls back on a full disk
                self.db.execute("rollback")
            raise
