"""Policies: plain objects that decide."""
