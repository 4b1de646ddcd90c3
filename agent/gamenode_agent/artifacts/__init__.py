"""Artifacts on a node: carried to and from the server, and those that the node keeps itself."""
