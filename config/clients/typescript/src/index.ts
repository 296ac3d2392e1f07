import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, operations, paths } from "./schema.js";

/** The bodies by their names, e.g. `Schemas["Cart"]`. */
export type Schemas = components["schemas"];

/**
 * A client of the shop at a URL, such as `http://127.0.0.1:8080`.
 *
 * @param staffKey for the calls that are for staff; leave it out in a browser.
 */
export function ultramarket(url: string, staffKey?: string): Client<paths> {
  return createClient<paths>({
    baseUrl: `${url.replace(/\/+$/, "")}/api/v1`,
    headers: staffKey === undefined ? {} : { Authorization: `Bearer ${staffKey}` },
  });
}
