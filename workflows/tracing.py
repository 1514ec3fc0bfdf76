"""One trace for a job: Temporal's own interceptor, with a span for the job and one for each step.

Import it only where traces are on: it brings OpenTelemetry along.

Temporal's interceptor begins no trace for a workflow that was started without one, as by `temporal workflow start`, and
its spans inside a workflow have no length. So the span of a job and those of its steps get names that are computed from
the keys of the job: any worker knows them, after any replay, and what is below a step may be written before the step.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, cast

import temporalio.client
import temporalio.worker
from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.contrib.opentelemetry import TracingInterceptor, TracingWorkflowInboundInterceptor
from temporalio.workflow import ContinueAsNewError

from colony.telemetry.context import HEADER, SpanName, parse, span_id_of, trace_id_of
from colony.telemetry.otel import OtelTracer, context_of, named_in_logs, traceparent_of
from colony.telemetry.port import Fact, Tracer
from workflows.monitor_contracts import TEMPLATE as MONITOR
from workflows.step_spans import STEP_SPAN

_KEEPS: Final = "__colony_keeps_trace"
_RECORD: Final = "__colony_record_span"


def interceptors_of(tracer: Tracer) -> list[temporalio.client.Interceptor]:
    """For the clients of a process that has this tracer; none where traces are off."""
    return [JobTracing(tracer)] if isinstance(tracer, OtelTracer) else []


class Recorded(NamedTuple):
    """A span of a workflow as it leaves the sandbox."""

    name: str
    own: SpanName
    parent: str
    times: tuple[int, int]
    facts: Mapping[str, Fact]
    error: str = ""


class JobTracing(TracingInterceptor):
    """For clients (and so for the workers that use them)."""

    def __init__(self, tracer: OtelTracer) -> None:
        super().__init__(tracer.otel)
        self._own = tracer

    def intercept_client(self, next: temporalio.client.OutboundInterceptor) -> temporalio.client.OutboundInterceptor:  # noqa: A002 -- the SDK's name
        """See the SDK."""
        return _Client(super().intercept_client(next), next)

    def intercept_activity(
        self,
        next: temporalio.worker.ActivityInboundInterceptor,  # noqa: A002 -- the SDK's name
    ) -> temporalio.worker.ActivityInboundInterceptor:
        """See the SDK."""
        return super().intercept_activity(_Logged(next))

    def workflow_interceptor_class(
        self,
        input: temporalio.worker.WorkflowInterceptorClassInput,  # noqa: A002 -- the SDK's name
    ) -> type[TracingWorkflowInboundInterceptor]:
        """See the SDK."""
        super().workflow_interceptor_class(input)
        offered = cast("Any", input).unsafe_extern_functions
        offered.update({_KEEPS: self._own.keeps, _RECORD: self._record, STEP_SPAN: step_span})
        return JobSpans

    def _record(self, span: Recorded) -> None:
        self._own.record(span.name, span.own, span.parent, span.times, facts=span.facts, error=span.error)


class _Client(temporalio.client.OutboundInterceptor):
    """Looking at a job is worth no trace of its own: those who wait for its end look every second."""

    def __init__(
        self, traced: temporalio.client.OutboundInterceptor, plain: temporalio.client.OutboundInterceptor
    ) -> None:
        super().__init__(traced)
        self._plain = plain

    async def query_workflow(self, input: temporalio.client.QueryWorkflowInput) -> Any:  # noqa: A002 -- the SDK's name
        """See the SDK."""
        if not otel.get_current_span().get_span_context().is_valid:
            return await self._plain.query_workflow(input)
        return await super().query_workflow(input)


class _Logged(temporalio.worker.ActivityInboundInterceptor):
    """What an activity logs names the trace."""

    async def execute_activity(self, input: temporalio.worker.ExecuteActivityInput) -> Any:  # noqa: A002 -- the SDK's name
        """See the SDK."""
        with named_in_logs(traceparent_of(otel.get_current_span())):
            return await super().execute_activity(input)


class JobSpans(TracingWorkflowInboundInterceptor):
    """The span of a job, below what started it, and all others of the workflow below that."""

    async def execute_workflow(self, input: temporalio.worker.ExecuteWorkflowInput) -> Any:  # noqa: A002 -- the SDK's name
        """See the SDK. The first task of a workflow is the one that is no replay: it writes the span of the job."""
        info = workflow.info()
        if not workflow.unsafe.is_replaying() and _begins(info):
            now = workflow.time_ns()
            facts = {"temporalWorkflowID": info.workflow_id, "colony.job.key": info.first_execution_run_id}
            handed = self._handed()
            parent = handed if parse(handed) is not None and not _apart(info) else ""
            own = parse(str(self._job_carrier().get(HEADER, "")))
            if own is not None and own.sampled:
                _record(Recorded(f"job {info.workflow_type}", own, parent, (now, now), facts))
        return await super().execute_workflow(input)

    async def handle_signal(self, input: temporalio.worker.HandleSignalInput) -> None:  # noqa: A002 -- the SDK's name
        """See the SDK. With a header of no use it is as if there were none, here and below."""
        await super().handle_signal(dataclasses.replace(input, headers=self._readable(input.headers)))

    async def handle_query(self, input: temporalio.worker.HandleQueryInput) -> Any:  # noqa: A002 -- the SDK's name
        """See `handle_signal`."""
        return await super().handle_query(dataclasses.replace(input, headers=self._readable(input.headers)))

    def handle_update_validator(self, input: temporalio.worker.HandleUpdateInput) -> None:  # noqa: A002 -- the SDK's name
        """See `handle_signal`."""
        super().handle_update_validator(dataclasses.replace(input, headers=self._readable(input.headers)))

    async def handle_update_handler(self, input: temporalio.worker.HandleUpdateInput) -> Any:  # noqa: A002 -- the SDK's name
        """See `handle_signal`."""
        return await super().handle_update_handler(dataclasses.replace(input, headers=self._readable(input.headers)))

    def _load_workflow_context_carrier(self) -> Any:
        """What the SDK's part puts everything below: the job, not what started it."""
        return self._job_carrier()

    def _handed(self) -> str:
        """`traceparent` of what started this workflow; empty for none, and for headers of no use."""
        return self._named_in(workflow.info().headers)

    def _readable(self, headers: Mapping[str, Payload]) -> Mapping[str, Payload]:
        """The headers without what the SDK's part would stumble over: it decodes them unguarded."""
        if self.header_key not in headers:
            return headers
        others = {name: payload for name, payload in headers.items() if name != self.header_key}
        found = parse(self._named_in(headers))
        if found is None:
            return others
        return {**others, self.header_key: self.payload_converter.to_payloads([{HEADER: str(found)}])[0]}

    def _named_in(self, headers: Mapping[str, Payload]) -> str:
        """`traceparent` in these headers, as it came; empty for none and for what cannot be read."""
        payload = headers.get(self.header_key)
        if payload is None:
            return ""
        try:
            carrier = self.payload_converter.from_payloads([payload])[0]
        except (KeyError, RuntimeError, TypeError, ValueError):
            return ""  # of a client we do not know: a job must not hang for want of its trace
        return str(cast("dict[str, Any]", carrier).get(HEADER, "")) if isinstance(carrier, dict) else ""

    def _job_carrier(self) -> dict[str, Any]:
        if self._workflow_context_carrier is None:
            info = workflow.info()
            handed = None if _apart(info) else parse(self._handed())
            key = info.run_id if _apart(info) else info.first_execution_run_id
            if handed is None:
                trace_id = trace_id_of(key)
                own = SpanName(trace_id, span_id_of("job", key), bool(_extern(_KEEPS)(trace_id)))
            else:
                own = SpanName(handed.trace_id, span_id_of("job", key), handed.sampled)
            self._workflow_context_carrier = {HEADER: str(own)}
        return cast("dict[str, Any]", self._workflow_context_carrier)


