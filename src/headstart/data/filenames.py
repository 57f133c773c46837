"""Parse file and folder names: split, label, natural sort order."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Container, Iterable
from decimal import Decimal
from pathlib import Path

from headstart.core.text import escaped, listed, quoted
from headstart.data.schema import Split

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .bmp .dib .webp .tif .tiff .avif .heic .heif .jp2 .ppm .pgm .pbm .pnm"
    " .qoi".split()
)
# Files that are expected beside photos, and skipped without a message: texts, tables, and what programs write down
# about a photo (Lightroom, darktable, RawTherapee, Capture One, DxO, phones).
_COMPANIONS = frozenset(
    ".txt .md .rst .csv .tsv .json .jsonl .xml .yaml .yml .html .pdf .log .ini .toml .py .ipynb .xlsx .docx .license"
    " .url .lnk .xmp .pp3 .aae .dop .cos .cop .cot .cof .acr .vrd .on1 .nksc .arp .rpp .thm .lrv .info .db .md5 .sha256"
    " .names .parquet .arrow .npy .npz .mat .pkl .cache".split()
)
# With the name of a photo beside it, the film of a live photo, its sound, or the RAW file that was taken with it.
_TWINS = frozenset(".mov .mp4 .mp .m4v .wav .aac .m4a".split())
RAW_SUFFIXES = frozenset(
    ".cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .orf .rw2 .raf .pef .srw .x3f .3fr .fff .iiq .kdc .dcr .mrw .mos .mef"
    " .erf .rwl .raw .gpr".split()
)
_JUNK = frozenset(
    "__macosx thumbs.db ehthumbs.db desktop.ini $recycle.bin lost+found @eadir @__thumb @recycle @tmp #recycle"
    " #snapshot picasa.ini zbthumbnail.info thumbnails captureone __pycache__ node_modules".split()
) | {"system volume information"}
_HIDDEN_JUNK = frozenset(
    ".git .svn .ipynb_checkpoints .thumbnails .picasaoriginals .trash .trashes .dtrash .@__thumb .spotlight-v100"
    " .fseventsd .temporaryitems .documentrevisions-v100 .appledouble .stversions .cache .comments .xvpics"
    " .venv".split()
)
_SPLIT_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
}
# Control characters and the like, which end a line or act on a terminal, and what stands for bytes that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NUMBER = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_JOINTS = re.compile(r"[\s_-]+")
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])")
_OF_SPLITS = frozenset("my the set split data dataset images image imgs photos pictures folder of for".split())
_FLAT_NAME = re.compile(r"(?P<label>.*[^\W\d_].*?)(?:[ ._-]+\d+|[ ._-]*\(\d+\))")
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF", b"%PDF": "PDF", b"PK\x03\x04": "ZIP", b"\x1f\x8b": "GZIP", b"%!PS": "PostScript",
}  # fmt: skip

KIND_SUFFIXES = {
    "JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp", "AVIF": ".avif",
    "HEIC": ".heic",
}  # fmt: skip
"""The usual suffix of each kind of photo, as ``content_kind`` names it."""


def natural_key(text: str) -> tuple[str, str]:
    """Sort key of the natural order: ``2`` before ``10``, case ignored, ties broken by the exact text.

    Each number is preceded by its count of digits, so that text comparison orders numbers of any length: ``cat2``
    becomes ``cat00012`` and ``cat10`` becomes ``cat000210``.
    """

    def sortable(number: re.Match[str]) -> str:
        digits = number[0].lstrip("0")
        return f"{len(digits):04d}{digits}"

    return _NUMBER.sub(sortable, text.casefold()), text


def split_of(folder: str) -> Split | None:
    """The split of a name such as ``Training_Set``, ``valid`` or ``test1``; None for other names."""
    word = re.sub(r"\d+$", "", re.sub(r"[\W_]+", "", folder.casefold()))
    return _SPLIT_WORDS.get(word) or _SPLIT_WORDS.get(re.sub(r"(set|split|data|images|photos|folder)$", "", word))


def split_in_name(folder: str) -> tuple[Split, tuple[str, ...]] | None:
    """The split whose word is somewhere in a name, and the words that say what of: ``("train", ("flowers",))`` for
    ``flowers_train``, ``flowersTrain`` and ``my-train-flowers``. Such a name may also be a class (``test tube``).
    """
    words = [word.casefold() for word in _WORD.findall(folder)]
    splits = {_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS}
    rest = tuple(word for word in words if word not in _SPLIT_WORDS and word not in _OF_SPLITS)
    return (splits.pop(), rest) if len(splits) == 1 else None


def label_in_name(file_name: str) -> str | None:
    """``cat`` for ``cat.123.jpg``, ``cat_123.jpg``, ``cat-123.jpg`` or ``cat (123).jpg``; None without such a label."""
    found = _FLAT_NAME.fullmatch(os.path.splitext(file_name)[0])
    return found["label"].strip(" ._-") if found else None


def clean_label(text: str) -> str:
    """A label that every file format can store and every screen can show, one for each way to write it: composed
    Unicode (macOS decomposes names), without blanks around it.

    Bytes that are not UTF-8, and control characters, are escaped, so that labels that differ in them stay apart:
    ``caf\\xe9`` for the bytes of "café" in Latin-1.
    """
    kept = text.strip() or re.sub(r"\s", _escaped, text).replace(" ", r"\x20")
    return _UNPRINTABLE.sub(_escaped, unicodedata.normalize("NFC", kept))


def _escaped(found: re.Match[str]) -> str:
    return escaped(found[0])


def merged(names: Iterable[str]) -> tuple[str, ...]:
    """A note on names that are written in several ways and give one label, if there are any."""
    ways: dict[str, set[str]] = defaultdict(set)
    for name in names:
        ways[clean_label(name)].add(name)
    same = [" and ".join(map(ascii, sorted(some))) for some in ways.values() if len(some) > 1]
    return (f"taken as one class: {listed(same, separator='; ')}",) if same else ()


def written_alike(labels: Iterable[str]) -> tuple[str, ...]:
    """A note on labels that are kept apart and may be one: they differ in case, in what joins their words, or in how a
    number is written (``1`` and ``1.0``).
    """
    ways: dict[str | Decimal, list[str]] = defaultdict(list)
    for label in labels:
        number = _DECIMAL.fullmatch(label)
        ways[Decimal(label) if number else _JOINTS.sub(" ", label.casefold()).strip()].append(label)
    same = [" and ".join(map(quoted, some)) for some in ways.values() if len(some) > 1]
    words = "classes that may be the same, written in different ways"
    return (f"{words}: {listed(same, 3, separator='; ')}",) if same else ()


def is_hidden(name: str) -> bool:
    """Hidden files and folders, and those of operating systems (``._cat.jpg``, ``Thumbs.db``)."""
    return name.startswith(".") or name.casefold() in _JUNK or name.casefold().endswith(".lrdata")


def is_junk(name: str) -> bool:
    """Hidden things that programs make: they hold copies and thumbnails, never photos of their own."""
    return name.casefold() in _HIDDEN_JUNK or name.startswith("._") or not name.startswith(".")


def is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_raw_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in RAW_SUFFIXES


def raw_problem(name: str) -> str | None:
    """Why a file of this name is not used, if it is a RAW photo's: what can be read of it is a preview."""
    return f"RAW photo ({os.path.splitext(name)[1].lower()}): export it as JPEG" if is_raw_name(name) else None


