"""The protocol of sources of labelled photos, and their registry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from headstart.core.events import OnProgress
from headstart.core.registry import Registry
from headstart.data.schema import Manifest

LAYOUTS = (
    "Photos are found in class folders (cats/1.jpg), split folders (train/cats/1.jpg), one folder of label.123.jpg "
    "names, a CSV with the columns path and label, a .zip or .tar of these, or shards (.tar, .parquet)."
)


TABLE_OF_LABELS = "Write one with the columns path and label: cat|dog for both."


class Source(Protocol):
    """A kind of data. Its photos are files, or override ``open`` (see ``Photo``)."""

    def accepts(self, data: str) -> bool:
        """Whether this source reads ``data``. Raises DataError for data of its kind that cannot be read."""

    def manifest(self, data: str, progress: OnProgress | None = None) -> Manifest:
        """All labelled photos of ``data``, nothing decoded; ``progress`` of a download. Raises DataError.

        A source with a parameter ``options`` gets the ``ReadOptions`` there; of others, what ``ignore`` names is left
        out afterwards.
        """


SOURCES: Registry[Source] = Registry(
    "source",
    "headstart.sources",
    {
        "stored": "headstart.data.sources.stored:StoredSource",
        "folder": "headstart.data.sources.folder:FolderSource",
        "table": "headstart.data.sources.table:TableSource",
        "archive": "headstart.data.sources.archive:ArchiveSource",
        "named": "headstart.data.sources.named:NamedSource",
    },
)
"""Asked in this order; the first that accepts the data reads it."""


def local(data: str) -> Path:
    """The absolute path of ``data``, which need not exist."""
    return Path(os.path.abspath(os.path.expanduser(data)))
