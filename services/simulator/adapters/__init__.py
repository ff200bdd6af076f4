"""The protocols that it speaks."""
