"""Layers draw their first values: every test of one begins at the same place of the stream."""

import pytest

import agrad


@pytest.fixture(autouse=True)
def drawn_alike_in_every_run():
    agrad.manual_seed(0)
