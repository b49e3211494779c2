"""The API's resources: each operation as data, and what to do with its answer."""
