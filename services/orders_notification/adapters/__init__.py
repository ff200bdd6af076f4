"""What speaks to the outside; only app.py names these."""
