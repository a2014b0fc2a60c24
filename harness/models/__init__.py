"""The models: our own classes, registered with transformers on import, and the adapters that run
every family behind one protocol. Loads torch."""

from __future__ import annotations
