"""The version, told from one place; the project file repeats it and a test compares."""

__version__ = "0.1.0"
