"""The timeline in MongoDB."""

from services.history.adapters.mongo.timeline import MongoTimeline

__all__ = ["MongoTimeline"]
