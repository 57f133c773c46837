"""What the values of a column say: splits, yes and no, folds, numbers, several labels at once (docs/decisions/0038)."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from headstart.data.filenames import split_of
from headstart.data.schema import Split

_MORE_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("trn", "tr"), "train"), **dict.fromkeys(("va", "vld", "publictest"), "val"),
    **dict.fromkeys(("tst", "te", "privatetest"), "test"),
}  # fmt: skip
_EVAL = frozenset({"eval", "evaluation", "evaluate"})
_YES = frozenset({"1", "1.0", "true", "yes", "y", "t"})
_NO = frozenset({"0", "0.0", "false", "no", "n", "f"})
_YES_MEANS: dict[str, Split] = {
    **dict.fromkeys(("isvalid", "isval", "isvalidation", "valid", "val", "validation"), "val"),
    **dict.fromkeys(("istest", "istesting", "test", "holdout", "isholdout", "testset"), "test"),
    **dict.fromkeys(("istrain", "istraining", "train", "training", "istrainingimage", "intrain"), "train"),
}
_FOLD = re.compile(r"(?:(?:k|cv)?[-_ ]?folds?[-_ ]*)?(\d{1,2})(?:\.0)?", re.IGNORECASE)
FOLD_NAMES = frozenset("fold folds kfold kfolds foldid cv cvfold foldno foldnumber foldindex stratifiedfold".split())
ONE = frozenset({"1", "1.0", "true", "True", "TRUE"})
ZERO = frozenset({"0", "0.0", "false", "False", "FALSE"})
MINUS = frozenset({"-1", "-1.0"})
MARKS = ONE | ZERO | MINUS | {""}
SEVERAL = "To train on several labels per photo: `hs.train(DATA, labels='multi')`."
NOTHING = frozenset({"", "nan", "na", "n/a", "#n/a", "none", "null", "<na>", "nat"})
"""What programs write into an empty cell."""


class Splitting(NamedTuple):
    """The columns that say the split, and the split of each combination of their values; ``note``: what was decided."""

    columns: tuple[int, ...]
    words: dict[tuple[str, ...], Split]
    note: str = ""


def split_words(values: Iterable[str]) -> dict[str, Split]:
    """The split of each value that says one, as ``TRAIN``, ``PublicTest`` or ``eval`` do. ``eval`` is val, unless the
    data has another val.
    """
    values = sorted(set(values))
    words = {value: re.sub(r"[\W_]+", "", value.casefold()) for value in values}
    found = {value: split for value, word in words.items() if (split := split_of(value) or _MORE_SPLITS.get(word))}
    public = [value for value, word in words.items() if word == "publictest"]
    if {split for value, split in found.items() if value not in public} <= {"train"}:
        found |= dict.fromkeys(public, "test")
    taken = set(found.values())
    for value, word in words.items():
        if word in _EVAL:
            found[value] = "val" if "val" not in taken else "test"
    return found


def yes_or_no(values: Iterable[str]) -> dict[str, bool] | None:
    """What each value says, where all say yes or no and both occur."""
    found = {v: v.casefold() in _YES for v in set(values) if v.casefold() in _YES | _NO}
    return found if len(set(found.values())) == 2 and set(values) <= found.keys() | {""} else None


def flags(named: Sequence[tuple[int, str, list[str]]]) -> Splitting | None:
    """A splitting by yes/no columns such as ``is_valid`` and ``is_test``: (place, plain name, values) of each."""
    used = [
        (at, _YES_MEANS[name], said, vs) for at, name, vs in named if name in _YES_MEANS and (said := yes_or_no(vs))
    ]
    if not used:
        return None
    words: dict[tuple[str, ...], Split] = {}
    means = {meaning for _, meaning, *_ in used}
    for combination in set(zip(*(values for *_, values in used), strict=True)):
        on = [meaning for (_, meaning, said, _), value in zip(used, combination, strict=True) if said.get(value)]
        rest: Split = "test" if means == {"train"} else "val" if "train" in means and "val" not in means else "train"
        words[combination] = next((split for split in ("test", "val", "train") if split in on), rest)
    return Splitting(tuple(at for at, *_ in used), words)


def folds(at: int, name: str, values: list[str]) -> Splitting | None:
    """The numbers of cross-validation folds: the lowest is val, as in the first round of a cross-validation."""
    numbers = {value: int(found[1]) for value in set(values) if (found := _FOLD.fullmatch(value))}
    if set(values) - numbers.keys() - {""} or not 2 <= len(set(numbers.values())) <= 20:
        return None
    first = min(numbers.values())
    words: dict[tuple[str, ...], Split] = {(v,): "val" if n == first else "train" for v, n in numbers.items()}
    return Splitting(
        (at,), words, f"{name} holds {len(set(numbers.values()))} folds: fold {first} is val, the others train"
    )


def number(value: str) -> float | None:
    """The number that a cell holds, with a decimal point or comma."""
    if not re.fullmatch(r"[-+]?\d{1,30}([.,]\d{1,30})?(e[-+]?\d{1,3})?", value, re.IGNORECASE):
        return None
    return float(value.replace(",", "."))


def no_classes(values: list[str]) -> str:
    """Why these labels are no classes but measures, ids or free text; empty where they may be classes."""
    distinct, count = set(values), len(values)
    if count < 20:
        return ""
    numbers = [number(value) for value in distinct]
    if None not in numbers:
        whole = all(n == int(n) for n in numbers if n is not None)
        if not whole and len(distinct) > max(10, count / 10):
            return f"{len(distinct):,} different numbers in {count:,} rows look like measurements, not like classes"
        if whole and len(distinct) > max(20, count / 2):
            return f"{len(distinct):,} different numbers in {count:,} rows look like ids or counts, not like classes"
    elif len(distinct) > 0.9 * count:
        return f"{len(distinct):,} different values in {count:,} rows look like ids or free text, not like classes"
    return ""


def listed_labels(value: str) -> list[str] | None:
    """The items of a list that is written as Python or JSON writes one: ``['cat', 'dog']``."""
    if not re.fullmatch(r"[\[({].*[\])}]", value, re.DOTALL) or len(value) > 10_000 or ":" in value:
        return None
    if value.startswith("["):
        try:
            return [str(one) for one in json.loads(value)]
        except (ValueError, RecursionError):
            pass
    inner = value[1:-1].strip()
    if not re.search(r"""['"]""", inner) and not value.startswith("["):
        return None  # "(unknown)" is a class
    return [part.strip(" '\"") for part in inner.split(",") if part.strip(" '\"")]


def separator_of(values: Iterable[str]) -> str:
    """What separates several labels in one cell: ``|`` where any cell has one, else what looks so; "" for lists as
    Python or JSON write them, and where every cell is one label.
    """
    labels = sorted({value for value in values if listed_labels(value) is None})
    if any("|" in label for label in labels):
        return "|"
    for separator in (";", ",", " "):
        parts = {label: [p.strip() for p in label.split(separator) if p.strip()] for label in labels}
        joined = [label for label in labels if len(parts[label]) > 1]
        if joined and _combined(separator, parts, joined):
            return separator
    return ""


def several_labels(values: Iterable[str]) -> list[str]:
    """Examples of labels that look like several labels of one photo (``cat|indoor``); none where they are classes, as
    "Black, White" is where its parts never occur otherwise.
    """
    labels = sorted(set(values))
    lists = [label for label in labels if len(listed_labels(label) or ()) > 1]
    if lists:
        return lists[:3]
    for separator in ("|", ";", ",", " "):
        parts = {label: [p.strip() for p in label.split(separator) if p.strip()] for label in labels}
        joined = [label for label in labels if len(parts[label]) > 1]
        if joined and _combined(separator, parts, joined):
            return joined[:3]
    return []


def _combined(separator: str, parts: dict[str, list[str]], joined: list[str]) -> bool:
    """Whether the parts of these labels also occur alone, or in other combinations."""
    alone = {own[0] for own in parts.values() if len(own) == 1}
    every = {part for label in joined for part in parts[label]}
    if separator == " ":  # "golden retriever": words recur in names; tags are few, and recur in all combinations
        tags = every | alone
        return len(joined) > 1 and (every <= alone or (len(parts) >= 20 and len(tags) < len(parts) / 2))
    at: dict[str, set[int]] = defaultdict(set)
    holders: dict[str, set[str]] = defaultdict(set)
    for label in joined:
        for place, part in enumerate(parts[label]):
            at[part].add(place)
            holders[part].add(label)
    shared = [part for part, those in holders.items() if len(those) > 1]
    if every & alone or separator in "|;":
        return bool(every & alone or shared or (separator == "|" and len(joined) > 1))
    # "Smith, John" and "Smith, Jane" share one place; labels that vary freely share several.
    return any(len(at[part]) > 1 for part in shared) or len({place for part in shared for place in at[part]}) > 1
