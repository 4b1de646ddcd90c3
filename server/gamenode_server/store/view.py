"""The event loop's own copy of what is in memory: the same records, a second index that follows the commits."""

from __future__ import annotations

from gamenode_server.store.cache import HotCache
from gamenode_server.store.commits import Commit


def mirror(cache: HotCache) -> HotCache:
    """A second cache with the same records. `meta` is not followed."""
    view = HotCache()
    for node in cache.nodes():
        view.set_node(node)
    view.pipelines.update(cache.pipelines)
    view.users.update(cache.users)
    for run, tasks in cache.entries():
        view.set_run(run)
        for task in tasks:
            view.set_task(task)
    return view


def follow(view: HotCache, commit: Commit) -> None:
    """Applies a commit; afterwards the view holds the same runs as the cache that the commit was made on."""
    for run, tasks in commit.loaded:
        view.set_run(run)
        for task in tasks:
            view.set_task(task)
    for node_id, node in commit.nodes.items():
        if node is None:
            view.drop_node(node_id)
    for node in commit.nodes.values():
        if node is not None:
            view.set_node(node)
    for pipeline in commit.pipelines.values():
        view.pipelines[pipeline.name] = pipeline
    view.users.update(commit.users)
    for run in commit.runs.values():
        view.set_run(run)
    for task in commit.tasks.values():
        view.set_task(task)
    for run_id in commit.forgotten_runs:
        view.forget_run(run_id)
    view.settle(commit.touched)
