"""Which version the workers of this code and configuration are: the build id, and what the SDK is told of it."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from colony.config.model import Config
from colony.errors import ConfigInvalid
from workflows.coded import says_how_to_upgrade
from workflows.templates import templates_of

_ROOT: Final = Path(__file__).resolve().parents[1]
_CODE: Final = ("workflows/*.py", "colony/*.py", "colony/config/templates.py")
"""What workflows are made of: their modules and activities, the vocabulary they import, the model of templates."""

_DIGITS: Final = 12


def build_of(config: Config, coded: Sequence[type] = ()) -> str:
    """The build id of workers with this configuration: the configured one, or one worked out.

    It is worked out of the code that decides (users' workflow classes included), the templates and the agent types,
    so that the same code and configuration have the same id everywhere. Reads the source files.
    """
    if config.temporal.build_id:
        return config.temporal.build_id
    decides = {
        "templates": {
            name: template.model_dump(mode="json", by_alias=True) for name, template in templates_of(config).items()
        },
        "types": {name: kind.model_dump(mode="json") for name, kind in config.fleet.types.items()},
        "classes": config.workflow_classes,
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
    for label, content in _sources(coded):
        digest.update(f"\0{label}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:_DIGITS]


def deployment_of(config: Config, coded: Sequence[type] = ()) -> WorkerDeploymentConfig | None:
    """What a worker is given; None where workers carry no version.

    A user's workflow that does not say how it changes versions keeps the one it began with: nobody has replayed its
    histories with the next. Raises `ConfigInvalid` for one that does say so where there are no versions: Temporal would
    refuse its every decision, and it would hang.
    """
    if not config.temporal.versioning:
        for each in filter(says_how_to_upgrade, coded):
            raise ConfigInvalid(
                f"The workflow {each.__name__} has a versioning_behavior, but temporal.versioning is false.",
                remedy="Take it away, or let workers carry a version.",
            )
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(config.temporal.deployment, build_of(config, coded)),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )


def _sources(coded: Iterable[type]) -> Iterable[tuple[str, bytes]]:
    for path in sorted(found for pattern in _CODE for found in _ROOT.glob(pattern)):
        yield str(path.relative_to(_ROOT)), path.read_bytes()
    for label, path in sorted({(kind.__module__, inspect.getfile(kind)) for kind in coded}):
        yield label, Path(path).read_bytes()
