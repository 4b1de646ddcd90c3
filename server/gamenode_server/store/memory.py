"""What the writer's thread holds beside its connection: caches with the way back, and the counters of the database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gamenode_pipelines.runs import Run
from gamenode_pipelines.tasks import Task
from gamenode_server.records import JoinToken, NewAudit, Node, PipelineVersion, User
from gamenode_server.store.audit_chain import GENESIS, AuditRow, canonical, chain_mac
from gamenode_server.store.cache import Bundles, HotCache

#: Key in `meta` of the counters, which never go backwards, whatever rows are deleted.
SEQUENCES_KEY = "store.sequences"
#: Key in `meta` of the highest cursor that was deleted.
PRUNED_KEY = "store.pruned_cursor"
ANSWERS = 10_000
TOKENS = 10_000


class Memory:
    """The writer's caches. Each `restore_…(key, old)` undoes one change."""

    def __init__(self) -> None:
        self.cache = HotCache()
        self.bundles = Bundles()
        self.tokens: dict[str, JoinToken] = {}
        self.answers: dict[tuple[str, str], tuple[str, str, float]] = {}

    def trim(self) -> None:
        """Forgets what is looked up least: the oldest answers and tokens."""
        while len(self.answers) > ANSWERS:
            del self.answers[next(iter(self.answers))]
        while len(self.tokens) > TOKENS:
            del self.tokens[next(iter(self.tokens))]

    def restore_meta(self, key: str, old: str | None) -> None:
        """Undoes a change of a setting."""
        if old is None:
            del self.cache.meta[key]
        else:
            self.cache.meta[key] = old

    def restore_run(self, key: str, old: Run | None) -> None:
        """Undoes a change of a run."""
        if old is None:
            self.cache.drop_run(key)
        else:
            self.cache.set_run(old)

    def restore_task(self, key: str, old: Task | None) -> None:
        """Undoes a change of a task."""
        if old is None:
            self.cache.drop_task(key)
        else:
            self.cache.set_task(old)

    def restore_node(self, key: str, old: Node | None) -> None:
        """Undoes a change of a node."""
        if old is None:
            self.cache.drop_node(key)
        else:
            self.cache.set_node(old)

    def restore_pipeline(self, key: tuple[str, int], old: PipelineVersion | None) -> None:
        """Undoes a new version of a pipeline."""
        if old is None:
            del self.cache.pipelines[key[0]]
        else:
            self.cache.pipelines[key[0]] = old

    def restore_user(self, key: str, old: User | None) -> None:
        """Undoes a change of a user."""
        if old is None:
            del self.cache.users[key]
        else:
            self.cache.users[key] = old

    def restore_bundle(self, key: str, old: tuple[bytes, float] | None) -> None:
        """Undoes a new bundle, or its use."""
        self.bundles.drop(key)
        if old is not None:
            self.bundles.add(key, old)

    def restore_token(self, key: str, old: JoinToken | None) -> None:
        """Undoes a change of a token."""
        if old is None:
            del self.tokens[key]
        else:
            self.tokens[key] = old

    def restore_answer(self, key: tuple[str, str], old: tuple[str, str, float] | None) -> None:
        """Undoes an answer."""
        if old is None:
            del self.answers[key]
        else:
            self.answers[key] = old


@dataclass(slots=True)
class Sequences:
    """The highest time, event cursor and audit row of the database, and the key and the end of the audit chain."""

    audit_key: bytes
    time: float = 0.0
    cursor: int = 0
    audit_seq: int = 0
    audit_mac: str = GENESIS

    @classmethod
    def stored(
        cls, meta: Mapping[str, str], *, audit_key: bytes, cursor: int, audit_seq: int, audit_mac: str
    ) -> Sequences:
        """The counters of a database with these newest rows."""
        time, kept_cursor, kept_seq = json.loads(meta.get(SEQUENCES_KEY, "[0.0, 0, 0]"))
        return cls(audit_key, time, max(cursor, kept_cursor), max(audit_seq, kept_seq), audit_mac)

    def copy(self) -> Sequences:
        """The same counters, to count on with."""
        return replace(self)

    def row(self) -> tuple[str, str]:
        """The counters as a row of `meta`."""
        return SEQUENCES_KEY, json.dumps([self.time, self.cursor, self.audit_seq])

    def next_cursor(self) -> int:
        """A new event's cursor."""
        self.cursor += 1
        return self.cursor

    def chain(self, new: NewAudit, now: float) -> AuditRow:
        """The next row of the audit chain."""
        self.audit_seq += 1
        row = AuditRow(
            seq=self.audit_seq,
            time=now,
            principal=new.principal,
            method=new.method,
            target=new.target,
            outcome=new.outcome,
            request=new.request,
            source=new.source,
            reason=new.reason,
            prev=self.audit_mac,
            mac="",
        )
        self.audit_mac = chain_mac(self.audit_key, self.audit_mac, canonical(row))
        return replace(row, mac=self.audit_mac)
