"""Domains: one folder per physics, found by its name."""
