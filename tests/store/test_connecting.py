"""A URL opens its database, or says what is in the way."""

import pytest

from lowproxy.store.connecting import connect
from lowproxy.store.database import StoreError


def test_a_file_is_made_on_first_use_only(tmp_path):
    """With its directory; who only wants to look makes none."""
    url = f"sqlite://{tmp_path}/deep/er/ledger.db"

    with pytest.raises(StoreError, match="no such file"):
        connect(url, make=False)
    connect(url).close()

    assert (tmp_path / "deep/er/ledger.db").exists()


def test_a_directory_that_cannot_be_written_is_said(tmp_path):
    """With the path in the text."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="file"):
        connect(f"sqlite://{tmp_path}/file/ledger.db")
