"""History's stores, and the clients of the two services that it queries."""
