"""headstart: transfer learning for image classification, from labelled photos to a classifier, its evaluation and a
report.

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
    from headstart.inference.classifier import Classifier, Prediction
    from headstart.models.providers import backbones
    from headstart.serving.server import serve
    from headstart.workbench.server import studio
    from headstart.workflows.check.check import check
    from headstart.workflows.demo import demo
    from headstart.workflows.embed.embed import embed
    from headstart.workflows.embed.search import search
    from headstart.workflows.experiment.compare import compare
    from headstart.workflows.experiment.study import study
    from headstart.workflows.explain.explain import explain
    from headstart.workflows.export.export import export
    from headstart.workflows.forecast.forecast import forecast
    from headstart.workflows.overview import list_runs
    from headstart.workflows.packing.packing import pack
    from headstart.workflows.predict import describe, evaluate, predict
    from headstart.workflows.preview import photos
    from headstart.workflows.push import push
    from headstart.workflows.recommend.recommend import recommend
    from headstart.workflows.shards.many import embed_shards, predict_shards
    from headstart.workflows.suggest.suggest import suggest
    from headstart.workflows.train.result import Run
    from headstart.workflows.train.train import open_run, resume, train
    from headstart.workflows.tune.tune import tune

_HOMES = {
    "Classifier": "headstart.inference.classifier",
    "Prediction": "headstart.inference.classifier",
    "Run": "headstart.workflows.train.result",
    "backbones": "headstart.models.providers",
    "check": "headstart.workflows.check.check",
    "compare": "headstart.workflows.experiment.compare",
    "demo": "headstart.workflows.demo",
    "describe": "headstart.workflows.predict",
    "embed": "headstart.workflows.embed.embed",
    "embed_shards": "headstart.workflows.shards.many",
    "evaluate": "headstart.workflows.predict",
    "explain": "headstart.workflows.explain.explain",
    "export": "headstart.workflows.export.export",
    "forecast": "headstart.workflows.forecast.forecast",
    "list_runs": "headstart.workflows.overview",
    "open_run": "headstart.workflows.train.train",
    "pack": "headstart.workflows.packing.packing",
    "photos": "headstart.workflows.preview",
    "predict": "headstart.workflows.predict",
    "predict_shards": "headstart.workflows.shards.many",
    "push": "headstart.workflows.push",
    "recommend": "headstart.workflows.recommend.recommend",
    "resume": "headstart.workflows.train.train",
    "search": "headstart.workflows.embed.search",
    "serve": "headstart.serving.server",
    "studio": "headstart.workbench.server",
    "study": "headstart.workflows.experiment.study",
    "suggest": "headstart.workflows.suggest.suggest",
    "train": "headstart.workflows.train.train",
    "tune": "headstart.workflows.tune.tune",
}
__all__ = [
    "Classifier", "Prediction", "Run", "__version__", "backbones", "check", "compare", "demo", "describe", "embed",
    "embed_shards", "evaluate", "explain", "export", "forecast", "list_runs", "open_run", "pack", "photos", "predict",
    "predict_shards", "push", "recommend", "resume", "search", "serve", "studio", "study", "suggest", "train", "tune",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
