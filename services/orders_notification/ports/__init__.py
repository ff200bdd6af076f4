"""What this service needs from outside, as Protocols named for the need."""
