"""Packages that compute DeepLIFT."""
