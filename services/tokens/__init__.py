"""Tokens: whom we may write to, where they can be reached, and what they agreed to. Not API tokens."""
