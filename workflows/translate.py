"""The one place where errors of Colony become errors of Temporal, and back.

The type of an `ApplicationError` is the name of our class; permanent errors are not retried.
"""

from __future__ import annotations

from typing import Any, Final

from temporalio import activity
from temporalio import exceptions as failures
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError, RetryState, TimeoutType
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from colony.errors import ColonyError, DeadlineExceeded, Permanent, Unavailable, by_name

MAX_MESSAGE: Final = 1_000
"""Most characters of an error's text in a history."""


def bounded(text: str) -> str:
    """`text`, cut in the middle to `MAX_MESSAGE` characters."""
    if len(text) <= MAX_MESSAGE:
        return text
    half = MAX_MESSAGE // 2 - 3
    return f"{text[:half]} ... {text[-half:]}"


def to_application_error(error: ColonyError) -> ApplicationError:
    """What an activity or a workflow raises for `error`."""
    return ApplicationError(bounded(str(error)), type=type(error).__name__, non_retryable=isinstance(error, Permanent))


def final(error: ColonyError) -> ApplicationError:
    """What a workflow ends with: never retried, whatever the error is."""
    return ApplicationError(bounded(str(error)), type=type(error).__name__, non_retryable=True)


def to_colony_error(error: BaseException) -> ColonyError:
    """The error of ours behind a failure: what an activity raised, or why none could answer."""
    if isinstance(error, ColonyError):
        return error
    if isinstance(error, ApplicationError):
        return by_name(error.type or "")(_text(error))
    if isinstance(error, failures.TimeoutError):
        if isinstance(error.__cause__, ApplicationError):
            return to_colony_error(error.__cause__)
        return DeadlineExceeded(f"{_text(error)} ({_kind(error)} time-out).")
    if isinstance(error, ActivityError):
        return _of_activity(error)
    if isinstance(error, FailureError) and error.__cause__ is not None:
        return to_colony_error(error.__cause__)
    return Permanent(bounded(f"{type(error).__name__}: {error}"))


def never_started(error: ActivityError) -> bool:
    """Whether nobody took the activity up in time: all were busy, or there is nobody."""
    cause = error.__cause__
    return isinstance(cause, failures.TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START


def ran_out_of_time(error: ActivityError) -> bool:
    """Whether the activity was given up since its attempts took too long, waiting between and before them included."""
    cause = error.__cause__
    whole = isinstance(cause, failures.TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_CLOSE
    return whole or error.retry_state is RetryState.TIMEOUT  # older servers say of the first that it is not retryable


def never_passes(error: ActivityError) -> bool:
    """Whether the activity says of its error that trying again is in vain; older servers say it of time-outs, too."""
    timed_out = isinstance(error.__cause__, failures.TimeoutError)
    return error.retry_state is RetryState.NON_RETRYABLE_FAILURE and not timed_out


def _of_activity(error: ActivityError) -> ColonyError:
    cause = error.__cause__
    if isinstance(cause, failures.TimeoutError) and not isinstance(cause.__cause__, ApplicationError):
        return Unavailable(
            f"Activity {error.activity_type} ended by a {_kind(cause)} time-out.",
            remedy="Look whether its worker and the hosts run: `colony status`.",
        )
    return to_colony_error(cause) if cause is not None else Unavailable(f"Activity {error.activity_type} failed.")


def _kind(error: failures.TimeoutError) -> str:
    return "unknown" if error.type is None else error.type.name.lower().replace("_", "-")


def _text(error: FailureError) -> str:
    return bounded(error.message)


class TranslateErrors(Interceptor):
    """Worker interceptor: activities raise `ColonyError`, Temporal sees typed, bounded `ApplicationError`s."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 -- name of the base class
        """See `Interceptor`."""
        return _TranslateActivity(next)


class _TranslateActivity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 -- name of the base class
        try:
            return await self.next.execute_activity(input)
        except (ApplicationError, CancelledError):
            raise
        except ColonyError as error:
            activity.logger.warning("activity failed: %s: %s", type(error).__name__, bounded(str(error)))
            raise to_application_error(error) from None
        except Exception as error:  # noqa: BLE001 -- raised again below, with a bounded text
            # A fault of ours: retried like a passing error, in case it is one, but with a bounded text.
            activity.logger.exception("activity failed unexpectedly")
            raise ApplicationError(bounded(str(error)), type=type(error).__name__) from None
