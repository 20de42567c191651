"""A server with OpenAI's interface: `python3 -m alia.server MODEL`. docs/server.md tells more."""
from .app import Server

__all__ = ["Server"]
