"""What a trained model can do, as methods: each is the function of that name, which is imported when it is called.

The functions stand in layers above this one: their names here are for editors and type checkers alone.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Unpack

if TYPE_CHECKING:
    from headstart.core.arguments import Device
    from headstart.core.events import Listener
    from headstart.core.paths import Place
    from headstart.training.config import DataOptions
    from headstart.workflows.embed.embed import Embedded
    from headstart.workflows.embed.search import Matches
    from headstart.workflows.explain.result import Explanation
    from headstart.workflows.export.export import Exported
    from headstart.workflows.predict import Predictions

EVERY = "1s"
"""Of a video, the time from frame to frame that ``predict`` takes."""
NEIGHBOURS = 5
"""Nearest training photos that ``explain`` shows."""
NEAREST = 10
"""Photos that ``search`` finds."""


class Uses:
    """The methods of a run and of its classifier. A call uses the network that is in memory already."""

    def predict(
        self, files: Any, *, coverage: float | None = None, sort_into: Place | None = None,
        every: str | float = EVERY, device: Device = "auto",
    ) -> Predictions:  # fmt: skip
        """``headstart.predict`` with this model."""
        return _function("predict")(  # type: ignore[no-any-return]
            self, files, coverage=coverage, sort_into=sort_into, every=every, device=device
        )

    def evaluate(
        self, data: Any, *, split: Literal["train", "val", "test", "all"] | None = None, device: Device = "auto",
        quiet: bool = False, listener: Listener | None = None, **options: Unpack[DataOptions],
    ) -> dict[str, Any]:  # fmt: skip
        """``headstart.evaluate`` of this model."""
        found: dict[str, Any] = _function("evaluate")(
            self, data, split=split, device=device, quiet=quiet, listener=listener, **options
        )
        return found

    def explain(
        self, photos: Any, *, out: Place | None = None, label: str | None = None, neighbours: int = NEIGHBOURS,
        overwrite: bool = False, device: Device = "auto", quiet: bool = False, listener: Listener | None = None,
    ) -> Explanation:  # fmt: skip
        """``headstart.explain`` with this model."""
        return _function("explain")(  # type: ignore[no-any-return]
            self, photos, out=out, label=label, neighbours=neighbours, overwrite=overwrite, device=device, quiet=quiet,
            listener=listener,
        )  # fmt: skip

    def export(
        self, *, format: Literal["onnx", "torch", "openvino", "web", "litert", "executorch"] = "onnx",
        out: Place | None = None, int8: bool = False, photos: Any = (), web_runtime: Place | None = None,
        overwrite: bool = False, quiet: bool = False, listener: Listener | None = None,
    ) -> Exported:  # fmt: skip
        """``headstart.export`` of this model."""
        return _function("export")(  # type: ignore[no-any-return]
            self, format=format, out=out, int8=int8, photos=photos, web_runtime=web_runtime, overwrite=overwrite,
            quiet=quiet, listener=listener,
        )  # fmt: skip

    def embed(
        self, photos: Any, *, out: Place | None = None, overwrite: bool = False, device: Device = "auto",
        quiet: bool = False, listener: Listener | None = None,
    ) -> Embedded:  # fmt: skip
        """``headstart.embed`` by this model's backbone."""
        return _function("embed")(  # type: ignore[no-any-return]
            photos, run=self, out=out, overwrite=overwrite, device=device, quiet=quiet, listener=listener
        )

    def search(
        self, photo: Any, within: Any, *, most: int = NEAREST, device: Device = "auto", quiet: bool = False,
        listener: Listener | None = None,
    ) -> Matches:  # fmt: skip
        """``headstart.search`` by this model's backbone."""
        return _function("search")(  # type: ignore[no-any-return]
            photo, within, run=self, most=most, device=device, quiet=quiet, listener=listener
        )


def _function(name: str) -> Callable[..., Any]:
    """A public function of headstart."""
    found: Callable[..., Any] = getattr(import_module("headstart"), name)
    return found
