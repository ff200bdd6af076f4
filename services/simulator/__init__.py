"""Providers on real sockets: what the suite sends to until real ones are configured."""
