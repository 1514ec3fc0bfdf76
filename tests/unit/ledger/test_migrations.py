"""The migration files and what they are checked against."""

from __future__ import annotations

import pytest

from colony.errors import Permanent
from colony.ids import SHARDS
from colony.ledger.migrate import FOLDER, check_schema, known_migrations


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [number for number, _ in known_migrations()] == list(range(1, len(list(FOLDER.glob("*.sql"))) + 1))


def test_a_ledger_of_this_version_passes_and_others_do_not() -> None:
    known = {number for number, _ in known_migrations()}
    check_schema(set(), None, SHARDS)
    check_schema(known, str(SHARDS), SHARDS)
    with pytest.raises(Permanent, match="schema"):
        check_schema(known | {max(known) + 1}, str(SHARDS), SHARDS)
    with pytest.raises(Permanent, match="shards"):
        check_schema(known, "16", SHARDS)
