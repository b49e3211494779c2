"""What the SDK costs, beside what else there is: ``python -m benchmarks``, or ``nox -s bench``."""
