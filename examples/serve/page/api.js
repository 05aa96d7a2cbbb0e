// Asks the server this page came from.

export class Fault extends Error {
  /** @param {number} status HTTP status, 0 where nothing answered */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function get(path, signal) {
  return answerOf(path, { signal });
}

export async function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return answerOf(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

async function answerOf(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault(0, "Nothing answers at the address this page came from.");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Fault(response.status, detailOf(body) || `The server answered ${response.status}.`);
  return body;
}

function detailOf({ detail }) {
  return Array.isArray(detail) ? detail.map((one) => `${one.loc.at(-1)}: ${one.msg}`).join("; ") : detail;
}

/** What a fault is called, by its status. */
export function headline(status) {
  if (status === 0) return "The search service is away";
  if (status === 503) return "Elasticsearch does not answer";
  if (status === 409) return "This index was made with another model";
  if (status === 404) return "There is no such thing here";
  if (status === 422) return "This cannot be searched for";
  return "Something went wrong";
}
