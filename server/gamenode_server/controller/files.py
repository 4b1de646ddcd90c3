"""Files that travel with pipelines: checked when they come, kept with the version, laid into bundles. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from gamenode_pipelines.errors import Problem
from gamenode_pipelines.load import LoadedPipeline
from gamenode_pipelines.spec_values import MAX_FILE_BYTES, MAX_FILES_BYTES
from gamenode_pipelines.wording import shown
from gamenode_proto.codec.plan import BundleFile
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_proto.v1 import plan_pb2


def files_of(pipeline: LoadedPipeline, source: pb.PipelineSource) -> tuple[BundleFile, ...]:
    """Those of the files that came with a source which the pipeline names, in its order."""
    given = {file.path: file for file in source.files}
    return tuple(
        BundleFile(path, given[path].content, 0o755 if given[path].mode & 0o100 else 0o644)
        for path in pipeline.spec.files
        if path in given
    )


def file_problems(pipeline: LoadedPipeline, source: pb.PipelineSource) -> Iterator[Problem]:
    """What is wrong with the files of a pipeline."""
    files = files_of(pipeline, source)
    missing = set(pipeline.spec.files) - {file.path for file in files}
    for path in sorted(missing):
        yield Problem(source.file, 1, 1, f"pipeline {pipeline.name!r} names the file {shown(path)}, which is not there")
    for file in files:
        if len(file.content) > MAX_FILE_BYTES:
            yield Problem(source.file, 1, 1, f"the file {shown(file.path)} is larger than {MAX_FILE_BYTES >> 20} MiB")
    if sum(len(file.content) for file in files) > MAX_FILES_BYTES:
        yield Problem(source.file, 1, 1, f"the files of {pipeline.name!r} have more than {MAX_FILES_BYTES >> 20} MiB")


def packed(files: Iterable[BundleFile]) -> bytes:
    """The files as a version keeps them: the same ones always give the same bytes; none give none."""
    bundle = plan_pb2.Bundle()
    for file in sorted(files, key=lambda file: file.path):
        bundle.files.add(path=file.path, content=file.content, mode=file.mode)
    return bundle.SerializeToString(deterministic=True)


def unpacked(data: bytes) -> tuple[BundleFile, ...]:
    """The files in what a version keeps."""
    bundle = plan_pb2.Bundle.FromString(data)
    return tuple(BundleFile(file.path, file.content, file.mode) for file in bundle.files)


def stored_files(data: bytes) -> Sequence[pb.StoredFile]:
    """What a version's files are, for people."""
    return [
        pb.StoredFile(
            path=file.path,
            size=len(file.content),
            mode=file.mode,
            sha256=hashlib.sha256(file.content).hexdigest(),
        )
        for file in (unpacked(data) if data else ())
    ]
