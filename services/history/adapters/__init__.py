"""What history talks to: its store, and the two services that know what it does not."""
