"""A shop: its texts and communications as files, and a day of its events."""
