"""What a monitor bears, and what ends it: also with servers that call every time-out final."""

from __future__ import annotations

import pytest
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    FailureError,
    RetryState,
    TimeoutError,  # noqa: A004 -- the name it has in Temporal
    TimeoutType,
)

from workflows import monitor_patience
from workflows.monitor_patience import Patience
from workflows.translate import ran_out_of_time


@pytest.fixture(autouse=True)
def _new_history(monkeypatch: pytest.MonkeyPatch) -> None:
    def patched(_: str) -> bool:
        return True

    monkeypatch.setattr(monitor_patience.workflow, "patched", patched)


def ended(cause: FailureError, state: RetryState) -> ActivityError:
    error = ActivityError(
        "Activity task failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="worker",
        activity_type="monitor_tick",
        activity_id="1",
        retry_state=state,
    )
    error.__cause__ = cause
    return error


def time_out(kind: TimeoutType) -> TimeoutError:
    return TimeoutError("timed out", type=kind, last_heartbeat_details=())


@pytest.mark.parametrize("state", [RetryState.TIMEOUT, RetryState.NON_RETRYABLE_FAILURE])
@pytest.mark.parametrize("kind", [TimeoutType.SCHEDULE_TO_START, TimeoutType.SCHEDULE_TO_CLOSE])
def test_a_time_out_is_borne_whatever_the_server_calls_it(kind: TimeoutType, state: RetryState) -> None:
    patience = Patience()
    assert patience.bear(ended(time_out(kind), state)) > 0
    assert patience.failing
    assert "time-out" in patience.trouble


def test_what_never_passes_ends_a_monitor_unless_it_is_stubborn() -> None:
    refused = ended(ApplicationError("no", type="BadInput", non_retryable=True), RetryState.NON_RETRYABLE_FAILURE)
    with pytest.raises(ActivityError):
        Patience().bear(refused)
    assert Patience(stubborn=True).bear(refused) > 0
    with pytest.raises(ActivityError):
        Patience(stubborn=True).bear(ended(CancelledError("over"), RetryState.CANCEL_REQUESTED))


def test_a_batch_whose_time_is_over_has_run_out_of_it_on_every_server() -> None:
    final, late = RetryState.NON_RETRYABLE_FAILURE, RetryState.TIMEOUT
    assert ran_out_of_time(ended(time_out(TimeoutType.SCHEDULE_TO_CLOSE), final))
    assert ran_out_of_time(ended(ApplicationError("away", type="Unavailable"), late))
    assert not ran_out_of_time(ended(ApplicationError("no", type="BadInput"), final))
    assert not ran_out_of_time(ended(time_out(TimeoutType.START_TO_CLOSE), RetryState.MAXIMUM_ATTEMPTS_REACHED))