def is_companion(name: str, beside: Container[str] = ()) -> bool:
    """Tables, texts, sidecars and the like, which are expected beside photos; ``beside``: the names of the photos in
    its folder, without suffixes: with one of these a film or a RAW file belongs to that photo.
    """
    stem, suffix = os.path.splitext(name)
    suffix = suffix.lower()
    if suffix in _TWINS or suffix in RAW_SUFFIXES:
        return stem in beside or os.path.splitext(stem)[0] in beside
    return suffix in _COMPANIONS or (
        not suffix and name.casefold().startswith(("readme", "license", "copying", "authors", "makefile"))
    )


def content_kind(head: bytes) -> str:
    """The kind of file by its first bytes (12 are enough for images): ``JPEG``, ``PDF``, ``text``...; else empty."""
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"avif", b"avis"):
            return "AVIF"
        return "HEIC" if head[8:11] in (b"hei", b"hev", b"mif", b"msf") else "video"
    if head.lstrip()[:1] == b"<" and re.match(rb"\s*<(!doctype|html|\?xml|svg)", head, re.IGNORECASE):
        return "HTML or XML"
    return "text" if head and not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head) else ""


def shown(path: Path, root: Path) -> str:
    """``path`` in messages: relative to ``root`` with forward slashes; absolute where it is not below ``root``."""
    # Text, not Path.relative_to: this is called for every photo, and ten times faster.
    whole, above = str(path), str(root).rstrip(os.sep) + os.sep
    return (whole[len(above) :] if whole.startswith(above) else whole).replace(os.sep, "/")
