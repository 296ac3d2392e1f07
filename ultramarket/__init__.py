"""UltraMarket: an async, actor-based e-commerce platform."""

__version__ = "0.1.0"
