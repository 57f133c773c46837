"""Files of features: an array of NumPy with the paths beside it, Parquet, or CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.core.extras import require
from headstart.core.files import replacing, write_rows
from headstart.core.paths import Place, check_writable, taken
from headstart.errors import OptionError, option

SUFFIXES = (".npy", ".parquet", ".csv")


def check_target(out: Place | None, overwrite: bool) -> Path | None:
    """Where features go. Raises OptionError for a file that exists, or of a kind that cannot be written."""
    if out is None:
        return None
    path = Path(out)
    asked = option("out", repr(str(path)))
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"{asked} is no file of features.", f"End it in {', '.join(SUFFIXES)}.", option="out")
    if path.suffix.lower() == ".parquet":
        require(asked, ["pyarrow"], "parquet", "out", "Or write .npy.")
    for one in (path, paths_beside(path)):
        if one.is_dir() or (one.exists() and not overwrite and (one == path or path.suffix.lower() == ".npy")):
            raise taken(one)
    check_writable(path)
    return path


def paths_beside(path: Path) -> Path:
    """The table of paths of ``features.npy``: ``features.paths.csv``."""
    return path.with_suffix(".paths.csv")


def write(names: Sequence[str], features: np.ndarray, path: Path) -> tuple[Path, ...]:
    """Write features [N, D]; returns the files. Raises RunError."""
    kind = path.suffix.lower()
    if kind == ".csv":
        columns = ("path", *(f"f{i}" for i in range(features.shape[1])))
        write_rows(path, columns, [(name, *map(str, row)) for name, row in zip(names, features, strict=True)])
        return (path,)
    with replacing(path) as temporary:
        if kind == ".parquet":
            _write_parquet(names, features, temporary)
        else:
            with temporary.open("wb") as file:
                np.save(file, features, allow_pickle=False)
    if kind == ".parquet":
        return (path,)
    beside = paths_beside(path)
    write_rows(beside, ("path",), [(name,) for name in names])
    return path, beside


def _write_parquet(names: Sequence[str], features: np.ndarray, path: Path) -> None:
    """The columns ``path`` and ``features``, a list of fixed size, as vector databases take them."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1), pa.float32()), features.shape[1])
    parquet.write_table(pa.table({"path": pa.array(texts(names), pa.string()), "features": rows}), path)


def texts(names: Sequence[str]) -> list[str]:
    """Names as Unicode: bytes of a file's name that are no UTF-8 are escaped."""
    return [name.encode("utf-8", "backslashreplace").decode() for name in names]
