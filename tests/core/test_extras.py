"""What is missing of an extra."""

from __future__ import annotations

import pytest

from headstart.core import extras
from headstart.core.extras import require
from headstart.errors import OptionError


def test_what_is_missing_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: object() if name == "uvicorn" else None)
    with pytest.raises(OptionError, match="Serving needs fastapi, h11, not installed here") as told:
        require("Serving", ["fastapi", "uvicorn", "h11"], "serve", "port", "Or ask elsewhere.")
    assert told.value.hint == 'pip install "headstart[serve]". Or ask elsewhere.'
    assert told.value.option == "port"


def test_what_is_there_is_no_problem() -> None:
    require("Any work", ["numpy", "torch"], "all")
