"""What happened to every message, and why: timelines, the audit, verdicts."""
