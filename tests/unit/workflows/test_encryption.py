from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from colony.config.endpoints import TemporalEndpoint
from colony.contracts import StepLoad
from colony.errors import BadInput, NotFound, NotPermitted, Unreadable
from workflows.encryption import ENCODING, KEY_ID, EncryptionCodec, converter_of, key_line, parse_keys, read_keys

OLD, NEW = {"old": bytes(32)}, {"new": bytes(range(32))}
PAYLOADS = st.lists(
    st.builds(
        Payload,
        metadata=st.dictionaries(st.text(max_size=8), st.binary(max_size=16), max_size=3),
        data=st.binary(max_size=2000),
    ),
    max_size=4,
)


def key_file(folder: Path, *names: str) -> Path:
    path = folder / "keys"
    path.write_text("".join(key_line(name) for name in names))
    path.chmod(0o600)
    return path


@given(PAYLOADS)
def test_what_is_encrypted_comes_back_and_shows_nothing(payloads: list[Payload]) -> None:
    async def there_and_back() -> tuple[list[Payload], list[Payload]]:
        codec = EncryptionCodec(NEW)
        sealed = await codec.encode(payloads)
        return sealed, await codec.decode(sealed)

    sealed, opened = asyncio.run(there_and_back())
    assert opened == payloads
    for before, after in zip(payloads, sealed, strict=True):
        assert dict(after.metadata) == {"encoding": ENCODING, KEY_ID: b"new"}
        assert len(before.data) < 8 or before.data not in after.data


async def test_two_of_the_same_differ() -> None:
    [one, other] = await EncryptionCodec(NEW).encode([Payload(data=b"same"), Payload(data=b"same")])
    assert one.data != other.data


async def test_after_a_rotation_both_keys_read_and_the_first_one_writes() -> None:
    sealed = await EncryptionCodec(OLD).encode([Payload(data=b"before")])
    rotated = EncryptionCodec({**NEW, **OLD})
    assert await rotated.decode(sealed) == [Payload(data=b"before")]
    [fresh] = await rotated.encode([Payload(data=b"after")])
    assert fresh.metadata[KEY_ID] == b"new"
    with pytest.raises(Unreadable, match="key 'new', which is not at hand"):
        await EncryptionCodec(OLD).decode([fresh])


async def test_a_wrong_key_of_the_same_name_and_a_changed_payload_are_told() -> None:
    [sealed] = await EncryptionCodec({"k": bytes(32)}).encode([Payload(data=b"secret")])
    with pytest.raises(Unreadable, match="not encrypted with the key 'k'"):
        await EncryptionCodec({"k": bytes([1]) * 32}).decode([sealed])
    changed = Payload(metadata=sealed.metadata, data=sealed.data[:-1] + bytes([sealed.data[-1] ^ 1]))
    for bad in (changed, Payload(metadata=sealed.metadata), Payload(metadata={"encoding": ENCODING})):
        with pytest.raises(Unreadable):
            await EncryptionCodec({"k": bytes(32)}).decode([bad])


async def test_what_is_not_encrypted_passes() -> None:
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b'{"tasks": 3}')
    assert await EncryptionCodec(NEW).decode([plain]) == [plain]


async def test_models_and_failures_pass_through_the_converter_encrypted(tmp_path: Path) -> None:
    converter = converter_of(TemporalEndpoint(address="", codec_key_file=str(key_file(tmp_path, "a"))))
    load = StepLoad(tasks=3)
    [payload] = await converter.encode([load])
    assert payload.metadata["encoding"] == ENCODING
    assert await converter.decode([payload], [StepLoad]) == [load]
    failure = Failure()
    await converter.encode_failure(ApplicationError("a secret", "with detail", type="BadInput"), failure)
    assert b"secret" not in failure.SerializeToString()
    assert b"detail" not in failure.SerializeToString()
    assert failure.application_failure_info.type == "BadInput", "what decides about retries stays readable"
    back: Any = await converter.decode_failure(failure)
    assert (back.message, back.type, back.details) == ("a secret", "BadInput", ("with detail",))


def test_without_a_key_file_nothing_changes() -> None:
    assert converter_of(TemporalEndpoint(address="")) is pydantic_data_converter


def test_a_key_file_is_read_in_its_order(tmp_path: Path) -> None:
    path = key_file(tmp_path, "second", "first")
    path.write_text(f"# keys\n\n{path.read_text()}")
    assert list(read_keys(path)) == ["second", "first"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, "a")
    path.chmod(mode)
    with pytest.raises(NotPermitted, match="Others may read"):
        read_keys(path)


def test_a_missing_key_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="missing"):
        converter_of(TemporalEndpoint(address="", codec_key_file=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no key"),
        ("a:short", "keys:1"),
        ("nonsense", "keys:1"),
        (f"a b:{base64.b64encode(bytes(32)).decode()}", "keys:1"),
        (f"a:{base64.b64encode(bytes(31)).decode()}", "keys:1"),
        (f"a:{base64.b64encode(bytes(32)).decode()}\n" * 2, "keys:2: there are two keys"),
    ],
)
def test_a_bad_line_is_named_and_its_content_is_not(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        parse_keys(text, "keys")
    secret = text.partition(":")[2].strip()
    assert not secret or secret not in str(caught.value)
