"""The whole cast: every kind of entity and every worker of the shop."""

from actors.cart import Cart
from actors.category_tree import CategoryTree
from actors.collection import Collection
from actors.gateway import GatewayWorker
from actors.importer import Importer
from actors.inventory import Inventory
from actors.order import Order
from actors.payment import Payment
from actors.product import Product
from actors.product_import import Import
from actors.redirect import Redirect
from actors.review import Review

__all__ = [
    "Cart",
    "CategoryTree",
    "Collection",
    "GatewayWorker",
    "Import",
    "Importer",
    "Inventory",
    "Order",
    "Payment",
    "Product",
    "Redirect",
    "Review",
]
