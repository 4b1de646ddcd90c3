"""Tells people and programs of events: webhooks and commands, named in the config file; nothing untold is lost."""
