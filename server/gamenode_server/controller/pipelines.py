"""Storing pipelines and taking them out of use: what operators apply, and what comes with the program."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.records import NewAudit, NewEvent, PipelineVersion
from gamenode_server.store.tx import Tx

Result = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Source:
    """One pipeline that was found good."""

    name: str
    text: str
    description: str
    #: As `files.packed` makes them.
    files: bytes = b""

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the text, and of the files where there are some."""
        return hashlib.sha256(self.text.encode() + (b"\0" + self.files if self.files else b"")).hexdigest()


@dataclass(frozen=True, slots=True)
class AppliedPipeline:
    """What became of one: the version in force, and whether that is new."""

    stored: PipelineVersion
    result: Result


def apply_pipelines(
    sources: Sequence[Source], *, by: str, audit: NewAudit, dry_run: bool = False
) -> Callable[[Tx], tuple[AppliedPipeline, ...]]:
    """Stores every pipeline whose text is new as its next version. With `dry_run` only says what would happen."""

    def op(tx: Tx) -> tuple[AppliedPipeline, ...]:
        applied = tuple(_apply(tx, source, by=by, shipped=False, dry_run=dry_run) for source in sources)
        tx.audit(audit)
        return applied

    return op


def sync_library(sources: Sequence[Source]) -> Callable[[Tx], tuple[AppliedPipeline, ...]]:
    """Stores the program's own pipelines where they are new or newer. One that an operator changed is left alone."""

    def op(tx: Tx) -> tuple[AppliedPipeline, ...]:
        applied = []
        for source in sources:
            newest = tx.pipeline(source.name)
            if newest is not None and not newest.shipped:
                applied.append(AppliedPipeline(newest, "unchanged"))
            else:
                applied.append(_apply(tx, source, by="gamenode", shipped=True, dry_run=False))
        return tuple(applied)

    return op


def remove_pipelines(names: Sequence[str], *, by: str, audit: NewAudit) -> Callable[[Tx], tuple[PipelineVersion, ...]]:
    """Takes pipelines out of use, all or none: each gets a last version without a text. Runs go on.

    Raises GameNodeError(NOT_FOUND) where one is not in use.
    """

    def op(tx: Tx) -> tuple[PipelineVersion, ...]:
        found = [_in_use(tx, name) for name in dict.fromkeys(names)]
        removed = tuple(_without_text(newest, by=by, at=tx.now) for newest in found)
        for version in removed:
            tx.put_pipeline(version)
            tx.emit([NewEvent(type="pipeline.removed", actor=by, data={"name": version.name})])
        tx.audit(audit)
        return removed

    return op


def _in_use(tx: Tx, name: str) -> PipelineVersion:
    newest = tx.pipeline(name)
    if newest is None or newest.removed:
        raise GameNodeError(Code.NOT_FOUND, f"there is no pipeline {name!r}")
    return newest


def _without_text(newest: PipelineVersion, *, by: str, at: float) -> PipelineVersion:
    empty = Source(newest.name, "", "")
    return PipelineVersion(
        name=newest.name,
        version=newest.version + 1,
        text=empty.text,
        description=empty.description,
        sha256=empty.sha256,
        created_at=at,
        created_by=by,
    )


def _apply(tx: Tx, source: Source, *, by: str, shipped: bool, dry_run: bool) -> AppliedPipeline:
    newest = tx.pipeline(source.name)
    digest = source.sha256
    if newest is not None and newest.sha256 == digest:
        return AppliedPipeline(newest, "unchanged")
    result: Result = "created" if newest is None or newest.removed else "updated"
    version = PipelineVersion(
        name=source.name,
        version=1 if newest is None else newest.version + 1,
        text=source.text,
        description=source.description,
        sha256=digest,
        created_at=tx.now,
        created_by=by,
        shipped=shipped,
        files=source.files,
    )
    if not dry_run:
        tx.put_pipeline(version)
        data = {"name": version.name, "version": str(version.version)}
        tx.emit([NewEvent(type=f"pipeline.{result}", actor=by, data=data)])
    return AppliedPipeline(version, result)
