"""Interlock: safety SLOs for models in production, kept from event to control."""

__version__ = "0.1.0"
