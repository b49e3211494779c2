"""The resource "Client": its models, its codec and its operations."""
