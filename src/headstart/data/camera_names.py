"""Names that cameras, phones and programs give, and names that only count: neither says what a photo shows."""

from __future__ import annotations

import re
import unicodedata

from headstart.data.filenames import split_of

# The words that such names of files begin with. Words that are likely classes too (camera, page, p) are not among them.
_FILE_WORDS = frozenset(
    "img image images imagen imagem immagine afbeelding bild dsc dscn dscf dscx pxl mvimg mov vid video gopr dji pict"
    " pic picture photo foto fotos photos imgp cimg fb fbimg screenshot screenshots screencapture screencap scan"
    " scanned scanner scn frame frames snapshot webcam capture whatsapp received untitled unnamed unbenannt noname"
    " file download schermafbeelding schermata skarmavbild bildschirmfoto patch crop output copy jpg jpeg png"
    " tiff".split()
)
_CAPITALS = re.compile(r"(?:SAM|KIF|SDC|SANY|HPIM|MFDC|PTDC|REC|WIN|GP|GH|GX)(?![a-z]).*")  # Sam may be a class
_FILE_PHRASES = (
    "screen shot", "capture d ecran", "captura de", "ohne titel", "sans titre", "sin titulo", "senza titolo",
    "whatsapp image", "zrzut ekranu", "screen recording", "new image", "neues bild",
)  # fmt: skip
_DATE = r"(?:19|20)\d\d[-_. ]?(?:0[1-9]|1[0-2])(?:[-_. ]?(?:0[1-9]|[12]\d|3[01]))?"
_DATED = re.compile(rf"\D{{0,3}}{_DATE}(?:\D.*)?|\d{{1,2}}[-_. ]\d{{1,2}}[-_. ](?:19|20)\d\d")
_YEAR = re.compile(r"(?:19|20)\d\d")
_SERIAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-.*|(?=.*\d)[0-9a-f]{8,}|.*\d{6,}.*", re.IGNORECASE)
_WORDNET = re.compile(r"n\d{8}\D*")
_DCF = re.compile(r"[1-9]\d\d(?:[A-Z_][A-Z0-9_]{4}|_\d{4})")  # the standard that cameras follow: 100CANON, 101_0115
_PLACES = {
    "camera", "camera roll", "camera uploads", "screenshots", "screenshot", "bildschirmfotos", "downloads", "takeout",
    "whatsapp images", "whatsapp", "telegram", "instagram", "photostream", "my photo stream", "saved pictures",
    "google photos", "iphone import", "bursts",
}  # fmt: skip
_COUNTED = frozenset(
    "fold part batch set session day week month year run camera cam site location round chunk shard folder dir disk"
    " disc cd card phone device user volume vol trip shoot subset split group version v series roll film visit"
    " patient subject animal person participant scene take box bag".split()
)
_MONTHS = frozenset(
    "jan feb mar apr may jun jul aug sep oct nov dec january february march april june july august september october"
    " november december".split()
)


def _plain(text: str) -> str:
    """Lower case, without accents; all that is no letter or digit is one blank."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", bare))


def is_no_label(text: str) -> bool:
    """Whether the part of a file's name before its number is none of a class: ``IMG``, ``Screenshot_2024``, ``train``,
    a date, a hash.
    """
    plain = _plain(text)
    first = re.split(r"[\d ]", plain, maxsplit=1)[0]
    # "image of a cat" has words of its own after the first.
    bare = first in _FILE_WORDS and not re.search(r"[^\W\d_]{3,}", plain[len(first) :].replace("image", ""))
    serial = _SERIAL.fullmatch(text) and not _WORDNET.fullmatch(text)
    known = plain.startswith(_FILE_PHRASES) or _CAPITALS.fullmatch(text) or _DATED.fullmatch(text)
    return bool(bare or serial or known) or split_of(text) is not None


def is_album(name: str) -> bool:
    """Whether a folder is named by a camera or a date: ``100CANON``, ``DCIM``, ``2024-01-10``, ``Photos from 2023``."""
    plain = _plain(name)
    dated = _DATED.fullmatch(name) or re.fullmatch(r"(photos|fotos) from (19|20)\d\d", plain)
    return plain == "dcim" or bool(dated or _DCF.fullmatch(name))


def is_month(name: str) -> bool:
    return _plain(name) in _MONTHS


def is_place(name: str) -> bool:
    """Whether a folder is an album, or named by a phone or program. ``camera`` is one beside ``Screenshots`` only:
    beside ``phone`` it is a class.
    """
    return is_album(name) or _plain(name) in _PLACES


def is_year(name: str) -> bool:
    return bool(_YEAR.fullmatch(name.strip()))


def only_counts(name: str) -> bool:
    """Whether a folder's name is a number, a date or a month, or counts something that is no class: ``fold1``,
    ``batch_2``, ``site A``.
    """
    plain = _plain(name)
    counted = re.fullmatch(r"([^\W\d_]+) ?(\d+|[a-z])", plain)
    return plain.isdigit() or is_day(name) or is_album(name) or bool(counted and counted[1] in _COUNTED)


def is_day(name: str) -> bool:
    """Whether a folder is named by a month or by the day of one: ``03``, ``31``, ``March``."""
    return bool(re.fullmatch(r"0[1-9]|[12]\d|3[01]", name)) or is_month(name)
