from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from colony.errors import BadInput, ColonyError, Overloaded, Permanent, Transient, Unavailable, by_name
from workflows.boundary import input_text, resume_of
from workflows.translate import MAX_MESSAGE, final, to_application_error, to_colony_error


def payload(data: bytes, encoding: bytes = b"json/plain") -> Payload:
    return Payload(metadata={"encoding": encoding}, data=data)


def test_an_object_passes_as_it_is() -> None:
    assert input_text([payload(b'{"a": 1}')]) == '{"a": 1}'


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [payload(b"{}"), payload(b"{}")],
        [payload(b"[]")],
        [payload(b"null")],
        [payload(b'"x"')],
        [payload(b"{")],
        [payload(b'{"a": "\xff"}')],
        [payload(b"[" * 60_000)],
        [payload(b'{"a": "' + b"x" * 70_000 + b'"}')],
        [payload(b"{}", b"binary/plain")],
        [payload(b"", b"binary/null")],
        [Payload(data=b"{}")],
    ],
)
def test_anything_else_is_bad_input(payloads: list[Payload]) -> None:
    with pytest.raises(BadInput):
        input_text(payloads)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_bad_input(data: bytes) -> None:
    assert resume_of([payload(data)]) is None
    with contextlib.suppress(BadInput):
        input_text([payload(data)])


@pytest.mark.parametrize("name", ["BadInput", "Overloaded", "Unavailable", "HostCrashed", "Cancelled"])
def test_errors_keep_their_class_on_the_way(name: str) -> None:
    error = by_name(name)("what", remedy="How.")
    sent = to_application_error(error)
    assert (sent.type, sent.non_retryable) == (name, isinstance(error, Permanent))
    back = to_colony_error(sent)
    assert type(back) is type(error)
    assert str(back) == "what How."


def test_what_a_workflow_ends_with_is_never_retried() -> None:
    assert final(Overloaded("x")).non_retryable
    assert final(Unavailable("x")).type == "Unavailable"


def test_texts_are_bounded() -> None:
    sent = to_application_error(Transient("a" * 100_000 + "end"))
    assert len(sent.message) <= MAX_MESSAGE
    assert sent.message.endswith("end")


def test_errors_of_users_code_are_permanent() -> None:
    error = to_colony_error(ApplicationError("boom", type="KeyError"))
    assert type(error) is Permanent
    assert isinstance(error, ColonyError)


def test_workflow_code_imports_without_any_client_of_a_server() -> None:
    blocked = ["ray", "nats", "asyncpg", "consul", "httpx", "psycopg"]
    script = (
        f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
        "import workflows.pipeline, workflows.policies, workflows.contracts, workflows.worker\n"
        "assert not any(name.startswith('colony.ledger.postgres') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
