"""What the server says of itself to Prometheus, on an address of its own; off unless `metrics-listen` is set."""
