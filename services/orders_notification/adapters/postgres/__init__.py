"""All SQL of this service, one module per aggregate."""
