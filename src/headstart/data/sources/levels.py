"""Which level of folders holds the classes, where folders lie in folders.

A level of folders that all hold the same names (``2023/cat``, ``2024/cat``) is none of classes. Where their names say
so too (years, folds, cameras), the level below is taken; where both levels could be meant, the user is asked.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path

from headstart.core.text import listed
from headstart.data.camera_names import is_album, is_day, is_month, is_place, is_year, only_counts
from headstart.data.filenames import shown, split_of
from headstart.data.sources.tree import Folders
from headstart.errors import DataError, option

_IMAGES = frozenset("images image img imgs photos photo pictures pics jpegimages jpg jpeg jpgs png pngs data".split())
_ANNOTATIONS = frozenset(
    "annotations annotation annots labels label masks mask segmentations segmentation segmentationclass"
    " segmentationobject groundtruth gt trimaps bboxes boxes landmarks keypoints depth edges maps".split()
)
_UNLABELLED = frozenset(
    "unlabelled unlabeled unannotated unsorted unlabelledimages unlabeledimages tolabel tobelabelled tobelabeled tosort"
    " notlabelled notlabeled nolabel".split()
)
_NO_LABEL = (
    _IMAGES | _UNLABELLED | frozenset("unknown all pred predict prediction predictions submission test none x".split())
)
_WHOLE = _IMAGES | {"all", "everything"}
_ASPECTS = _IMAGES | frozenset(
    "raw original originals orig edited processed cropped crops crop resized augmented aug color colour gray grey rgb"
    " new old good bad high low small large front back side left right top bottom day night indoor outdoor".split()
)
_ASK = "`class_folders='outer'` or `class_folders='inner'` says which."


Classes = dict[str, list[str]]
"""Names with the folders of each, which may be several: ``{"cat": ["2023/cat", "2024/cat"]}``."""
MAX_WRAPPED = 8
"""Folders with one folder in them that are looked through."""


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def is_generic(name: str) -> bool:
    """Whether a folder's name says that it holds photos, or where they come from, and nothing of what they show."""
    return _plain(name) in _IMAGES or is_place(name)


def says_no_label(name: str) -> bool:
    """Whether a folder of a split, which is no class of train, is where photos without labels are put."""
    return _plain(name) in _NO_LABEL or is_place(name) or split_of(name) is not None


def candidates(folders: Folders, root: str) -> list[str]:
    """The names of the folders in ``root`` that may be classes; others that hold photos are left out with a note."""
    names = folders.filled(root)
    if folders.options.class_folders == "outer":
        return names
    plain = {name: _plain(name) for name in names}
    beside_images = any(word in _IMAGES for word in plain.values())
    why = {
        "no labels, by their names": [n for n in names if plain[n] in _UNLABELLED],
        "no folders in them": [n for n in names if plain[n] in _WHOLE and not folders.filled(os.path.join(root, n))],
        "annotations, by their names": [n for n in names if beside_images and plain[n] in _ANNOTATIONS],
        "no classes, by their names": [n for n in names if is_album(n)],
    }
    for reason, some in why.items():
        some = [name for name in some if name in names]
        rest = [name for name in names if name not in some]
        whole = [os.path.join(root, name) for name in rest]
        classes = len(rest) == 1 and len(folders.filled(whole[0])) > 1 and few_loose(folders, whole)
        several = len(rest) > 1 and reason != "no folders in them"
        if some and (several or classes or (rest and reason.startswith("annotations"))):
            folders.notes.append(f"left out ({reason}): {_below(folders, root, some)}")
            names = rest
    return names


def find_classes(folders: Folders, root: str, names: list[str]) -> Classes:
    """The classes among folders ``names`` of ``root``, or of the level below. Raises DataError where the names of both
    could be classes, or where they are none.
    """
    asked = folders.options.class_folders
    classes: Classes = {name: [os.path.join(root, name)] for name in names}
    above: list[str] = []
    while asked != "outer" and len(classes) > 1:
        inner = _inner(folders, classes)
        levelled = {name: inner[name] for name in classes if inner[name] and few_loose(folders, classes[name])}
        if asked != "inner" and not _goes_down(folders, root, levelled, len(classes)):
            _refuse_albums(folders, root, classes, above)
            break
        for place in (place for places in classes.values() for place in places):
            folders.skip_loose(through(folders, place))
        above, classes = list(classes), _merged(inner)
        folders.notes.append(f"classes are the folders inside {_below(folders, root, above)}: {listed(list(classes))}")
        if asked == "inner":
            break
    if len(classes) > 1:
        _tell_merged(folders, classes)
    return classes


def through(folders: Folders, place: str) -> str:
    """A folder, or the folder that is all there is in it, where that one holds folders itself."""
    for _ in range(MAX_WRAPPED):
        names = folders.filled(place)
        inner = os.path.join(place, names[0]) if len(names) == 1 else ""
        if not inner or folders.contents(place).images or folders.contents(inner).images or not folders.filled(inner):
            break
        place = inner
    return place


def _inner(folders: Folders, classes: Classes) -> Classes:
    """The paths of the folders with photos inside those of each class."""
    found: Classes = {name: [] for name in classes}
    for name, places in classes.items():
        for place in (through(folders, place) for place in places):
            found[name] += [os.path.join(place, one) for one in folders.filled(place)]
    return found


def few_loose(folders: Folders, places: list[str]) -> bool:
    """Whether next to no photos are directly in these folders: a stray one does not make them classes."""
    loose = sum(len(folders.contents(place).images) for place in places)
    if not loose:
        return True
    every = sum(1 for place in places for _ in folders.photos(place, told=False))
    return every >= (4 if loose == 1 else 10 * loose)


