"""The version, read by the build without importing agrad."""

__version__ = "0.1.0"
