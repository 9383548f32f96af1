"""Shared by all tests. Its place puts this folder on the import path, for `support`."""
