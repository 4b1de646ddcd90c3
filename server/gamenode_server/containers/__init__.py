"""The containers of the fleet as the server knows them: what nodes told of theirs, and the logs they are asked for.

Owns nothing durable: containers belong to their hosts, and are told again with every session.
"""
