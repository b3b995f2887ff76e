"""The append-only log, the only durable state: the contract and its engines."""
