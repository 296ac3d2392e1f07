// An order with the generated TypeScript client: node order.js URL SKU
import { ultramarket } from "ultramarket-client";

const [url, sku] = process.argv.slice(2);
if (url === undefined || sku === undefined) throw new Error("node order.js URL SKU");
const shop = ultramarket(url);

function answered<Answer>({ data, error }: { data?: Answer; error?: { detail: string } }): Answer {
  if (data === undefined) throw new Error(`The shop refused: ${error?.detail}`);
  return data;
}

// Under a key of its own a write may be sent again when no answer came.
const key = () => ({ "Idempotency-Key": crypto.randomUUID() });

const { id } = answered(await shop.POST("/carts", { params: { header: key() } }));
const path = { id };
answered(await shop.POST("/carts/{id}/lines", { params: { path, header: key() }, body: { sku, quantity: 2 } }));
const cart = answered(
  await shop.PATCH("/carts/{id}", {
    params: { path },
    body: {
      email: "ada@example.com",
      shipping_method: "standard",
      shipping_address: { name: "Ada L.", line1: "12 Mill Lane", city: "Albany", postal_code: "12207", country: "US" },
    },
  }),
);
const order = answered(
  await shop.POST("/orders", {
    params: { header: key() },
    body: { cart_id: id, cart_version: cart.version, payment: { gateway: "sandbox", method: "ok" } },
  }),
);
console.log(order.number, order.payment_status, order.totals?.total.amount);
