"""Encryption of what Temporal keeps: inputs, results, messages of failures. AES-256-GCM, several keys for rotation."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from colony.config.endpoints import TemporalEndpoint
from colony.errors import BadInput, NotFound, NotPermitted, Unreadable

ENCODING: Final = b"binary/encrypted"
"""What an encrypted payload says it is, as in Temporal's own examples: its tools know it."""

KEY_ID: Final = "encryption-key-id"
"""Metadata: which key an encrypted payload needs."""

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_LINE: Final = re.compile(r"([A-Za-z0-9._-]{1,64}):([A-Za-z0-9+/=]{1,200})", re.ASCII)


def converter_of(endpoint: TemporalEndpoint) -> DataConverter:
    """How values become payloads for this Temporal: Pydantic's way, encrypted where a key file is named.

    Reads that file. Raises as `read_keys` does.
    """
    if not endpoint.codec_key_file:
        return pydantic_data_converter
    codec = EncryptionCodec(read_keys(Path(endpoint.codec_key_file)))
    return dataclasses.replace(
        pydantic_data_converter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


class EncryptionCodec(PayloadCodec):
    """Encrypts with the first key, decrypts with any; what is not encrypted passes: the plain CLI starts jobs too.

    A nonce is 96 random bits: use a key for at most 2^32 payloads.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise BadInput("Encryption needs a key.", remedy="Make one: `colony codec-key FILE`.")
        self._keys = {name: AESGCM(key) for name, key in keys.items()}
        self._first = next(iter(keys))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See `PayloadCodec`."""
        return [self._encrypted(each) for each in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See `PayloadCodec`. Raises `Unreadable`."""
        return [self._decrypted(each) if each.metadata.get("encoding") == ENCODING else each for each in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        nonce, name = os.urandom(_NONCE_BYTES), self._first.encode()
        sealed = self._keys[self._first].encrypt(nonce, payload.SerializeToString(), name)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: name}, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        raw = payload.metadata.get(KEY_ID, b"")
        name = raw[:64].decode("ascii", "replace")
        key = self._keys.get(name)
        if key is None:
            raise Unreadable(
                f"This was encrypted with the key {name!r}, which is not at hand.",
                remedy="Add it, after the first key, to the file that `codec_key_file` in endpoints.json names.",
            )
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(key.decrypt(nonce, sealed, raw))
        except (InvalidTag, ValueError, DecodeError):
            raise Unreadable(
                f"This was not encrypted with the key {name!r} of this file, or was changed since.",
                remedy="Look whether two files give different keys the same name.",
            ) from None


def read_keys(path: Path) -> dict[str, bytes]:
    """The keys of a file by their names, in its order: a line `NAME:BASE64 OF 32 BYTES` each, `#` for comments.

    Raises `NotFound`, `NotPermitted` when others than its owner may read it, `BadInput` for what is no key.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise NotFound(f"The key file {path} is missing.", remedy=f"Make it: `colony codec-key {path}`.") from None
    except PermissionError:
        raise NotPermitted(f"The key file {path} cannot be read.", remedy="Look at its owner and mode.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no key file ({type(error).__name__}).") from error
    if mode & 0o077:
        raise NotPermitted(f"Others may read or change the key file {path}.", remedy=f"chmod 600 {path}")
    return parse_keys(text, str(path))


def parse_keys(text: str, source: str) -> dict[str, bytes]:
    """The keys in the text of a key file. Pure. Raises `BadInput`, which says the line and nothing of a key."""
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        try:
            key = b"" if match is None else base64.b64decode(match[2], validate=True)
        except binascii.Error:
            key = b""
        if match is None or len(key) != KEY_BYTES:
            raise BadInput(f"{source}:{number}: this is no NAME:BASE64 of {KEY_BYTES} bytes.")
        if match[1] in keys:
            raise BadInput(f"{source}:{number}: there are two keys with the name {match[1]!r}.")
        keys[match[1]] = key
    if not keys:
        raise BadInput(f"{source} holds no key.", remedy="Make one: `colony codec-key FILE`.")
    return keys


def key_line(name: str) -> str:
    """A fresh key as a line of a key file."""
    return f"{name}:{base64.b64encode(os.urandom(KEY_BYTES)).decode('ascii')}\n"
