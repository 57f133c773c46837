"""The strategies by name. Importing this imports none of them; see ``base.Strategy`` for how to add one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.core.registry import Registry

if TYPE_CHECKING:
    from headstart.training.strategies.base import Strategy

STRATEGIES: Registry[Strategy] = Registry(
    "strategy",
    "headstart.strategies",
    {
        "auto": "headstart.training.strategies.auto:Auto",
        "probe": "headstart.training.strategies.probe:Probe",
        "finetune": "headstart.training.strategies.finetune:FineTune",
        "partial": "headstart.training.strategies.finetune:Partial",
        "lp-ft": "headstart.training.strategies.finetune:LpFt",
        "scratch": "headstart.training.strategies.finetune:Scratch",
    },
    option="strategy",
)
