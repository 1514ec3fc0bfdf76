"""What an activity that waits for its next try failed with, as `why` tells it."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, TimeoutType
from temporalio.exceptions import TimeoutError as Late

from colony.config.endpoints import TemporalEndpoint
from workflows.encryption import converter_of, key_line
from workflows.standing import pending_of

FAILED = ApplicationError("no database at db-1", "detail", type="Unavailable")


def sealing(folder: Path, name: str) -> DataConverter:
    path = folder / name
    path.write_text(key_line(name))
    path.chmod(0o600)
    return converter_of(TemporalEndpoint(address="", codec_key_file=str(path)))


async def told(failure: BaseException, written: DataConverter, read: DataConverter) -> str:
    info = PendingActivityInfo(attempt=2)
    await written.encode_failure(failure, info.last_failure)
    return (await pending_of(info, read)).failure


async def test_an_encrypted_failure_is_read_with_the_key(tmp_path: Path) -> None:
    keyed = sealing(tmp_path, "one")
    assert await told(FAILED, keyed, keyed) == "no database at db-1"
    assert await told(ApplicationError("m" * 900), keyed, keyed) == "m" * 200


async def test_a_plain_failure_is_read_by_anybody(tmp_path: Path) -> None:
    assert await told(FAILED, pydantic_data_converter, pydantic_data_converter) == "no database at db-1"
    assert await told(FAILED, pydantic_data_converter, sealing(tmp_path, "one")) == "no database at db-1"


@pytest.mark.parametrize("reader", ["no key", "another key"])
async def test_without_the_key_its_type_is_told(tmp_path: Path, reader: str) -> None:
    keyed = sealing(tmp_path, "one")
    read = pydantic_data_converter if reader == "no key" else sealing(tmp_path, "two")
    assert await told(FAILED, keyed, read) == "Unavailable"
    late = Late("too late", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[])
    assert await told(late, keyed, read) == "timeout"


async def test_what_is_no_message_is_not_told(tmp_path: Path) -> None:
    attributes = Payload(metadata={"encoding": b"json/plain"}, data=b"no json")
    info = PendingActivityInfo(
        attempt=2, last_failure=Failure(message="Encoded failure", encoded_attributes=attributes)
    )
    assert (await pending_of(info, sealing(tmp_path, "one"))).failure == "failure"


async def test_nothing_failed_yet() -> None:
    assert (await pending_of(PendingActivityInfo(attempt=1), pydantic_data_converter)).failure == ""
