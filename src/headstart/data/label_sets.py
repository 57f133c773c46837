"""Several labels of one photo, as one text: in natural order, joined by ``|``. A photo may have none: ""."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SEPARATOR = "|"


def joined_labels(labels: Iterable[str]) -> str:
    """The labels, in natural order and each once, as one text."""
    return SEPARATOR.join(labels)


def labels_in(text: str, several: bool) -> tuple[str, ...]:
    """The labels that a photo's ``label`` names: with ``several`` any number, else the text itself is the one."""
    if not several:
        return (text,)
    return tuple(text.split(SEPARATOR)) if text else ()


def label_columns(classes: Sequence[str], taken: Sequence[str]) -> tuple[str, ...]:
    """A column of a table per class, each of another name than those ``taken`` and than any other of them: its name, or
    ``p(name)``.
    """
    known = set(classes)

    def column(label: str) -> str:
        name = label
        while name in taken or (name != label and name in known):
            name = f"p({name})"
        return name

    return tuple(map(column, classes))
