"""Values and rules of recipients, devices, consent, replies and imports: pure, synchronous."""
