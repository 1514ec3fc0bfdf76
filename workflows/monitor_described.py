"""`website_monitor` as lists of templates show it. It is no pipeline: its one step goes round for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from colony.config.templates import InputConfig
from colony.sites import SiteSpec

DESCRIPTION: Final = "Watches sites until it is cancelled: states, alerts, events, a webhook, daily reports."

NO_CALL: Final = "it runs until it is cancelled, so that no pipeline could go on after it"
"""Why no template may call it."""

Kind = Literal["string", "integer", "number", "boolean", "path", "list", "object"]


def _of_site(field: str, kind: Kind, description: str) -> InputConfig:
    """An input that stands for all sites: its default is that of a site."""
    default: Any = SiteSpec.model_fields[field].default
    return InputConfig(type=kind, default=default, description=description)


INPUTS: Final[Mapping[str, InputConfig]] = {
    "sites": InputConfig(type="list", description="URLs, or objects with `url`, `name` and what follows"),
    "source": InputConfig(type="path", description="CSV or YAML file below a data root that lists more sites"),
    "webhook": InputConfig(description="URL that gets a POST with each change of state"),
    "interval": _of_site("interval", "number", "seconds between two checks of a site"),
    "timeout": _of_site("timeout", "number", "seconds until no answer counts as none"),
    "slow_seconds": _of_site("slow_seconds", "number", "an answer that takes longer is a worry"),
    "certificate_days": _of_site("certificate_days", "number", "a certificate that ends sooner is a worry"),
    "failures": _of_site("failures", "integer", "bad checks in a row before a site counts as worse"),
    "recoveries": _of_site("recoveries", "integer", "better checks in a row before it counts as better"),
    "tell_changes": _of_site("tell_changes", "boolean", "whether a change of the content is an event"),
}
"""See `workflows.monitor_contracts.MonitorInput`, beside what every job may be given; sites or a source are needed."""
