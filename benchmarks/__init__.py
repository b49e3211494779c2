"""The SDK's cost beside that of other clients: ``python -m benchmarks``, or ``nox -s bench``."""
