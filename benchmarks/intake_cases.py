"""What is right for the cases of ``intake.py``, from each case's expect.md: by case number, then by input."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Right(NamedTuple):
    """One outcome that is right.

    code     the exit code
    classes  names of the classes, where they must be these
    photos   counts of splits.csv: "train+val", "test" or "all" → number
    words    texts of the output, in lower case, that must all be there
    rows     of predict: part of a path → text of its problem that must be there, or "" for none
    alike    of predict: all rows have the label and about the confidence of the first
    modes    all files of the run can be read by others
    """

    code: int = 0
    classes: tuple[str, ...] = ()
    photos: Mapping[str, int] = MappingProxyType({})
    words: tuple[str, ...] = ()
    rows: Mapping[str, str] = MappingProxyType({})
    count: int = 0
    alike: bool = False
    modes: bool = False


class Input(NamedTuple):
    """``right``: the outcomes of which one must be found; ``steps``: commands, as words after ``headstart``, with DATA,
    OUT and RUN (a finished run of cats and dogs) filled in. The last one is judged. ``alias``: a name that the input
    is copied to first, where its own name is a word that must be said.
    """

    right: tuple[Right, ...]
    steps: tuple[str, ...] = ("train DATA --out OUT",)
    alias: str = ""


def ok(*classes: str, words: tuple[str, ...] = (), **photos: int) -> Right:
    return Right(0, classes, {name.replace("_", "+"): number for name, number in photos.items()}, words)


def refused(*words: str) -> Right:
    return Right(2, words=words)


def one_of(*right: Right) -> Input:
    return Input(right)


CAT_DOG = ("cat", "dog")
_24 = ok(*CAT_DOG, all=24)
_ASKS = (refused("--path-column"), refused("--label-column"), refused("--images"))
_TABLE = one_of(_24, *_ASKS)
_CODES = one_of(ok("0", "1", all=24), *_ASKS)
_SPLIT = one_of(ok(*CAT_DOG, train_val=30, test=10), ok(*CAT_DOG, train=30, val=10), ok(words=("not used",)))
_PREDICT = ("predict RUN DATA --csv",)
SKIPPED = {
    "11": "measured by its own try_accuracy.py",
    "18": "asks a server, not the command line",
    "19": "is of weights: training on 30 of them takes too long here",
    "21": "calls Python: its own try.py",
    "23": "takes two machines: its own try_memory.py and try_upgrade.py",
}
_NO_LABELS = one_of(refused("label"))

CASES: dict[str, dict[str, Input]] = {
    "01": {".": one_of(ok("cats", "dogs", train_val=24, test=12, words=("one folder inside each split",)))},
    "03": {
        "years": one_of(ok(*CAT_DOG, all=40, words=("inside 2023/ and 2024/",)), refused("2023", "same names")),
        "images-beside-annotations": one_of(_24),
        "nested-dup": one_of(refused("same names")),
        "taxonomy": one_of(ok("animals", "plants", all=40, words=("cat, dog",))),
        "splits-inside": one_of(ok(*CAT_DOG, train_val=16, test=16, words=("stray",))),
    },
    "05": dict.fromkeys(("two-cameras", "phones", "shots", "dcim"), _NO_LABELS),
    "06": {
        **dict.fromkeys((
            "breed/labels.csv", "noext/train.csv", "subfolder/train.csv", "skin/meta.csv", "onehot/_classes.csv",
            "noheader/list.csv", "name/list.csv", "studio/export.csv",
        ), _TABLE),
        **dict.fromkeys(("idcode/train.csv", "classid/Train.csv"), _CODES),
        **dict.fromkeys(("case/list.csv", "win/list.csv"), one_of(_24, refused("no such file"), refused("columns"))),
        "uri/list.csv": one_of(_24, refused("file://")),
        "back/list.csv": one_of(_24),
        "txt/train.txt": one_of(ok(all=24), refused("table")),
        **{folder: one_of(ok(all=24), refused(".csv")) for folder in ("breed", "noext", "idcode", "skin", "onehot")},
    },
    "07": {
        **{f"{name}.csv": _SPLIT for name in (
            "is_valid", "is_test", "dataset", "data_set", "phase", "data_split", "type", "train_test", "split_eval",
            "split_public",
        )},
        "split_numbers.csv": one_of(*_SPLIT.right, refused("split")),
        **{f"{name}.csv": Input((ok(*CAT_DOG, all=40, words=(word,)),), alias="list.csv") for name, word in (
            ("fold", "fold"), ("lesion", "lesion_id"), ("animal", "animal_id"), ("case_id", "case_id"),
            ("camera", "location"),
        )},
    },
    "09": {"boxes.csv": one_of(ok(*CAT_DOG, all=24, words=("48",)))},
    "10": {
        "jsonl": one_of(ok(*CAT_DOG, train_val=20, test=20), refused("metadata.jsonl")),
        "csv-in-splits": one_of(ok(*CAT_DOG, train_val=20, test=20), refused("metadata.csv")),
        "csv": one_of(ok(*CAT_DOG, all=40)),
        "json": one_of(ok(*CAT_DOG, train_val=20, test=20), refused("labels.json")),
    },
    "12": {
        ".": Input((Right(2, rows={
            "reference.png": "", "long-text.png": "", "long-ztxt.png": "", "large-profile.png": "",
            "rgb-float32.tif": "float", "exif-garbage.jpg": "", "trailing-bytes.jpg": "", "cmyk.jpg": "",
        }),), _PREDICT),
    },
    "13": {".": Input((Right(0, alike=True),), ("predict RUN DATA/reference.png DATA --csv",))},
    "16": {
        "finder-utf8-unflagged.zip": one_of(ok("Käfer", "Vögel", all=16)),
        "emoji-utf8-unflagged.zip": one_of(ok("🐱", "🐶", all=16)),
        "windows-cp850.zip": one_of(ok("Käfer", "Vögel", all=16), ok(all=16, words=("encoding",))),
        "windows-sjis.zip": one_of(ok("犬", "猫", all=16), ok(all=16, words=("encoding",))),
        "windows-cyrillic.zip": one_of(ok("кот", "собака", all=16), ok(all=16, words=("encoding",))),
        **{f"{name}.zip": one_of(ok(*CAT_DOG, all=16)) for name in ("backslashes", "dot-slash", "wrapped-twice")},
        "absolute.zip": one_of(ok(*CAT_DOG, all=16), refused("outside its folder")),
        "deflate64.zip": one_of(refused("deflate64")),
        "hard-links.tar": one_of(ok(*CAT_DOG, all=16)),
        "some-hard-links.tar": one_of(ok(*CAT_DOG, all=16)),
        "soft-links.tar": one_of(ok(*CAT_DOG, all=16), refused("link")),
        "cat-samples.zip": one_of(refused("label"), refused("one class")),
        "train.zip": one_of(ok(*CAT_DOG, all=16)),
        "competition.zip": one_of(refused("train.zip")),
        "zip-per-class": one_of(ok(*CAT_DOG, all=16), refused(".zip")),
        "labels.xlsx": one_of(refused("excel")),
        "weights.pth": one_of(refused("weights.pth")),
        "photos.7z": one_of(refused("unpack")),
        "photos.rar": one_of(refused("unpack")),
        "photos.tar.zst": one_of(refused("unpack")),
        "cut-short.zip": one_of(refused("cut-short.zip")),
    },
    "17": {
        "columns": one_of(ok("cat", "unknown", "label", "path", all=48)),
        "missing": one_of(ok("None", "NA", "nan", "null", all=48)),
        "digits": one_of(ok("001", "002", "10", "1e5", all=48)),
        "booleans": one_of(ok("True", "False", all=24)),
        "splits": one_of(ok("test", "control", "train", all=36)),
        "positive": one_of(ok("test", "no test", all=24)),
        "dots": one_of(ok("java", "c++", all=24, words=(".net",))),
        "spaces": one_of(ok("cat", "dog [1]", "a,b;c|d", "x\\ty", all=48)),
        "case": one_of(ok("Cat", "cat", "dog", all=36, words=("case",))),
        "quotes": one_of(ok('he said "hi"', "it's", "=1+1", "-rf", all=48)),
        "long": one_of(ok("a" * 200, "b" * 200, all=24)),
    },
    "24": {
        "empty": Input((refused("empty"),), ("train '' --out OUT",)),
        "blank": Input((refused("empty"),), ("check '  ' --out OUT.html",)),
        "tilde": Input((ok(*CAT_DOG, all=24),), ("train '~/photos' --out OUT",)),
        "out": Input((ok(*CAT_DOG, all=24),), ("train '~/photos' '--out=~/run'", "predict '~/run' '~/one.jpg'",
                                               "train '~/photos' --out OUT")),
    },
    "25": {
        "base": Input((ok(*CAT_DOG, all=24, words=("headstart wrote",)),), (
            "train DATA --out DATA/runs/base",
            "explain DATA/runs/base DATA/cat/000.jpg DATA/dog/000.jpg --out DATA/why",
            "check DATA --quick --fix DATA/clean.csv --out DATA/check.html", "train DATA --out OUT",
        )),
    },
    "27": {"base": Input((Right(0, CAT_DOG, {"all": 24}, modes=True),))},
    "28": {"new": Input((Right(0, count=24), Right(0, words=("left out",))), _PREDICT)},
}  # fmt: skip
