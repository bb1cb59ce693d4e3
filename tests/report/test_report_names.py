"""File names of pictures."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hoox_async._report.file_names import file_stem


@given(st.text(max_size=200), st.text(max_size=20), st.text(max_size=200), st.text(max_size=20))
@settings(deadline=None)
def test_stems_differ_where_items_differ(key: str, ref: str, other_key: str, other_ref: str) -> None:
    """Two items never share a file, also where a file system takes capitals for small letters."""
    stem = file_stem(key, ref)
    assert stem == stem.lower()
    assert stem.replace("-", "").isalnum()
    assert stem.isascii()
    assert len(stem) <= 61
    assert (file_stem(other_key, other_ref) == stem) == ((other_key, other_ref) == (key, ref))
