"""Parse file and folder names: split, label, natural sort order."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from headstart.data.schema import Split

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "gif", "bmp", "dib", "webp", "tif", "tiff", "avif"),
        *("heic", "heif", "jp2", "ppm", "pgm", "pbm", "pnm", "qoi", "ico"),
    )
)
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
# Files that are expected beside photos, and skipped without a word.
_COMPANIONS = frozenset(
    f".{suffix}"
    for suffix in (
        *("txt", "md", "rst", "csv", "tsv", "json", "jsonl", "xml", "yaml", "yml", "html", "pdf", "log", "ini"),
        *("toml", "py", "ipynb", "xlsx", "docx", "license", "url", "lnk"),
    )
)
_JUNK = frozenset(
    ("__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found")
)
_SPLIT_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
}
_NUMBER = re.compile(r"[0-9]+")
_FLAT_NAME = re.compile(r"(?P<label>.*[^\W\d_].*?)(?:[ ._-]+\d+|[ ._-]*\(\d+\))")
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "GZIP"),
    (b"%!PS", "PostScript"),
)


def natural_key(text: str) -> tuple[str, str]:
    """Sort key of the natural order: ``2`` before ``10``, case ignored, ties broken by the exact text.

    Each number is written as its count of digits and its digits, so that plain text comparison orders numbers of any
    length: ``cat2`` becomes ``cat00012`` and ``cat10`` becomes ``cat000210``.
    """
    return _NUMBER.sub(_sortable, text.casefold()), text


def _sortable(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"{len(digits):04d}{digits}"


def split_of(folder: str) -> Split | None:
    """The split that a name means (``Training_Set``, ``valid``, ``test1`` and the like); None for other names."""
    word = re.sub(r"[\W_]+", "", folder.casefold())
    word = re.sub(r"\d+$", "", word)
    return _SPLIT_WORDS.get(word) or _SPLIT_WORDS.get(re.sub(r"(set|split|data|images|photos|folder)$", "", word))


def label_in_name(file_name: str) -> str | None:
    """``cat`` for ``cat.123.jpg``, ``cat_123.jpg``, ``cat-123.jpg`` or ``cat (123).jpg``; None without such a label."""
    found = _FLAT_NAME.fullmatch(os.path.splitext(file_name)[0])
    return clean_label(found["label"].strip(" ._-")) if found else None


def clean_label(text: str) -> str:
    """A label as every file can hold it: composed Unicode (macOS decomposes names), and no bytes that are not text."""
    return unicodedata.normalize("NFC", text.strip()).encode("utf-8", "replace").decode()


def is_hidden(name: str) -> bool:
    """Hidden files and folders, and what operating systems leave behind (``._cat.jpg``, ``Thumbs.db``)."""
    return name.startswith(".") or name.casefold() in _JUNK


def is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_companion(name: str) -> bool:
    """Tables, texts and the like, which are expected beside photos."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in _COMPANIONS or (
        not suffix and name.casefold().startswith(("readme", "license", "copying", "authors", "makefile"))
    )


def content_kind(head: bytes) -> str:
    """What kind of file its first bytes (12 suffice for images) show: ``JPEG``, ``PDF``, ``text``...; else empty."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return (
            "AVIF"
            if brand in (b"avif", b"avis")
            else "HEIC"
            if brand[:3] in (b"hei", b"hev", b"mif", b"msf")
            else "video"
        )
    if head.lstrip()[:1] == b"<" and re.match(rb"\s*<(!doctype|html|\?xml|svg)", head, re.IGNORECASE):
        return "HTML or XML"
    return "text" if head and not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head) else ""


def shown(path: Path, root: Path) -> str:
    """``path`` as people are told of it: relative to ``root`` with forward slashes, in full where it lies elsewhere."""
    # Text, not Path.relative_to: this is called for every photo, and ten times faster.
    whole, above = str(path), str(root).rstrip(os.sep) + os.sep
    return (whole[len(above) :] if whole.startswith(above) else whole).replace(os.sep, "/")
