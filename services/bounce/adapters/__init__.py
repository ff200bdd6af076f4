"""What bounce talks to: Postgres, delivery, and the SMTP listener."""
