"""Files of other versions."""

import pytest

from headstart.core.formats import check_format, known_only
from headstart.errors import RunError


@pytest.mark.parametrize("facts", [{}, {"format": 1}, {"format": 2}])
def test_older_formats_are_read(facts: dict[str, int]) -> None:
    check_format("plan.json", facts, newest=2)


def test_a_newer_format_is_refused_with_both_numbers() -> None:
    with pytest.raises(RunError, match=r"plan\.json has format 3, newer than this headstart reads \(2\)") as told:
        check_format("plan.json", {"format": 3}, newest=2)
    assert told.value.hint == "Update headstart."


def test_unknown_keys_are_told_once_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    values = {"seed": 1, "of_a_test_of_formats": 2}
    for _ in range(2):
        assert known_only("request.json holds options", values, ("seed", "log")) == {"seed": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "request.json holds options that this headstart does not know, and ignores: of_a_test_of_formats."
    ]
