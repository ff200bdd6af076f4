"""The technology behind the ports of delivery; only app.py names these modules."""
