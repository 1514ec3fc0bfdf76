"""What a request for a job becomes, and what one sent again means. Pure."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from colony.errors import AlreadyExists, NotFound, by_name
from colony.ledger.submissions import Kept, Submission, SubmissionState
from colony.ledger.validation import encode_object
from control.api.models import SubmitJob
from control.api.retry_models import RetryJob
from control.retrying import Retrial
from ray_app.gateway.api.fields import RequestRefused


def submission_of(asked: SubmitJob, idempotency_key: str, templates: Collection[str]) -> Submission:
    """The submission to keep. Raises `RequestRefused` naming the field, for what can be told without the engine."""
    if asked.template not in templates:
        known = ", ".join(sorted(templates)) or "none"
        message = f"There is no template {asked.template!r}. There are: {known}."
        raise RequestRefused(message, param="template", status=404, code=NotFound.__name__)
    given = _steered(asked)
    return _submission(
        asked.template, given, asked.id or f"{asked.template}-{secrets.token_hex(6)}", asked.id, idempotency_key
    )


def submission_of_retry(found: Retrial, asked: RetryJob, idempotency_key: str) -> Submission:
    """The submission to keep for a retry. Pure."""
    return _submission(found.before.template, found.given, found.workflow_id, asked.id, idempotency_key)


def _submission(
    template: str, given: Mapping[str, Any], workflow_id: str, chosen_id: str | None, idempotency_key: str
) -> Submission:
    text = encode_object(given)
    # What the sender chose, not what was made up for it: the same request again has the same digest.
    chosen = orjson.dumps([template, given, chosen_id], option=orjson.OPT_SORT_KEYS)
    return Submission(
        workflow_id=workflow_id,
        mark=secrets.token_hex(16),
        template=template,
        input=text.decode(),
        digest=hashlib.sha256(chosen).hexdigest(),
        idempotency_key=idempotency_key,
    )


def _steered(asked: SubmitJob) -> dict[str, Any]:
    """The input with priority and tenant, which the workflow reads there."""
    given = dict(asked.input)
    for name, value in (("priority", asked.priority), ("tenant", asked.tenant)):
        if value is None:
            continue
        if given.get(name, value) != value:
            raise RequestRefused(f"'input.{name}' says something else than '{name}'.", param=name, status=422)
        given[name] = value
    return given


def judged(asked: Submission, kept: Kept) -> Submission:
    """The submission to go on with. Raises `AlreadyExists` for a name taken, and what an earlier one ended with."""
    found = kept.submission
    if kept.fresh:
        return found
    if not asked.idempotency_key or found.idempotency_key != asked.idempotency_key:
        raise id_taken(found.workflow_id)
    if found.digest != asked.digest:
        raise RequestRefused(
            "This Idempotency-Key was used for another request.",
            param="Idempotency-Key",
            status=409,
            code=AlreadyExists.__name__,
        )
    if found.state is SubmissionState.REFUSED:
        raise refusal(found)
    return found


def id_taken(workflow_id: str) -> AlreadyExists:
    """The error for a workflow id that is used."""
    return AlreadyExists(
        f"There is a job with the id {workflow_id!r} already.", remedy="Choose another id, or leave it out."
    )


def refusal(found: Submission) -> Exception:
    """The error a refused submission was refused with."""
    return by_name(found.error)(found.reason or "The job was refused.")
