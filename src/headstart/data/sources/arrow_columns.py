"""Columns of Arrow tables that hold photos: which one has the images, which the labels, and what their names are.
Parquet files and the folders of Hugging Face's ``save_to_disk`` have the same.

Features: ``datasets.Features`` writes its JSON into the schema's metadata under ``huggingface``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.core.formats import parsed
from headstart.core.text import listed
from headstart.data.filenames import KIND_SUFFIXES, clean_label, content_kind, is_image_name, split_of
from headstart.data.label_sets import SEPARATOR
from headstart.data.schema import ReadOptions, Split
from headstart.data.sources.columns import Row
from headstart.errors import DataError, OptionError, option

PARQUET_SUFFIXES = (".parquet", ".pq")
LABELS = ("label", "labels", "class", "class_name", "category", "target", "fine_label", "cls", "y")
"""Names of columns with labels, in the order in which they are looked for."""
_IMAGES = ("image", "img", "photo", "picture", "jpg", "png", "bytes", "image_bytes")
FIRST = 8
"""Rows that are looked at."""
_SPLIT_COLUMN = "split"
_GROUP_COLUMN = "group"


@dataclass(frozen=True)
class Chosen:
    """The columns of a table. ``nested``: images are structs of ``bytes`` and ``path``; ``names``: of the classes,
    where labels are numbers that features name.
    """

    image: str
    nested: bool
    has_path: bool
    label: str | None
    names: tuple[str, ...] = ()
    split: str | None = None
    group: str | None = None

    @property
    def of_facts(self) -> list[str]:
        """All columns but the bytes of the images."""
        path = [f"{self.image}.path"] if self.has_path else []
        return [*path, *(name for name in (self.label, self.split, self.group) if name)]

    @property
    def of_bytes(self) -> str:
        return f"{self.image}.bytes" if self.nested else self.image


def holds_images(file: Any) -> bool:
    """Whether a ``ParquetFile`` has a column of encoded images, by its features, type or name, or else by its first
    values: digests and embeddings are bytes too.
    """
    schema = file.schema_arrow
    named, others = _image_columns(schema, _features(schema))
    return bool(named) or any(_begins_with_images(file, name) for name in others)


def _begins_with_images(file: Any, column: str) -> bool:
    batch = next(file.iter_batches(batch_size=FIRST, columns=[column]), None)
    values = [value for value in batch.column(0).to_pylist() if value] if batch is not None else []
    return bool(values) and all(content_kind(value[:64]) in KIND_SUFFIXES for value in values)


def choose(schema: Any, options: ReadOptions, where: str) -> Chosen:
    """The columns by their names, types and features, or as the options say. Raises DataError, OptionError."""
    features, names = _features(schema), list(schema.names)
    for asked in ("path_column", "label_column", "split_column", "group_column"):
        given = getattr(options, asked)
        if given not in (None, "none", *names):
            raise OptionError(f"{option(asked, given)}: {where} has {listed(names)}.", option=asked)
    named, others = _image_columns(schema, features)
    images = named or others
    if options.path_column:
        images = [name for name in images if name == options.path_column]
    if len(images) != 1:
        found = f"several columns of images ({listed(images)})" if images else "no column of encoded images"
        raise DataError(f"{where} has {found}", f"Its columns: {listed(names)}. `path_column` names one.")
    kind = schema.field(images[0]).type
    nested = _is_struct(kind)
    has_path = nested and kind.get_field_index("path") >= 0
    label = options.label_column or _label_column(names, features)
    optional = [
        None if given == "none" else given or (usual if usual in names and usual != label else None)
        for given, usual in ((options.split_column, _SPLIT_COLUMN), (options.group_column, _GROUP_COLUMN))
    ]
    return Chosen(images[0], nested, has_path, label, _class_names(features.get(label or "")), *optional)


def _features(schema: Any) -> dict[str, Any]:
    raw = (schema.metadata or {}).get(b"huggingface", b"")
    try:
        held = parsed(raw.decode("utf-8")) if raw else {}
    except ValueError:
        return {}
    found = (
        held.get("info", {}).get("features", {})
        if isinstance(held, dict) and isinstance(held.get("info"), dict)
        else {}
    )
    return found if isinstance(found, dict) else {}


def _image_columns(schema: Any, features: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(the columns of images by their features, type or name, where there are none, those of bytes)."""
    known = [
        name for name in schema.names if isinstance(features.get(name), dict) and features[name].get("_type") == "Image"
    ]
    if known:
        return known, []
    structs = [field.name for field in schema if _is_struct(field.type) and field.type.get_field_index("bytes") >= 0]
    if structs:
        return structs, []
    binary = [field.name for field in schema if str(field.type) in ("binary", "large_binary", "binary_view")]
    named = [name for name in binary if name.lower() in _IMAGES][:1]
    return named, [] if named else binary


