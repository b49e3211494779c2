"""Fixtures of the tests of bulk runs."""

from __future__ import annotations

import pytest

from tests.bulk.scripted_job import World


@pytest.fixture
def world() -> World:
    return World()
