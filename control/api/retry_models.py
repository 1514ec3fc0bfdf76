"""What a retry is asked with over HTTP, and what it answers."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from control.api.models import JobAnswer, JobId, Model, Tenant


class RetryJob(Model):
    """Asks for a job that goes on with what another one left undone."""

    step: str = Field(default="", max_length=64)
    """Begin here; empty for the first step with failed or missing tasks, else for the first not completed."""
    all: bool = False
    """Do all tasks of that step again, also those with a good outcome."""
    priority: int | None = Field(default=None, ge=1, le=5)
    """1 is first, 5 last; that of the other job when it is left out."""
    tenant: Tenant | None = None
    """For whom it runs; as the other job when it is left out."""
    llm_tokens: int | None = Field(default=None, ge=1, le=10**15)
    """Tokens of language models it may use; as many as the other job when it is left out."""
    id: JobId | None = None
    """Workflow id of the new job; made from that of the other when it is left out."""

    def wanted(self) -> dict[str, Any]:
        """As arguments of `control.retrying.retrial`."""
        more = self.model_dump(include={"priority", "tenant", "llm_tokens"}, exclude_none=True)
        return {"step": self.step, "whole": self.all, "workflow_id": self.id or "", "more": more}


class RetriedJob(Model):
    """A retry and what it does."""

    job: JobAnswer
    """The new job."""
    retry_of: int
    """Number of the job it goes on with."""
    step: str
    """Where it begins."""
    tasks: int
    """Tasks of that step that are done again; 0 for one that has none, or has none yet."""
