"""Files of shards. In: photos one by one, each with its name, label, split and group. Out: a WebDataset tar, or a
Parquet file with Hugging Face's features; the same photos always give the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from headstart.core.extras import require
from headstart.core.files import AS_IT_IS
from headstart.data.filenames import KIND_SUFFIXES, content_kind, is_image_name
from headstart.data.label_sets import labels_in
from headstart.data.schema import Split

GROUP_BYTES, GROUP_ROWS = 16 << 20, 10_000
"""Images of one row group of a Parquet file, which is read at once."""


class Packed(NamedTuple):
    """One photo: ``number`` among all, its ``name`` below the data, ``content``: the bytes of its file."""

    number: int
    name: str
    label: str
    split: Split | None
    group: str | None
    content: bytes


class ShardWriter(Protocol):
    """Writes one shard."""

    def add(self, photo: Packed) -> None:
        """Append one photo."""

    def close(self) -> None:
        """Finish the file."""


class TarShard:
    """``00000012.jpg`` with ``00000012.json`` (path, label, split, group), and ``00000012.cls``, the number of the
    class, where a photo has one.
    """

    suffix = ".tar"

    def __init__(self, path: Path, classes: Sequence[str], several: bool) -> None:
        self.tar = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - closed by close
        self.numbers = {label: i for i, label in enumerate(classes)}
        self.several = several

    def add(self, photo: Packed) -> None:
        label: Any = list(labels_in(photo.label, True)) if self.several else photo.label
        facts = {"path": photo.name, "label": label, "split": photo.split, "group": photo.group}
        told = json.dumps({name: value for name, value in facts.items() if value is not None})
        key = f"{photo.number:08d}"
        self._write(f"{key}{suffix_of(photo)}", photo.content)
        if not self.several:
            self._write(f"{key}.cls", str(self.numbers[photo.label]).encode())
        self._write(f"{key}.json", told.encode())

    def _write(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self.tar.addfile(info, io.BytesIO(content))

    def close(self) -> None:
        self.tar.close()


class ParquetShard:
    """Columns ``image`` (bytes, path), ``label`` (the number of the class, named by the features; with several labels,
    a list of names) and ``group``.
    """

    suffix = ".parquet"

    def __init__(self, path: Path, classes: Sequence[str], several: bool) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        label = pa.list_(pa.string()) if several else pa.int64()
        named = [{"dtype": "string", "_type": "Value"}] if several else {"names": list(classes), "_type": "ClassLabel"}
        features = {"image": {"_type": "Image"}, "label": named, "group": {"dtype": "string", "_type": "Value"}}
        about = {"huggingface": json.dumps({"info": {"features": features}})}
        self.schema = pa.schema([("image", image), ("label", label), ("group", pa.string())], metadata=about)
        self.writer = parquet.ParquetWriter(path, self.schema, compression="none", use_dictionary=["label", "group"])
        self.numbers, self.several = {label: i for i, label in enumerate(classes)}, several
        self.rows: list[dict[str, Any]] = []
        self.size = 0

    def add(self, photo: Packed) -> None:
        label = list(labels_in(photo.label, True)) if self.several else self.numbers[photo.label]
        # A slash says that it is a path below the data, rather than a bare name.
        path = photo.name if "/" in photo.name else f"./{photo.name}"
        path = path.encode("utf-8", AS_IT_IS).decode("utf-8", "backslashreplace")
        self.rows.append({"image": {"bytes": photo.content, "path": path}, "label": label, "group": photo.group})
        self.size += len(photo.content)
        if self.size >= GROUP_BYTES or len(self.rows) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self.rows:
            self.writer.write_table(pa.Table.from_pylist(self.rows, self.schema))
        self.rows, self.size = [], 0

    def close(self) -> None:
        self._flush()
        self.writer.close()


WRITERS: dict[str, type[TarShard] | type[ParquetShard]] = {"webdataset": TarShard, "parquet": ParquetShard}


def check_package(form: str) -> None:
    """Raise OptionError where the package that a format needs is missing."""
    if form == "parquet":
        require("`format='parquet'`", ["pyarrow"], "parquet", "format")


def suffix_of(photo: Packed) -> str:
    """The suffix of a photo's file: that of its name, else of its content."""
    own = os.path.splitext(photo.name)[1].lower()
    return own if is_image_name(photo.name) else KIND_SUFFIXES.get(content_kind(photo.content[:64]), ".jpg")
