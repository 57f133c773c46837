"""headstart: transfer learning for image classification. In: labelled photos. Out: a classifier, the proof that
pretraining helped, a report.

    import headstart as hs
    run = hs.train("photos/")
    for p in hs.predict(run.path, ["new.jpg"]):
        print(p.path, p.label, p.confidence)

Everything the command line does is one call here, with the same names. Names are imported when first used, so ``import
headstart`` is instant. Some are also names of subpackages (``train``, ``evaluate``): as attributes of ``headstart``
they are always the functions, and a module of such a subpackage is imported with ``from headstart.train import loop``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from headstart._version import __version__

if TYPE_CHECKING:
    from headstart.backbones.catalogue import backbones
    from headstart.classifier import Classifier, Prediction
    from headstart.comparing import compare
    from headstart.demo import demo
    from headstart.training import Run, open_run, resume, train
    from headstart.using import describe, evaluate, predict

_HOMES = {
    "Classifier": "headstart.classifier",
    "Prediction": "headstart.classifier",
    "Run": "headstart.training",
    "backbones": "headstart.backbones.catalogue",
    "compare": "headstart.comparing",
    "demo": "headstart.demo",
    "describe": "headstart.using",
    "evaluate": "headstart.using",
    "open_run": "headstart.training",
    "predict": "headstart.using",
    "resume": "headstart.training",
    "train": "headstart.training",
}

__all__ = [
    "Classifier",
    "Prediction",
    "Run",
    "__version__",
    "backbones",
    "compare",
    "demo",
    "describe",
    "evaluate",
    "open_run",
    "predict",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


class _Package(ModuleType):
    """``headstart`` itself: importing a subpackage binds its name here, which would put the module in the function's
    place.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
