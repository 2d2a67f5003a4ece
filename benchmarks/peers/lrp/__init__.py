"""Packages that compute layer-wise relevance propagation."""
