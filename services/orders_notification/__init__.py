"""Which business event becomes which notification: intake, sources, communications, releases."""
