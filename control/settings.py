"""The configuration of a stack, with the built-in templates underneath."""

from __future__ import annotations

import os
from pathlib import Path

from colony.config.built_in import BUILT_IN
from colony.config.endpoints import Endpoints, TemporalEndpoint
from colony.config.load import Loaded, load_config
from colony.config.model import Config
from colony.errors import ConfigInvalid
from workflows.templates import with_templates


def load_settings(endpoints: Endpoints) -> Loaded:
    """What `colony up` was started with; raises `ConfigInvalid`."""
    return load_file(Path(endpoints.config_file) if endpoints.config_file else None)


def load_file(path: Path | None) -> Loaded:
    """A configuration file over the built-in templates, under the environment."""
    return load_config(path, environment=os.environ, defaults=with_templates(BUILT_IN))


def temporal_of(endpoints: Endpoints, config: Config) -> TemporalEndpoint:
    """Where Temporal is, for whoever sends something there.

    Raises `ConfigInvalid` where the configuration wants encryption and the endpoints name no keys: nobody may go on
    without, and nobody alone with keys that the others of the stack do not have.
    """
    wanted = config.temporal.codec_key_file
    if wanted and not endpoints.temporal.codec_key_file:
        raise ConfigInvalid(
            f"The configuration has Temporal's payloads encrypted (`temporal.codec_key_file: {wanted}`), "
            f"but {endpoints.file} names no keys.",
            remedy='Name the file there, too: `"temporal": {…, "codec_key_file": "PATH"}`. '
            "Where `colony up` writes it: `colony down`, then `colony up`.",
        )
    return endpoints.temporal


def configured_temporal(endpoints: Endpoints) -> TemporalEndpoint:
    """`temporal_of` by the configuration that `colony up` was started with. Raises `ConfigInvalid`."""
    return temporal_of(endpoints, load_settings(endpoints).config)


def data_roots(endpoints: Endpoints, config: Config) -> tuple[Path, ...]:
    """Folders that job sources may be read from; relative ones count from the folder `colony up` was run in."""
    folder = Path(endpoints.folder)
    if not config.data_roots:
        return (folder,)
    return tuple((folder / root).resolve() for root in config.data_roots)
