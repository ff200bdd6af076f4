"""Shared by the routes of this service."""

from fastapi import Request

from services.templates.handlers import Templates


def deps_of(request: Request) -> Templates:
    """Return the application's dependencies."""
    deps: Templates = request.app.state.deps
    return deps
