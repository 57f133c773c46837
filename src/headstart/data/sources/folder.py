"""Labelled photos in folders.

These layouts are tried in this order: split folders of class folders (or of ``label.123.jpg`` names), class folders
(also with split folders inside), a folder with one table or one such folder in it, a flat folder of ``label.123.jpg``
names. ``levels`` decides which folders in folders are the classes.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from headstart.core.events import OnProgress
from headstart.core.text import listed
from headstart.data.camera_names import is_no_label
from headstart.data.filenames import clean_label, label_in_name, shown, split_in_name, split_of
from headstart.data.schema import AS_FOUND, SPLITS, Manifest, Photo, ReadOptions, Split
from headstart.data.sources.base import LAYOUTS, local
from headstart.data.sources.folder_tables import Tables
from headstart.data.sources.levels import (
    MAX_WRAPPED,
    candidates,
    few_loose,
    find_classes,
    is_generic,
    refuse_repeated,
    refuse_sets,
    says_no_label,
    tell_split_words,
)
from headstart.data.sources.packed import note_on_archives
from headstart.data.sources.tree import Folders, is_output, leave_out
from headstart.errors import DataError, HeadstartError

__all__ = ["FolderSource", "Folders", "folder_manifest"]


class FolderSource:
    """A folder on this machine."""

    def accepts(self, data: str) -> bool:
        return os.path.isdir(local(data))

    def manifest(self, data: str, progress: OnProgress | None = None, options: ReadOptions = AS_FOUND) -> Manifest:
        path = local(data)
        try:
            names = set(os.listdir(path))
        except OSError:  # what cannot be read is named with the rest
            names = set()
        if is_output(names):
            what = "a run" if "request.json" in names else "a result of headstart"
            raise DataError(f"{path} is {what}, not photos", "Name the photos that it was trained on, or others.")
        return folder_manifest(path, options=options)


def folder_manifest(
    root: Path, within: Path | None = None, options: ReadOptions = AS_FOUND, title: str = ""
) -> Manifest:
    """A folder's manifest: by its layout, else by its tables or the one folder in it, else by labels in file names.

    ``within``: refuse paths of a table that lead out of this folder; ``title``: what errors call the folder, where the
    user named something else, of which it was made.
    """
    folders = Folders(root, options)
    try:
        try:
            return _manifest(folders, root, within)
        except DataError:
            folders.refuse_unmatched()  # a misspelt one may be the reason
            raise
    except HeadstartError as error:
        if not title:
            raise
        problem, hint, *lines = (text.replace(str(root), title) for text in (error.problem, error.hint, *error.lines))
        raise type(error)(problem, hint, lines=lines, option=error.option) from error


def _manifest(folders: Folders, root: Path, within: Path | None, wrapped: int = 0) -> Manifest:
    """The manifest of ``root``, in or below the folders' own; ``wrapped``: how many folders with only this in them are
    around it.
    """
    here, tables = str(root), Tables(folders, root, within)
    if found := tables.first():
        return leave_out(replace(found, name=root.name), folders.options.ignore)
    words, photos = _split_folders(folders, here) or _class_folders(folders, here) or ("", [])
    labels = {p.label for p in photos}
    skipped, notes = folders.finish()
    if len(labels | {bad.label for bad in skipped if bad.label}) < 2:
        labelled = tables.manifest()
        found = (
            leave_out(labelled, folders.options.ignore) if labelled else _inner_folder(folders, root, within, wrapped)
        )
        if found is None and photos and all(is_generic(label) for label in labels):
            where = " and ".join(f"{label}/" for label in labels)
            raise DataError(f"the {len(photos)} photos in {where} of {root} have no labels", LAYOUTS)
    else:
        found = tables.better_than(photos)
        folders.notes += filter(None, [tables.unused()])
    if found is not None:
        return replace(found, name=root.name)
    if not words:
        words, photos = "file names (label.number.jpg)", _flat_names(folders, here)
    if len({p.label for p in photos}) < 2 and (problem := tables.problem()):
        if not photos:
            raise problem
        folders.notes.append(problem.problem)
    skipped, notes = folders.finish()
    notes = (*notes, *note_on_archives(folders.read))
    return Manifest(root, root.name, words, tuple(photos), skipped, notes)


def _inner_folder(folders: Folders, root: Path, within: Path | None, wrapped: int) -> Manifest | None:
    """The manifest of the only folder with photos in a folder, where that one has classes: archives are often wrapped
    so, and annotations lie beside.
    """
    outer = folders.contents(str(root))
    names = candidates(folders, str(root)) or list(outer.folders)
    if len(names) != 1 or wrapped == MAX_WRAPPED:
        return None
    inner = root / names[0]
    of_classes = len(folders.filled(str(inner))) > 1
    # Else it is a class folder: its file names are no labels.
    flat = within or is_generic(inner.name) or inner.name.casefold() == root.name.casefold()
    if not of_classes and (outer.images or (folders.contents(str(inner)).images and not flat)):
        return None
    left_out = [note for note in folders.notes if note.startswith("left out")]
    folders.forget()
    folders.notes += left_out
    found = _manifest(folders, inner, within, wrapped + 1)
    if len({p.label for p in found.photos}) < 2:
        return None
    folders.skip_loose(str(root), "no label: it is beside the one folder with photos")
    skipped, _ = folders.finish()
    beside = [f"{name}/" for name in outer.folders if name not in folders.filled(str(root))]
    words = "photos taken from the one folder in it, "
    deeper = found.notes[0].removeprefix(words) if found.notes and found.notes[0].startswith(words) else ""
    found = replace(found, notes=found.notes[1:] if deeper else found.notes)
    notes = (
        f"{words}{inner.name}/{deeper}",
        *([f"folders without photos, left out: {listed(beside)}"] if beside else []),
        *found.notes,
    )
    return replace(found, skipped=skipped if found.layout != "CSV" else found.skipped, notes=notes)


def _flat_names(
    folders: Folders, folder: str, split: Split | None = None, known: frozenset[str] = frozenset()
) -> list[Photo]:
    """Photos directly in a folder, labelled by their names, by ``known`` labels only where there are some; where some
    names have a label, the others are skipped.
    """
    labels = {name: label_in_name(name) for name in folders.contents(folder).images}
    named = {
        name: label
        for name, label in labels.items()
        if label and (clean_label(label) in known if known else not is_no_label(label))
    }
    if len(set(named.values())) > max(3, len(named) / 2):  # nearly every photo has a name of its own
        return []
    if named:
        for name in labels.keys() - named.keys():
            folders.skip(os.path.join(folder, name), "no label in its name (label.123.jpg)")
    return [Photo(Path(folder, name), folders.label(label), split) for name, label in named.items()]


def _marks(folders: Folders, root: str) -> dict[str, Split | None]:
    """The split of each folder, by its name. A name with more words (``flowers_test``) is one of a split where another
    has the same words and another split, or holds folders as the training split does.
    """
    names = folders.contents(root).folders
    marks = {name: split_of(name) for name in names}
    loose = {name: found for name in names if not marks[name] and (found := split_in_name(name))}
    asked = [name for name in names if name in loose or (loose and marks[name] == "train")]
    inner = {name: set(folders.filled(os.path.join(root, name))) for name in asked}
    held = set[str]().union(*(inner[name] for name in inner if marks[name] == "train"))
    for name, (split, rest) in loose.items():
        twins = any(other == rest and another != split for another, other in loose.values())
        if not rest or twins or (inner[name] & held and split not in marks.values()):
            marks[name] = split
    return marks


def _split_folders(folders: Folders, root: str) -> tuple[str, list[Photo]] | None:
    """The layout and photos of split folders; None where there are none."""
    marks = _marks(folders, root)
    filled = folders.filled(root)
    if not any(marks.values()):
        return None
    # train/ of class folders means splits; beside bus/ and car/, full of pictures, it does not.
    train = [os.path.join(root, name) for name in filled if marks[name] == "train"]
    of_classes = any(folders.filled(place) and few_loose(folders, [place]) for place in train)
    full = [name for name in filled if not marks[name] and folders.contents(os.path.join(root, name)).images]
    several = len({marks[name] for name in filled} - {None}) > 1
    if not (all(marks[name] for name in filled or marks) or (of_classes and (several or len(full) < 2))):
        return None
    names = [(name, split) for split in SPLITS for name, mark in marks.items() if mark == split]
    photos: list[Photo] = []
    through: list[str] = []
    for name, split in names:
        others = [os.path.join(root, other) for other, _ in names if other != name]
        place = _inside_split(folders, os.path.join(root, name), split, others)
        if place != os.path.join(root, name):
            through.append(shown(Path(place), Path(root)))
        known = (
            frozenset(photo.label for photo in photos if photo.split == "train") if split != "train" else frozenset()
        )
        photos += _of_split(folders, place, split, known)
    if through:
        folders.notes.append(f"photos taken from the one folder inside each split: {listed(through)}")
    others = [f"{name}/" for name in filled if not marks[name]]
    if others:
        folders.notes.append(f"left out, because they are no splits: {listed(others)}")
    folders.skip_loose(root)
    return f"split folders ({', '.join(name for name, _ in names)})", photos


def _inside_split(folders: Folders, folder: str, split: Split, others: list[str]) -> str:
    """A split's folder, or the one inside it that holds all of it (``test_set/test_set``)."""
    for _ in range(MAX_WRAPPED):
        names = folders.filled(folder)
        if len(names) != 1 or not few_loose(folders, [folder]):
            break
        name, inner = names[0], os.path.join(folder, names[0])
        is_class = any(name in held for held in map(folders.filled, others) if len(held) > 1)
        holds_folders = bool(folders.filled(inner)) and few_loose(folders, [inner])
        same = name.casefold() == os.path.basename(folder).casefold() or split_of(name) == split
        if is_class or not (holds_folders or same or is_generic(name)):
            break
        folders.skip_loose(folder)
        folder = inner
    return folder


