"""A product file of any size, in the layout that shops export."""

import csv
import io


def catalogue(variants: int, name: str, *, per_product: int = 10, pieces: int = 7) -> bytes:
    """A product file of that many variants, `NAME-0` and on, with so many pieces of each in stock."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([
        *("Handle", "Title", "Body (HTML)", "Vendor", "Tags", "Published", "Option1 Name", "Option1 Value"),
        *("Variant SKU", "Variant Grams", "Variant Inventory Tracker", "Variant Inventory Qty"),
        *("Variant Inventory Policy", "Variant Price", "Image Src", "Status"),
    ])  # fmt: skip
    for number in range(variants):
        product, place = divmod(number, per_product)
        handle = f"{name}-{product}"
        first = [f"Thing {product}", f"<p>{'A thing of many words. ' * 20}</p>", "Maker", "things", "true", "Size"]
        image = f"https://example.com/{handle}.jpg"
        writer.writerow([
            *(handle, *(first if place == 0 else [""] * 6), f"S{place}"),
            *(f"{name.upper()}-{number}", 100, "shopify", pieces, "deny", f"{10 + place}.50"),
            *((image, "active") if place == 0 else ("", "")),
        ])  # fmt: skip
    return out.getvalue().encode()
