"""The operator's side: the `gamenode` client and the terminal console.

gateway/     the only part that speaks gRPC: finding the server, calls, streams that resume
cli/         one file per command group
the rest     pure: messages in, JSON documents, table rows and lines of text out
"""

from __future__ import annotations
