"""One part of many photos: read, run through a network, and left as one Parquet file. In: a part. Out: its file, which
appears whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headstart.core.files import replacing
from headstart.data.schema import ImageRef
from headstart.errors import HeadstartError
from headstart.inference.classifier import Classifier, Prediction, name_of
from headstart.inference.device import find_machine
from headstart.workflows.embed.files import texts
from headstart.workflows.predict import probability_columns

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["predictions", "features"]


@dataclass(frozen=True)
class Part:
    """Photos that are computed together; ``number``: which part of all it is."""

    number: int
    photos: tuple[ImageRef, ...]

    @property
    def label(self) -> str:
        return f"part {self.number}"

    @property
    def file(self) -> str:
        return f"part-{self.number:06d}.parquet"


@dataclass
class PartWorker:
    """Computes parts with one network, which stays prepared from part to part.

    ``kind``: what of each photo is wanted; ``folder``: where the files go; ``coverage``: as of ``predict``; ``device``:
    as it was asked for. Unpickled in another process, it finds that device there.
    """

    classifier: Classifier
    kind: Kind
    folder: Path
    coverage: float | None = None
    device: str = "auto"
    _sent: bool = field(default=False, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """On the CPU, which every machine has."""
        return {**self.__dict__, "classifier": Classifier.apart(self.classifier), "_sent": True}

    def __call__(self, part: Part) -> int:
        """Compute a part and write its file; returns how many photos it has. Raises HeadstartError."""
        from pyarrow import parquet

        if self._sent:
            self.classifier.to(find_machine(self.device))
            self._sent = False
        try:
            made = self._predicted(part) if self.kind == "predictions" else self._embedded(part)
        except HeadstartError as error:
            raise type(error)(f"{part.label}: {error.problem}", error.hint, option=error.option) from None
        with replacing(self.folder / part.file) as temporary:
            parquet.write_table(made, temporary)
        return len(part.photos)

    def _predicted(self, part: Part) -> pa.Table:
        """A row per photo: the columns of ``Predictions.frame``, of fixed types whatever the photos are."""
        import pyarrow as pa

        found = list(self.classifier.predictions(part.photos, self.coverage))
        columns: dict[str, Any] = {
            "path": pa.array(texts([one.name for one in found]), pa.string()),
            "label": pa.array([one.label for one in found], pa.string()),
            "confidence": pa.array([one.confidence for one in found], pa.float32()),
            "problem": pa.array([one.problem for one in found], pa.string()),
            "unknown": pa.array([one.unknown for one in found], pa.bool_()),
            "distance": pa.array([one.distance for one in found], pa.float32()),
        }
        if self.coverage is not None or self.classifier.objective.several:
            columns["labels"] = pa.array([one.labels for one in found], pa.list_(pa.string()))
        classes = self.classifier.classes
        for i, name in enumerate(probability_columns(classes)):
            columns[name] = pa.array([_probability(one, i) for one in found], pa.float32())
        return pa.table(columns)

    def _embedded(self, part: Part) -> pa.Table:
        """A row per photo: ``path``, ``features``, ``problem``. The lists' type has no fixed size: with a null among
        them, pyarrow up to 24 cannot write such, and 25 cannot read it.
        """
        import pyarrow as pa

        names, problems, rows = list[str](), list[str | None](), list[np.ndarray | None]()
        for read, features in self.classifier.batches(part.photos):
            taken = 0
            for photo, was in read:
                names.append(name_of(photo))
                problems.append(None if was.pixels is not None else str(was.problem))
                rows.append(features[taken] if was.pixels is not None else None)
                taken += was.pixels is not None
        lists = pa.array(rows, pa.list_(pa.float32()))
        return pa.table({
            "path": pa.array(texts(names), pa.string()), "features": lists, "problem": pa.array(problems, pa.string()),
        })  # fmt: skip


def _probability(one: Prediction, i: int) -> float | None:
    return one.probabilities[i] if one.probabilities else None
