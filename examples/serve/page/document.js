// A whole document: its passages in order, the one that was found marked at its place.

import { readAddress, writeAddress } from "./address.js";
import { get, headline } from "./api.js";
import { label, marked, termsOf, webAddress } from "./text.js";
import { html, nothing, render } from "./vendor/lit-html.js";

const HIDDEN = new Set(["url", "question"]); // shown elsewhere

const parameters = new URLSearchParams(location.search);
const search = readAddress(location.search);
const terms = termsOf(search.query);
const app = document.querySelector("#app");

async function show() {
  const back = writeAddress(search);
  if (back) document.querySelector("#back").href = `./?${back}`;
  render(html`<p role="status" aria-busy="true">Loading …</p>`, app);
  try {
    const found = await get(`document?${new URLSearchParams({ id: parameters.get("id") ?? "" })}`);
    document.title = `${found.title || found.document_id} – Medical search`;
    render(documentView(found), app);
    document.querySelector("#passage")?.scrollIntoView({ block: "center" });
  } catch (error) {
    render(faultView(error), app);
  }
}

function faultView({ status, message }) {
  return html`
    <div class="fault" role="alert">
      <h1>${status === 404 ? "No such document" : headline(status)}</h1>
      <p>${message}</p>
      <button type="button" @click=${show}>Try again</button>
    </div>`;
}

function documentView({ document_id, title, meta, chunks }) {
  const source = webAddress(meta.url);
  return html`
    <h1>${title || document_id}</h1>
    ${meta.question ? html`<p class="question">${meta.question}</p>` : nothing}
    ${source ? html`<p><a href=${source} rel="noreferrer" target="_blank">${source}<span class="hidden"> (new tab)</span></a></p>` : nothing}
    <article class="text">${passages(chunks)}</article>
    <details>
      <summary>Metadata</summary>
      <dl>
        <dt>Id</dt>
        <dd>${document_id}</dd>
        ${Object.entries(meta).filter(([name]) => !HIDDEN.has(name)).map(([name, value]) => html`
          <dt>${label(name)}</dt>
          <dd>${Array.isArray(value) ? value.join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value)}</dd>`)}
      </dl>
    </details>`;
}

function passages(chunks) {
  const wanted = (parameters.get("at") ?? "").split("-").map(Number); // characters of the source document
  let shown = 0; // up to which character
  return chunks.map(({ start, end, content }, number) => {
    const from = start ?? 0;
    const characters = [...content].slice(Math.max(0, shown - from)); // code points, as the offsets count; not twice
    const parts = split(characters, Math.max(from, shown), wanted);
    shown = Math.max(shown, end ?? 0);
    return html`
      <section aria-label="Passage ${number + 1}">
        <p class="place"><small>${start === null ? `passage ${number + 1}` : `characters ${start} to ${end}`}</small></p>
        <p>${parts.map(([text, inside]) => (inside ? found(text) : marked(text, terms)))}</p>
      </section>`;
  });
}

/** Cut a piece of text at the bounds of the wanted part: [[text, whether it is of the part], …]. */
function split(characters, offset, [start, end]) {
  const from = Math.min(Math.max(start - offset, 0), characters.length);
  const to = Math.min(Math.max(end - offset, 0), characters.length);
  if (!(from < to)) return [[characters.join(""), false]];
  const texts = [characters.slice(0, from), characters.slice(from, to), characters.slice(to)];
  return texts.map((text, number) => [text.join(""), number === 1]).filter(([text]) => text);
}

let first = true;

/** The passage; its first part is where the page begins to be read. */
function found(text) {
  const id = first ? "passage" : nothing;
  first = false;
  return html`<mark class="passage" id=${id} tabindex=${id === nothing ? nothing : -1}>${marked(text, terms)}</mark>`;
}

show();
