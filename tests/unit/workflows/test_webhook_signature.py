"""The signature of what a webhook gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colony.ids import Id
from colony.sites import NoticeRow
from workflows.webhooks import body_of, is_signed, sign


@given(st.binary(max_size=200), st.text(min_size=1, max_size=40), st.integers(0, 4 * 10**9))
def test_a_signature_holds_for_its_body_secret_and_time(body: bytes, secret: str, now: int) -> None:
    made = sign(body, secret, now)
    assert is_signed(body, secret, made, now + 200)
    assert not is_signed(body + b"x", secret, made, now)
    assert not is_signed(body, secret + "x", made, now)
    assert not is_signed(body, secret, made, now + 301)


@given(st.text(max_size=60))
def test_nonsense_is_no_signature(signature: str) -> None:
    assert not is_signed(b"body", "secret", signature, 1_000_000.0)


def test_the_body_names_job_and_events() -> None:
    notice = NoticeRow(7, Id("shop"), "site-down", 5.0, "http://shop.example/", "up", "no answer")
    assert body_of(3, "w", [notice]) == (
        b'{"job":3,"workflow_id":"w","events":[{"event":7,"kind":"site-down","site":"shop",'
        b'"url":"http://shop.example/","at":5.0,"before":"up","reason":"no answer"}]}'
    )
