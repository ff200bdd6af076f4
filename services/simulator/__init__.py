"""Providers on real sockets, which the suite uses until real ones are configured."""
