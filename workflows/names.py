"""Names of the activities and of signals: what a history holds, so they never change."""

from __future__ import annotations

from typing import Final

OPEN_JOB: Final = "open_job"
LOAD_STEP: Final = "load_step"
READ_VALUES: Final = "read_values"
TALLY_STEP: Final = "tally_step"
DISPATCH_BATCH: Final = "dispatch_batch"
REPORT: Final = "report"
CANCEL_JOB: Final = "cancel_job"
CLOSE_JOB: Final = "close_job"
CANCEL_WORKFLOW: Final = "cancel_workflow"
DISPATCHER_LIVES: Final = "dispatcher_lives"

VERSIONS_CHANGED: Final = "versions_changed"
"""Signal that makes a job look up: its version has changed, or another one is current."""