def _is_struct(kind: Any) -> bool:
    return str(kind).startswith("struct<")


def _label_column(names: Sequence[str], features: Mapping[str, Any]) -> str | None:
    classes = [name for name in names if _class_names(features.get(name))]
    if len(classes) == 1:
        return classes[0]
    return next((name for usual in LABELS for name in names if name.lower() == usual), None)


def _class_names(feature: Any) -> tuple[str, ...]:
    """The names of a ClassLabel, or of a sequence of them."""
    for inner in (feature, feature.get("feature") if isinstance(feature, dict) else None):
        if isinstance(inner, list) and inner:
            inner = inner[0]
        if isinstance(inner, dict) and isinstance(inner.get("names"), list):
            return tuple(clean_label(str(name)) for name in inner["names"])
    if isinstance(feature, list) and feature:
        return _class_names(feature[0])
    return ()


def rows_of(
    table: Any, chosen: Chosen, options: ReadOptions, first: int, part: Split | None, at: Sequence[int]
) -> Iterator[Row]:
    """The photos of a table of facts. ``first``: the number of the first one in its file; ``part``: a folder for those
    whose names are bare, where no column says their split; ``at``: their places.
    """

    def cells(column: str | None) -> list[Any]:
        if column is None:
            return [None] * table.num_rows
        return list(table.column(column).to_pylist())

    paths = _paths(table, chosen)
    columns = (cells(chosen.label), cells(chosen.split), cells(chosen.group))
    for i, (label, split, group) in enumerate(zip(*columns, strict=True)):
        word = split_of(split) if isinstance(split, str) else None
        text = _label(label, chosen.names, options.several)
        kind, group = "" if text is None else "column", None if group is None else str(group)
        yield Row(_name(paths[i], text, word or part, first + i), text, word, group, at[i], kind=kind)


def _paths(table: Any, chosen: Chosen) -> list[Any]:
    if not chosen.has_path:
        return [None] * table.num_rows
    column = table.column(chosen.image)
    return list(column.combine_chunks().field("path").to_pylist()) if table.num_rows else []


def _label(value: Any, names: tuple[str, ...], several: bool) -> str | None:
    if isinstance(value, list):
        texts = [_label(one, names, False) for one in value]
        return SEPARATOR.join(filter(None, texts)) if several else None
    if value is None or isinstance(value, bool | float | bytes | dict):
        return "" if several and value is None else None
    if isinstance(value, int) and names:
        return names[value] if 0 <= value < len(names) else None  # -1: a data set without labels
    return clean_label(str(value)) if str(value).strip() else None


def _name(path: Any, label: str | None, split: Split | None, number: int) -> str:
    """A photo's name below the data: the stored one where it is a path; a bare name goes into the folder of its class,
    as it would lie on a disk.
    """
    text = path.replace("\\", "/") if isinstance(path, str) else ""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if parts and "/" in text and ".." not in parts and not text.startswith("/") and ":" not in parts[0]:
        return "/".join(parts)
    base = parts[-1] if parts and parts[-1] != ".." and is_image_name(parts[-1]) else f"{number:08d}"
    return "/".join(filter(None, (split, (label or "_").replace("/", "-"), base)))
