"""The version of the package, read off its metadata only when somebody asks."""

from __future__ import annotations

VERSION = "0.1.0"
