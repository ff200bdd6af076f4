"""Delivery: the send ledger, the providers, and what comes back."""
