"""Delivery: the send ledger, the providers, and receipts."""