def _merged(inner: Classes) -> Classes:
    found: Classes = defaultdict(list)
    for paths in inner.values():
        for path in paths:
            found[os.path.basename(path)].append(path)
    return dict(found)


def _goes_down(folders: Folders, root: str, inner: Classes, of: int) -> bool:
    """Whether the classes are one level below. ``inner``: the folders in those that hold folders only; ``of``: how many
    there are with those that hold photos. Raises DataError where that cannot be known.
    """
    if len(inner) < 2:
        return False
    sets = {name: {os.path.basename(path).casefold() for path in paths} for name, paths in inner.items()}
    counting = all(map(only_counts, inner))
    if len(inner) < of and not counting:
        return False  # where a neighbour holds photos, this is the level of classes
    union = set[str]().union(*sets.values())
    seen = Counter(one for some in sets.values() for one in some)
    common = sorted(one for one, count in seen.items() if 2 * count > len(sets))
    shared = len(common) > 1 and 2 * len(common) >= len(union)
    named = not all(map(only_counts, union))
    if counting and len(inner) == of and len(union) > 1:
        if named or (shared and not any(name.isdigit() and not is_year(name) for name in inner)):
            return True
    elif counting and not (shared and named):
        return False
    if not shared or (not counting and all(only_counts(one) or _plain(one) in _ASPECTS for one in common)):
        return False
    place = _below(folders, root, list(inner))
    problem = f"{place} hold folders of the same names ({listed(common)}): which level are the classes?"
    raise DataError(problem, _ASK, option="class_folders")


def _refuse_albums(folders: Folders, root: str, classes: Classes, above: list[str]) -> None:
    """Raise DataError for folders named by cameras or dates, which says nothing of what photos show."""
    dated = bool(above) and all(is_year(name) or is_album(name) for name in above)
    given = [name for name in classes if is_album(name)]
    if all(is_place(n) or is_year(n) or is_month(n) or (dated and is_day(n)) for n in classes):
        given = list(classes)
    if given:
        place = _below(folders, root, given)
        problem = f"{place}: folders named by cameras, phones or dates, which are no labels"
        hint = "Put the photos into folders named by class; `class_folders='outer'` takes these as the classes."
        raise DataError(problem, hint, option="class_folders")


def _tell_merged(folders: Folders, classes: Classes) -> None:
    """A note on folders below the classes, whose photos count as those of the class."""
    inner = {name: [os.path.basename(path) for path in paths] for name, paths in _inner(folders, classes).items()}
    inner = {name: list(dict.fromkeys(own)) for name, own in inner.items() if own and own != [name]}
    held = [f"{name}/ ({listed(own, 3)})" for name, own in inner.items()]
    if held:
        words = f"photos in folders below a class count as its own: {listed(held, 3)}"
        some = "; `class_folders='inner'` makes these folders the classes" if len(held) == len(classes) else ""
        folders.notes.append(words + some)


def tell_split_words(folders: Folders, root: str, names: list[str]) -> None:
    """A note on a class that has the name of a split: it may be where somebody puts photos to predict."""
    words = [name for name in names if split_of(name)]
    if words and len(names) - len(words) > 1:
        place = _below(folders, root, words[:1]).rstrip("/")
        folders.notes.append(
            f"taken as classes, by their names perhaps photos without labels: {_below(folders, root, words)};"
            f" {option('ignore', repr(place))} leaves such a folder out"
        )


def refuse_sets(folders: Folders, splits: dict[str, list[str]]) -> None:
    """Raise DataError where folders with split folders hold whole datasets, not classes: ``fold1/train/cat``.
    ``splits``: the paths of each one's split folders.
    """
    inner = {name: {one for path in paths for one in folders.filled(path)} for name, paths in splits.items()}
    shared = set.intersection(*inner.values())
    if len(shared) > 1 and not all(only_counts(one) or _plain(one) in _ASPECTS for one in shared):
        sets = listed([f"{name}/" for name in splits])
        classes = listed(sorted(shared))
        problem = f"{sets} hold split folders with the same classes ({classes}): each is a dataset of its own"
        raise DataError(problem, "Name one of them as the data, or merge them.")


def refuse_repeated(folders: Folders, root: str, names: list[str]) -> None:
    """Raise DataError where a folder holds folders named as its own neighbours are (``data/cat`` beside ``cat``): the
    same photos would be of two classes.
    """
    if folders.options.class_folders == "outer":
        return
    known = {name.casefold() for name in names}
    for name in names:
        own = {one.casefold() for one in folders.filled(os.path.join(root, name))} - {name.casefold()}
        both = own & known
        if len(both) > 1 or (both and both == own and name.casefold() == os.path.basename(root).casefold()):
            place = _below(folders, root, [name])
            raise DataError(
                f"{place} holds folders of the same names as those beside it ({listed(sorted(both))}): its photos would"
                f" be the class {name!r}, and of theirs",
                f"Move it away, or leave it out: {option('ignore', repr(place.rstrip('/')))}.", option="ignore",
            )  # fmt: skip


def _below(folders: Folders, root: str, names: list[str]) -> str:
    """``2023/ and 2024/``: folders in ``root``, as they are below the data."""
    above = "" if root == str(folders.root) else f"{shown(Path(root), folders.root)}/"
    places = [f"{above}{name}/" for name in names]
    return " and ".join(places) if len(places) == 2 else listed(places)
