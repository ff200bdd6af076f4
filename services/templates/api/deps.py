"""How routes reach what they stand on."""

from fastapi import Request

from services.templates.handlers import Templates


def deps_of(request: Request) -> Templates:
    """The dependencies of this application."""
    deps: Templates = request.app.state.deps
    return deps
