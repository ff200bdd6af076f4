"""Concrete adapters; only app.py names them."""
