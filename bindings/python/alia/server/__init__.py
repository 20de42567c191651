"""A server with OpenAI's interface: `python -m alia.server MODEL`. docs/server.md tells more."""
from .app import Server

__all__ = ["Server"]
