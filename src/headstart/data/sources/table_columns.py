"""Which columns of a table hold paths, labels, splits and groups: by options, by names, by values
(docs/decisions/0038).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headstart.core.text import listed, plural, quoted
from headstart.data.schema import ReadOptions
from headstart.data.sources import table_values
from headstart.data.sources.table_paths import Places
from headstart.data.sources.table_reading import Table, plain
from headstart.data.sources.table_values import MARKS, MINUS, NOTHING, ONE, SEVERAL, ZERO, Splitting
from headstart.errors import DataError, OptionError, did_you_mean

_PATHS = (
    "path file filename filepath image imagepath imagefile imagename img imgpath imgname imgfile photo photoname"
    " picture imageid imgid photoid fname uri url relpath relativepath"
).split()
_WEAK_PATHS = "id idcode name uuid uid key isicid".split()
"""Names of columns that are paths only where their values name photos."""
_LABELS = (
    "label labels class classes classname classlabel labelname category categoryname target tag tags classid labelid"
    " categoryid targetid breed species dx diagnosis choice answer annotation groundtruth truth gt"
).split()
_SPLITS = "split set subset partition usage datasplit dataset phase fold traintest trainvaltest trainortest".split()
_SURE_SPLITS = frozenset({"split", "subset", "partition", "datasplit"})
_GROUPS = "group groups groupid patient patientid subject subjectid".split()
_GROUP_STEMS = (
    "group patient subject person participant donor individual animal lesion case specimen burst sequence seq video"
    " clip scene series study encounter eye tumor tumour"
).split()
_NO_GROUP_STEMS = frozenset(
    "image img photo picture file row index class label category breed species annotator annotation rater reviewer"
    " worker user box bbox object region choice answer".split()
)
_GEOMETRY = frozenset("width height w h x y xmin xmax ymin ymax x1 x2 y1 y2 area size depth channels".split())


def names_columns(header: Sequence[str]) -> bool:
    """Whether some of these cells are usual names of columns."""
    words = {"".join(filter(str.isalnum, cell.casefold())) for cell in header}
    return not words.isdisjoint({*_PATHS, *_WEAK_PATHS, *_LABELS, *_SPLITS, *_GROUPS})


class UnclearError(DataError):
    """A table that may list no photos at all; ``lacks`` is what no column could be found for."""

    def __init__(self, problem: str, hint: str, lacks: str) -> None:
        super().__init__(problem, hint)
        self.lacks = lacks


@dataclass
class Columns:
    """The places of columns; ``labels`` has several where the table is one-hot."""

    path: int
    labels: tuple[int, ...]
    split: Splitting | None = None
    group: int | None = None

    @property
    def used(self) -> set[int]:
        split = self.split.columns if self.split else ()
        return {self.path, *self.labels, *split, *(() if self.group is None else (self.group,))}


class Chooser:
    """Chooses the columns of one table."""

    def __init__(self, table: Table, places: Places, options: ReadOptions) -> None:
        self.table, self.places, self.options = table, places, options
        self.plain = ["".join(filter(str.isalnum, plain(h).casefold())) for h in table.header]
        self.names = [plain(h).strip() or f"column {at}" for at, h in enumerate(table.header, 1)]
        self.values = [[plain(c).strip() for c in table.column(at)] for at in range(len(table.header))]
        self.asked = {what: self._asked(f"{what}_column") for what in ("path", "label", "split", "group")}

    def choose(self) -> Columns:
        """All columns. Raises UnclearError, OptionError, and DataError for columns that are several labels per photo,
        or splits that do not say which is which.
        """
        path = self.path()
        split = self._split({path, *self._taken("label", "group")})
        taken = {path, *(split.columns if split else ()), *self._taken("group")}
        labels = self._labels(taken)
        return Columns(path, labels, split, self._group(path, labels, {*taken, *labels}))

    def note(self, columns: Columns) -> list[str]:
        """What was used as what, where the names do not say so, and what was not used, in one line."""
        one = columns.labels[0]
        said = [(columns.path, "path"), *([(one, "label")] if len(columns.labels) == 1 else [])]
        said += [(at, "split") for at in (columns.split.columns if columns.split else ())]
        said += [(columns.group, "group")] if columns.group is not None else []
        used = [f"{self.names[at]} as {what}" for at, what in said if self.names[at].casefold() != what]
        if len(columns.labels) > 1:
            used.append(f"{plural(len(columns.labels), 'column')} of 0 and 1 as labels")
        rest = [at for at in range(len(self.names)) if at not in columns.used and any(self.values[at])]
        parts = [", ".join(used)] if used else []
        if rest:
            parts.append(f"not used: {listed([self.about(at) for at in rest], 12)}")
        notes = [f"columns of {self.table.name}: {'; '.join(parts)}"] if parts else []
        return [*notes, *([columns.split.note] if columns.split and columns.split.note else [])]

    def about(self, at: int) -> str:
        """A column and what it holds, in a few words."""
        found = sorted({value for value in self.values[at] if value})
        held = " and ".join(quoted(v, 20) for v in found) if len(found) <= 3 else f"{len(found):,} values"
        return f"{self.names[at][:60]} ({held})"

    def _asked(self, option: str) -> int | None:
        """The column that an option names; -1 where it says that there is none."""
        asked: str | None = getattr(self.options, option)
        if asked is None:
            return None
        headers = [h.strip() for h in self.table.header]
        for same in (str, str.casefold):
            if (word := same(asked.strip())) in (known := [same(name) for name in headers]):
                return known.index(word)
        if asked == "none" and option in ("split_column", "group_column"):
            return -1
        if asked.isdecimal() and not self.table.sure and 0 < int(asked[:9]) <= len(headers):
            return int(asked) - 1
        raise OptionError(
            f"{self.table.path} has no column {asked!r} (`{option}`); its columns: {listed(self.names, 30)}",
            did_you_mean(asked, self.names), option=option,
        )  # fmt: skip

    def _taken(self, *what: str) -> list[int]:
        return [at for one in what if (at := self.asked[one]) is not None]

    def path(self) -> int:
        """The column of paths. Raises UnclearError, OptionError."""
        if (asked := self.asked["path"]) is not None:
            self.places.learn(self.values[asked])
            return asked
        free = [at for at in range(len(self.plain)) if at not in self._taken("label", "split", "group")]
        named = self._named(_PATHS, free)
        weak = [at for at in self._named(_WEAK_PATHS, free) if at not in named]
        others = [at for at in free if at not in (*named, *weak)]
        for some in (named, weak, others):
            shares = {at: self.places.learn(self._texts(at)) for at in some}
            best = max(some, key=lambda at: shares[at], default=None)
            if best is not None and shares[best] >= 0.5:
                self.places.learn(self._texts(best))
                return best
        if named:
            self.places.learn(self._texts(named[0]))
            return named[0]
        raise self._unclear("path", "names photos", [])

    def _texts(self, at: int) -> list[str]:
        return self.table.column(at)

    def _named(self, names: Sequence[str], among: Iterable[int]) -> list[int]:
        """The columns with these names, in the order of the names."""
        among = list(among)
        return [at for name in names for at in among if self.plain[at] == name]

    def _unclear(self, what: str, does: str, among: Sequence[int]) -> UnclearError:
        columns = listed([self.about(at) for at in range(len(self.names))], 20) or "none"
        if among:
            which = f"several columns that may hold the {what}s: {listed([self.names[at] for at in among])}"
        else:
            close = did_you_mean(what, self.names)
            which = f"no column {what!r}, and none whose content {does}" + (f". {close}" if close else "")
        example = self.names[among[0]] if among else "NAME"
        return UnclearError(
            f"{self.table.path} has {which} (its columns: {columns})",
            f"Name it: `{what}_column={example!r}`."
            + (" `images` names the folder of the photos, `suffix` what the names lack." if what == "path" else ""),
            what,
        )

    # -- labels --

    def _labels(self, taken: set[int]) -> tuple[int, ...]:
        if (asked := self.asked["label"]) is not None:
            return (asked,)
        free = [at for at in range(len(self.plain)) if at not in taken and any(self.values[at])]
        if named := self._named(_LABELS, free):
            return (next((at for at in named if self._words(at) and self._same(named[0], at)), named[0]),)
        if several := self._one_hot(free):
            return several
        empty = [at for at in self._named(_LABELS, range(len(self.plain))) if at not in taken]
        if empty:
            return (empty[0],)
        if len(self.plain) == 2 and len(free) == 1:
            return (free[0],)
        able = [at for at in free if self._may_be_label(at)]
        if len(able) == 1:
            return (able[0],)
        raise self._unclear("label", "looks like classes", able)

    def _may_be_label(self, at: int) -> bool:
        found = Counter(value for value in self.values[at] if value)
        if self.plain[at] in _GEOMETRY or not 2 <= len(found) <= max(2, sum(found.values()) // 2):
            return False
        return len(found) <= 20 or any(table_values.number(value) is None for value in found)

    def _words(self, at: int) -> bool:
        return any(value and table_values.number(value) is None for value in self.values[at])

    def _same(self, one: int, other: int) -> bool:
        """Whether two columns divide the rows in the same way, as class_id and class_name do."""
        pairs = set(zip(self.values[one], self.values[other], strict=True))
        return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})

    def _one_hot(self, free: Sequence[int]) -> tuple[int, ...]:
        """Columns of 0 and 1 (or -1 and 1), a class each. Raises DataError where rows have several, and where -1 stands
        beside 0, since some tables mean "uncertain" by it.
        """
        marks = [at for at in free if {v for v in self.values[at] if v} <= MARKS]
        if len(marks) < 2 or not any(value in ONE for at in marks for value in self.values[at]):
            return ()
        found = {value for at in marks for value in self.values[at]}
        if found & ZERO and found & MINUS:
            column = next(self.names[at] for at in marks if MINUS & set(self.values[at]))
            raise DataError(
                f"{self.table.path} has -1 beside 0 and 1 in columns of labels ({column!r}): whether that means no, or"
                " uncertain, is not clear",
                "Write 1 for a label that a photo has and 0 for one that it has not, and leave uncertain photos out.",
            )
        rows = zip(*(self.values[at] for at in marks), strict=True)
        ones = Counter(sum(value in ONE for value in row) for row in rows)
        several = sum(count for number, count in ones.items() if number > 1)
        if self.options.several:
            return tuple(marks)
        if not several:
            return tuple(marks) if ones[1] else ()
        names = listed([self.names[at] for at in marks])
        raise DataError(
            f"{self.table.path} marks {plural(several, 'photo')} with several of its {len(marks)} columns of 0 and 1 "
            f"({names}): that looks like several labels per photo",
            f"{SEVERAL} Or name one column to learn: `label_column={self.names[marks[0]]!r}`.",
        )

    # -- splits and groups --

    def _split(self, taken: set[int]) -> Splitting | None:
        asked = self.asked["split"]
        if asked == -1:
            return None
        free = [at for at in range(len(self.plain)) if at not in taken] if asked is None else [asked]
        named = free if asked is not None else self._named(_SPLITS, free)
        for at in (*named, *(at for at in free if at not in named)):
            filled = {v for v in self.values[at] if v}
            words = table_values.split_words(filled)
            if (at in named and self._mostly(at, words)) or (words.keys() == filled and len({*words.values()}) > 1):
                return Splitting((at,), {(value,): split for value, split in words.items()})
        if found := table_values.flags([(at, self.plain[at], self.values[at]) for at in free]):
            return found
        for at in free:
            wanted = asked is not None or self.plain[at] in table_values.FOLD_NAMES
            if wanted and (found := table_values.folds(at, self.names[at], self.values[at])):
                return found
        for at in named:
            if any(self.values[at]) and (asked is not None or self.plain[at] in _SURE_SPLITS):
                raise self._unknown_splits(at)
        return None

    def _mostly(self, at: int, words: Mapping[str, object]) -> bool:
        rows = [value for value in self.values[at] if value]
        return 2 * sum(value in words for value in rows) >= max(1, len(rows))

    def _unknown_splits(self, at: int) -> DataError:
        found = sorted({value for value in self.values[at] if value})
        return DataError(
            f"{self.table.path}: its column {self.names[at]} holds {listed([quoted(v, 20) for v in found])}, which do "
            "not say what is train, val or test",
            "Write train, val or test there, or leave the column unused: `split_column='none'`.",
        )

    def _group(self, path: int, labels: tuple[int, ...], taken: set[int]) -> int | None:
        asked = self.asked["group"]
        if asked is not None:
            return None if asked < 0 else asked
        free = [at for at in range(len(self.plain)) if at not in taken]
        if named := self._named(_GROUPS, free):
            return named[0]
        able = [at for at in free if self._repeats(at, path, labels)]
        able.sort(key=lambda at: len(set(self.values[at])))
        known = [at for at in able if self._stem(at) in _GROUP_STEMS]
        return next(iter(known or able), None)  # the fewest values: a patient has several lesions

    def _stem(self, at: int) -> str:
        word = self.plain[at]
        for ending in ("identifier", "number", "code", "name", "ids", "id", "no", "nr"):
            if word.endswith(ending) and word != ending:
                return word.removesuffix(ending)
        return word if word in _GROUP_STEMS else ""

    def _repeats(self, at: int, path: int, labels: tuple[int, ...]) -> bool:
        """Whether a column is named like an id and its values join photos, but not all photos of a class."""
        stem = self._stem(at)
        if not stem or stem in _NO_GROUP_STEMS or (stem not in _GROUP_STEMS and not self.plain[at].endswith("id")):
            return False
        photos: dict[str, set[str]] = defaultdict(set)
        held: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for i, value in enumerate(self.values[at]):
            if value.casefold() not in NOTHING:
                photos[value].add(self.values[path][i])
                held[value].add(tuple(self.values[label][i] for label in labels))
        classes = {label for some in held.values() for label in some}
        as_class = len(photos) <= len(classes) and all(len(some) == 1 for some in held.values())
        largest = max(map(len, photos.values()), default=0)
        return largest > 1 and len(photos) > 2 and not as_class and 2 * largest <= len(set(self.values[path]))