def _of_split(folders: Folders, place: str, split: Split, known: frozenset[str]) -> list[Photo]:
    """The photos of one split; those without labels, or of a folder that is no class of train (``known``) and says so,
    are left out with a note.
    """
    inside = _labelled(folders, place, split, known)
    if inside:
        folders.skip_loose(place)
        return inside
    inside = _flat_names(folders, place, split, known)
    loose = folders.contents(place).images
    if loose and not inside:
        _tell_unlabelled(folders, place, len(loose))
    return inside


def _tell_unlabelled(folders: Folders, place: str, count: int) -> None:
    folders.notes.append(f"{shown(Path(place), folders.root)}/ has photos without labels ({count}): left out")


def _class_folders(folders: Folders, root: str) -> tuple[str, list[Photo]] | None:
    """The layout and photos of class folders; None where no photo is in one."""
    names = candidates(folders, root)
    layout, photos = "class folders, each with its split folders", _splits_inside(folders, root, names)
    if not photos:
        layout, photos = "class folders, with a split beside them", _split_beside(folders, root, names)
    if not photos:
        layout, photos = "class folders", _labelled(folders, root, None)
        tell_split_words(folders, root, names)
    if not photos:
        return None
    folders.skip_loose(root)
    return layout, photos


def _splits_inside(folders: Folders, root: str, names: list[str]) -> list[Photo]:
    """Photos of classes that have splits: every class folder has split folders only, train among them
    (``cats/train/1.jpg``); a stray photo beside these is skipped.
    """
    inner = {name: folders.filled(os.path.join(root, name)) for name in names}
    marks = {name: {split_of(one) for one in own} for name, own in inner.items()}
    split = [n for n in names if marks[n] and None not in marks[n] and few_loose(folders, [os.path.join(root, n)])]
    if len(names) < 2 or not any("train" in marks[n] for n in split) or folders.options.class_folders == "outer":
        return []
    if others := [f"{name}/" for name in names if name not in split]:
        if not any({"train", "test"} <= marks[n] or {"train", "val"} <= marks[n] for n in split):
            return []
        problem = f"{listed([f'{n}/' for n in split], 3)} of {root} have split folders inside, {listed(others, 3)} not"
        hint = "Give each class the same; `class_folders='outer'` takes the photos of each folder as one class."
        raise DataError(problem, hint, option="class_folders")
    refuse_sets(folders, {name: [os.path.join(root, name, one) for one in own] for name, own in inner.items()})
    photos = []
    for name in names:
        place = os.path.join(root, name)
        label = folders.label(name, place)
        folders.skip_loose(place, "no split: it is beside the split folders")
        for one in inner[name]:
            photos += [Photo(Path(path), label, split_of(one)) for path in folders.photos(os.path.join(place, one))]
    return photos


