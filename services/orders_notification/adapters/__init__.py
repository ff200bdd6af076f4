"""Adapters to the outside; only app.py names them."""
