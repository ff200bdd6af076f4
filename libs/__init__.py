"""What every service stands on. Libraries know nothing of services."""
