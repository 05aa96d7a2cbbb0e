// The state of a search, as it stands in the page's address: q, and f.FIELD for each value that is filtered by.

const FILTER = "f.";

/** @returns {{query: string, selected: Object<string, string[]>}} */
export function readAddress(search) {
  const selected = Object.create(null); // a field may be called constructor
  const parameters = new URLSearchParams(search);
  for (const [name, value] of parameters) {
    if (name.startsWith(FILTER)) (selected[name.slice(FILTER.length)] ??= []).push(value);
  }
  return { query: (parameters.get("q") ?? "").trim(), selected };
}

export function writeAddress({ query, selected }) {
  const parameters = new URLSearchParams();
  if (query) parameters.set("q", query);
  for (const [field, values] of Object.entries(selected)) {
    for (const value of values) parameters.append(FILTER + field, value);
  }
  return parameters.toString();
}

/** Where a passage is shown in its document; the search goes along, so that one can come back to it. */
export function documentAddress(passage, state) {
  const parameters = new URLSearchParams(writeAddress(state));
  parameters.set("id", passage.document_id);
  if (passage.start !== null) parameters.set("at", `${passage.start}-${passage.end}`);
  return `document.html?${parameters}`;
}

/** What is filtered by, in Haystack's filter language. */
export function haystackFilters(selected) {
  const conditions = Object.entries(selected).map(([field, value]) => ({ field: `meta.${field}`, operator: "in", value }));
  return conditions.length ? { operator: "AND", conditions } : null;
}
