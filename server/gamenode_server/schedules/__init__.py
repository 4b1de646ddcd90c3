"""Pipelines that start by themselves: which there are, how far each has come, and the starts.

What is due is decided by `gamenode_pipelines.schedules`; this keeps the decisions and carries them out.
"""
