"""Mutations of known inputs, as a hypothesis strategy: what it finds is shrunk to the few edits that matter."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

Edit = tuple[float, int, bytes]
"""Where, as a part of the length; how many bytes go; what comes in their place."""

_INTERESTING = (
    b"\x00", b"\xff", b"\xff" * 4, b"\x00" * 8, b"\x7f\xff\xff\xff", b"-1", b"NaN", b"null", b"[[[[", b"{}", b'"',
    b"\n", b"\r\n", b",", b"'", b"\\", b"%", b"../", b"\xc3", b"\xed\xa0\x80", "\u202e".encode(), b"=", b"&a", b"*a",
)  # fmt: skip


def edited(base: bytes, edits: Sequence[Edit]) -> bytes:
    content = bytearray(base)
    for where, gone, new in edits:
        at = int(where * len(content))
        content[at : at + gone] = new
    return bytes(content)


def mutations(corpus: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Inputs of the corpus with up to eight edits, and some of nothing known."""
    pieces = st.one_of(st.binary(max_size=8), st.sampled_from(_INTERESTING))
    edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), pieces), max_size=8)
    return st.one_of(st.builds(edited, st.sampled_from(list(corpus)), edits), st.binary(max_size=200))


def expect(holds: bool, words: str) -> None:
    """An assertion that may stand where an error is handled."""
    assert holds, words
