"""Who may come in: the cluster's certificate authority, join tokens, certificates, principals and roles."""

from __future__ import annotations
