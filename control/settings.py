"""The configuration of a stack, with the built-in templates underneath."""

from __future__ import annotations

import os
from pathlib import Path

from colony.config.built_in import BUILT_IN
from colony.config.endpoints import Endpoints
from colony.config.load import Loaded, load_config
from colony.config.model import Config
from workflows.templates import with_templates


def load_settings(endpoints: Endpoints) -> Loaded:
    """What `colony up` was started with; raises `ConfigInvalid`."""
    return load_file(Path(endpoints.config_file) if endpoints.config_file else None)


def load_file(path: Path | None) -> Loaded:
    """A configuration file over the built-in templates, under the environment."""
    return load_config(path, environment=os.environ, defaults=with_templates(BUILT_IN))


def data_roots(endpoints: Endpoints, config: Config) -> tuple[Path, ...]:
    """Folders that job sources may be read from; relative ones count from the folder `colony up` was run in."""
    folder = Path(endpoints.folder)
    if not config.data_roots:
        return (folder,)
    return tuple((folder / root).resolve() for root in config.data_roots)
