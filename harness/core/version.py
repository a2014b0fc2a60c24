"""The version of the package, which records and requests carry."""

__version__ = "0.1.0"
