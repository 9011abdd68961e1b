from tests.datasets.fixtures import damon, lemon, piad, pico

__all__ = ["damon", "lemon", "piad", "pico"]
