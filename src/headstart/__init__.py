"""headstart: transfer learning for image classification. In: labelled photos. Out: a classifier, the proof that
pretraining helped, a report.

    import headstart as hs
    run = hs.train("photos/")
    for p in hs.predict(run.path, ["new.jpg"]):
        print(p.path, p.label, p.confidence)

Everything the command line does is one call here, with the same names. Names are imported when first used, so ``import
headstart`` is instant. No module has the name of one of its functions: importing a module binds its name here, and
would put the module in the function's place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart._version import __version__

if TYPE_CHECKING:
    from headstart.backbone.catalogue import backbones
    from headstart.checking.checking import check
    from headstart.classifier import Classifier, Prediction
    from headstart.comparing import compare
    from headstart.digits import demo
    from headstart.explaining.explaining import explain
    from headstart.exporting.exporter import export
    from headstart.forecasting.forecasting import forecast
    from headstart.notebook import photos
    from headstart.recommending.recommending import recommend
    from headstart.run import Run, open_run, resume, train
    from headstart.serving.server import serve
    from headstart.sharing import push
    from headstart.studies.study import study
    from headstart.using import describe, evaluate, predict

_HOMES = {
    "Classifier": "headstart.classifier",
    "Prediction": "headstart.classifier",
    "Run": "headstart.run",
    "backbones": "headstart.backbone.catalogue",
    "check": "headstart.checking.checking",
    "compare": "headstart.comparing",
    "demo": "headstart.digits",
    "describe": "headstart.using",
    "evaluate": "headstart.using",
    "explain": "headstart.explaining.explaining",
    "export": "headstart.exporting.exporter",
    "forecast": "headstart.forecasting.forecasting",
    "open_run": "headstart.run",
    "photos": "headstart.notebook",
    "predict": "headstart.using",
    "push": "headstart.sharing",
    "recommend": "headstart.recommending.recommending",
    "resume": "headstart.run",
    "serve": "headstart.serving.server",
    "study": "headstart.studies.study",
    "train": "headstart.run",
}

__all__ = [
    "Classifier",
    "Prediction",
    "Run",
    "__version__",
    "backbones",
    "check",
    "compare",
    "demo",
    "describe",
    "evaluate",
    "explain",
    "export",
    "forecast",
    "open_run",
    "photos",
    "predict",
    "push",
    "recommend",
    "resume",
    "serve",
    "study",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
