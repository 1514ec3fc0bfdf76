"""The `ledger` section of `agent_config.yaml`: how long what is done is kept. Pure data."""

from __future__ import annotations

from pydantic import Field

from colony.config.section import Section


class LedgerConfig(Section):
    """How long the ledger keeps what is done. Nothing goes while its job, or one that this job started, runs."""

    keep_days: float = Field(default=30.0, ge=0)
    """Days until a closed job goes with its tasks, results and reports; also done messages and the states of agents
    that were removed. 0 keeps them for ever."""
    keep_llm_days: float = Field(default=7.0, ge=0)
    """Days until the record of a call to a language model goes. 0 keeps them for ever."""
    transcripts: bool = True
    """Whether calls of language models and messages between agents are kept, with what they say, as long as their job.
    What looks like a secret is left out; all else that agents read and write is in it."""
    transcript_letters: int = Field(default=8_000, ge=200, le=20_000)
    """Most letters kept of a request, and of an answer; where one is cut it says so."""
    transcript_entries: int = Field(default=50_000, ge=1, le=10_000_000)
    """Most entries that one host keeps for one job; those that come later are counted."""
