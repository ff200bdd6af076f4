"""How events travel: a service's outbox, the bus that carries them, the inbox of the subscribers."""