@contextmanager
def step_span(number: int, name: str, kind: str) -> Generator[None]:
    """See `workflows.step_spans`. Written when the step ends, since a span cannot be kept over a restart."""
    above = parse(traceparent_of(otel.get_current_span()))
    if above is None or not above.sampled:
        yield
        return
    info = workflow.info()
    own = SpanName(above.trace_id, span_id_of("step", info.run_id, number), sampled=True)
    facts: dict[str, Fact] = {"colony.step": number, "colony.step.kind": kind, "temporalWorkflowID": info.workflow_id}
    began = workflow.time_ns()
    ended, error = False, ""
    with _below(str(own)):
        try:
            yield
            ended = True
        except ContinueAsNewError:
            ended = True
            raise
        except asyncio.CancelledError:
            # A workflow that is only put away is cancelled, too: then the step goes on elsewhere.
            ended, error = workflow.cancellation_reason() is not None, "Cancelled"
            raise
        except Exception as failure:
            ended, error = True, type(failure).__name__
            raise
        finally:
            if ended and not workflow.unsafe.is_replaying():
                _record(Recorded(f"step {name}", own, str(above), (began, workflow.time_ns()), facts, error))


@contextmanager
def _below(traceparent: str) -> Generator[None]:
    # What the interceptor of the SDK keeps in the context stays in it.
    span = otel.get_current_span(context_of(traceparent))
    context = otel.set_span_in_context(span, otel_context.get_current())
    token = otel_context.attach(context)
    try:
        yield
    finally:
        # A workflow that is put away may be closed from elsewhere, where there is nothing to take back.
        if otel_context.get_current() is context:
            otel_context.detach(token)


def _begins(info: workflow.Info) -> bool:
    return info.continued_run_id is None or _apart(info)


def _apart(info: workflow.Info) -> bool:
    """Whether this run has a trace of its own: a job that goes on for months would make one without end."""
    return info.workflow_type == MONITOR and info.continued_run_id is not None


def _extern(name: str) -> Callable[..., Any]:
    return cast("Any", workflow).extern_functions()[name]


def _record(span: Recorded) -> None:
    _extern(_RECORD)(span)
