"""How events travel: the outbox of a service, the bus that carries it, the inbox of the others."""
