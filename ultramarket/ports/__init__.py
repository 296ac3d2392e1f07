"""What the platform needs from the outside world, as Protocols; the adapters of equal name implement them."""