def _split_beside(folders: Folders, root: str, names: list[str]) -> list[Photo]:
    """Photos of class folders that are train, with ``test/`` or ``val/`` of the same classes beside them."""
    marks = {name: split for name in names if (split := split_of(name))}
    classes = {name.casefold() for name in names if name not in marks}
    inner = [{one.casefold() for one in folders.filled(os.path.join(root, name))} for name in marks]
    if len(classes) < 2 or not marks or "train" in marks.values() or not all(own and own <= classes for own in inner):
        return []
    folders.notes.append(f"{' and '.join(f'{n}/' for n in marks)} hold folders of the classes beside: taken as splits")
    photos = [photo for name, split in marks.items() for photo in _labelled(folders, os.path.join(root, name), split)]
    for name in (name for name in names if name not in marks):
        label, place = folders.label(name, os.path.join(root, name)), os.path.join(root, name)
        photos += [Photo(Path(path), label, "train") for path in folders.photos(place)]
    return photos


def _labelled(folders: Folders, root: str, split: Split | None, known: frozenset[str] = frozenset()) -> list[Photo]:
    """Photos of each class folder of ``root``; folders without photos, and those of a split that are no classes of
    train (``known``) by their names, are named.
    """
    names = candidates(folders, root)
    for name in names if known else ():
        place = os.path.join(root, name)
        foreign = clean_label(name) not in known and not folders.filled(place)
        if foreign and (len(names) == 1 or says_no_label(name)):
            _tell_unlabelled(folders, place, sum(1 for _ in folders.photos(place, told=False)))
            names = [other for other in names if other != name]
    refuse_repeated(folders, root, names)
    photos = []
    for name, places in find_classes(folders, root, names).items():
        for place in places:
            label = folders.label(name, place)
            photos += [Photo(Path(path), label, split) for path in folders.photos(place)]
    _tell_empty(folders, root, split, bool(photos))
    return photos


def _tell_empty(folders: Folders, root: str, split: Split | None, photos: bool) -> None:
    """A note on folders without photos beside class folders; a folder that cannot be read is a class that is lost."""
    empty, held, unread = [], set(folders.filled(root)), {bad.path for bad in folders.skipped}
    for name in (name for name in folders.contents(root).folders if name not in held):
        if Path(root, name) in unread:
            folders.label(name, os.path.join(root, name))
        elif not any(
            one == os.path.join(root, name) or one.startswith(os.path.join(root, name, "")) for one in folders.outputs
        ):
            empty.append(f"{name}/")
    if photos and empty:
        where = f" in {split}" if split else ""
        folders.notes.append(f"folders without photos{where}, left out: {listed(empty)}")
