"""Speaking with game servers: who is in, and their remote consoles. Knows nothing of steps or containers."""
