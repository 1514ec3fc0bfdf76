"""The section `temporal` of `agent_config.yaml`. Pure data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from colony.config.section import Section


class TemporalConfig(Section):
    """Versions of the workers, and encryption of what Temporal keeps."""

    versioning: bool = True
    """Whether workers carry a version, so that a long job keeps the code it began with until it can change over."""
    deployment: str = Field(default="colony", pattern=r"^[A-Za-z0-9_-]{1,60}$")
    """Name of the Worker Deployment; the same for all workers of one namespace."""
    build_id: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,120}$")
    """Version of the workers; empty for one worked out of the code, the templates and the fleet's types."""
    promote: Literal["auto", "manual"] = "auto"
    """`auto`: a worker with a new build makes its version the current one. `manual`: `colony worker promote` does."""
    codec_key_file: str = ""
    """File (mode 0600) with the keys that encrypt what Temporal keeps, the first one in use; empty for none."""
