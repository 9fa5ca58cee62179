"""Structured JSON logging on structlog: a log call never raises, never blocks without a bound."""

__version__ = "0.1.0"
