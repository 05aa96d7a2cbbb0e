// The search page: one state, one view of it.

import { documentAddress, haystackFilters, readAddress, writeAddress } from "./address.js";
import { Fault, get, headline, post } from "./api.js";
import { label, marked, snippet, termsOf, webAddress } from "./text.js";
import { html, nothing, render } from "./vendor/lit-html.js";

const SIDES = [
  { mode: "hybrid", name: "Hybrid", hint: "vectors and words together" },
  { mode: "dense", name: "Dense", hint: "nearest by meaning", score: "cosine" },
  { mode: "lexical", name: "BM25", hint: "by the words themselves", score: "BM25" },
];
const EXAMPLES = [
  "what causes kidney stones",
  "trouble breathing at night and loud snoring",
  "how is high blood pressure treated without drugs",
];
const SHOWN_VALUES = 8; // of a facet, before it is opened

const form = document.querySelector("#form");
const input = document.querySelector("#query");
const state = {
  ...readAddress(location.search),
  served: null,
  facets: [],
  answers: {}, // by mode, those of the last search until this one has its own
  awaited: [], // the modes that have not answered yet
  fault: null,
  blank: false, // whether a search for nothing was asked for
};
let running = new AbortController();

function update(changes) {
  Object.assign(state, changes);
  render(page(), document.querySelector("#app"));
  render(served(), document.querySelector("#served"));
  document.title = state.query ? `${state.query} – Medical search` : "Medical search";
}

// -- asking ---------------------------------------------------------------------------------------------------------

async function search() {
  running.abort();
  const { signal } = (running = new AbortController());
  update({ fault: null, blank: false, awaited: state.query ? SIDES.map(({ mode }) => mode) : [] });
  try {
    await Promise.all([askFacets(signal), state.served ?? askServed(signal)]);
    await askSides(signal);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    running.abort(); // what else is under way
    update({ fault: error instanceof Fault ? error : new Fault(-1, String(error)), awaited: [] });
  }
}

/** One after another: side by side they would slow each other down, and the times shown would mean little. */
async function askSides(signal) {
  const { query, selected } = state;
  if (!query) return update({ answers: {} });
  for (const { mode } of SIDES) {
    const { result } = await post("search/run", { query, mode, filters: haystackFilters(selected) }, signal);
    update({
      answers: { ...state.answers, [mode]: { ...result, query } },
      awaited: state.awaited.filter((one) => one !== mode),
    });
  }
}

async function askFacets(signal) {
  const { facets } = await post("facets", { selected: state.selected }, signal);
  update({ facets });
}

async function askServed(signal) {
  update({ served: await get("health", signal) });
}

function go(changes) {
  const address = `?${writeAddress({ ...state, ...changes })}`;
  Object.assign(state, readAddress(address));
  if (address !== location.search) history.pushState(null, "", address);
  search();
}

function choose(field, value, on) {
  const values = (state.selected[field] ?? []).filter((one) => one !== value);
  const { [field]: _, ...others } = state.selected;
  const chosen = on ? [...values, value] : values;
  go({ selected: chosen.length ? { ...others, [field]: chosen } : others });
}

// -- showing --------------------------------------------------------------------------------------------------------

function page() {
  return html`
    <p id="status" role="status" aria-live="polite">${statusText()}</p>
    <div class="layout">
      ${filtersView()}
      <section id="results" tabindex="-1" aria-label="Results">
        ${state.fault ? faultView() : state.query ? sidesView() : welcome()}
      </section>
    </div>`;
}

function served() {
  if (!state.served) return nothing;
  const { index, documents, model } = state.served;
  const name = model.split("/").at(-1);
  return html`<small><strong>${index}</strong> · ${documents.toLocaleString("en")} documents · ${name}</small>`;
}

function statusText() {
  if (state.fault) return nothing;
  if (state.blank) return "Type a question first.";
  if (state.awaited.length) return "Searching …";
  if (!state.query) return nothing;
  if (nothingFound()) return "Nothing found.";
  return `Found ${SIDES.map(({ mode, name }) => `${state.answers[mode].documents.length} by ${name}`).join(", ")}.`;
}

function nothingFound() {
  return SIDES.every(({ mode }) => state.answers[mode]?.documents.length === 0);
}

function faultView() {
  const { status, message } = state.fault;
  return html`
    <div class="fault" role="alert">
      <h2>${headline(status)}</h2>
      <p>${message}</p>
      <button type="button" @click=${search}>Try again</button>
    </div>`;
}

function welcome() {
  return html`
    <div class="welcome">
      <h1>Ask the index a medical question</h1>
      <p>
        Each search runs three ways, side by side: by meaning, by words, and by both. Documents come with their best
        passage; open one to read the passage in its place.
      </p>
      <p>For example:</p>
      <ul>
        ${EXAMPLES.map((one) => html`<li><a href="?${writeAddress({ query: one, selected: {} })}">${one}</a></li>`)}
      </ul>
    </div>`;
}

function sidesView() {
  if (nothingFound() && !state.awaited.length) return nothingView();
  return html`
    <h1 class="hidden">Results for ${state.query}</h1>
    <nav class="sides" aria-label="Ways to search">
      ${SIDES.map(({ mode, name }) => html`<a href="#${mode}">${name}</a>`)}
    </nav>
    <div class="columns">${SIDES.map(sideView)}</div>`;
}

function nothingView() {
  const filtered = Object.keys(state.selected).length > 0;
  return html`
    <div class="welcome">
      <h1>Nothing found${filtered ? " under these filters" : ""}</h1>
      <p>${filtered ? clearButton() : "Nothing in this index matches."}</p>
    </div>`;
}

function sideView(side) {
  const answer = state.answers[side.mode];
  const waits = state.awaited.includes(side.mode);
  return html`
    <section id=${side.mode} class="side" aria-labelledby="${side.mode}-name">
      <header>
        <h2 id="${side.mode}-name">${side.name}</h2>
        <p class="hint">${side.hint}</p>
        <p class="latency">${answer && !waits ? `${Math.round(answer.took_ms)} ms` : nothing}</p>
      </header>
      <div class=${waits && answer ? "old" : ""} aria-busy=${waits ? "true" : "false"}>
        ${answer ? hits(answer, side) : nothing}
      </div>
    </section>`;
}

function hits({ documents, query }, side) {
  if (!documents.length) return html`<p class="none">Nothing found this way.</p>`;
  const terms = termsOf(query);
  return html`<ol>${documents.map((one) => hit(one, side, terms))}</ol>`;
}

function hit(passage, side, terms) {
  const { document_id, title, content, score, meta } = passage;
  const source = webAddress(meta.url);
  return html`
    <li data-document=${document_id}>
      <h3><a href=${documentAddress(passage, state)}>${marked(title || document_id, terms)}</a></h3>
      ${meta.question ? html`<p class="question">${meta.question}</p>` : nothing}
      <p class="snippet">${snippet(content, terms)}</p>
      <p class="facts">
        ${side.mode === "hybrid" ? foundBy(passage) : html`<span>${side.score} ${shownScore(score)}</span>`}
        ${meta.source ? html`<span>${meta.source}</span>` : nothing}
        ${source ? html`<a href=${source} rel="noreferrer" target="_blank">source<span class="hidden"> of ${title} (new tab)</span></a>` : nothing}
      </p>
    </li>`;
}

function foundBy({ found_by }) {
  const names = { dense: "dense", lexical: "BM25" };
  return Object.entries(names).map(([side, name]) =>
    found_by[side] ? html`<span>${name} #${found_by[side].rank}</span>` : html`<span class="not">not by ${name}</span>`,
  );
}

function shownScore(score) {
  return score.toFixed(score < 10 ? 3 : 1);
}

function filtersView() {
  if (!state.facets.length) return nothing;
  const chosen = Object.values(state.selected).flat().length;
  return html`
    <details class="filters" ?open=${wide.matches}>
      <summary>Filters${chosen ? html` <span class="count">${chosen}</span>` : nothing}</summary>
      ${chosen ? clearButton() : nothing}
      ${state.facets.map(facetView)}
    </details>`;
}

function clearButton() {
  return html`<button type="button" class="outline clear" @click=${() => go({ selected: {} })}>Clear filters</button>`;
}

function facetView({ field, values }) {
  const first = values.slice(0, SHOWN_VALUES);
  const rest = values.slice(SHOWN_VALUES);
  return html`
    <fieldset>
      <legend>${label(field)}</legend>
      ${first.map((one) => valueView(field, one))}
      ${rest.length
        ? html`<details><summary>${rest.length} more</summary>${rest.map((one) => valueView(field, one))}</details>`
        : nothing}
    </fieldset>`;
}

function valueView(field, { value, documents }) {
  const on = (state.selected[field] ?? []).includes(value);
  return html`
    <label class=${documents || on ? "" : "empty"}>
      <input type="checkbox" name=${field} .checked=${on}
        @change=${(event) => choose(field, value, event.target.checked)}>
      <span>${value}</span> <span class="count">${documents.toLocaleString("en")}</span>
    </label>`;
}

// -- events ---------------------------------------------------------------------------------------------------------

const wide = matchMedia("(min-width: 75rem)"); // the filters stand beside the results

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const query = input.value.trim();
  if (query) {
    go({ query });
  } else {
    input.focus();
    update({ blank: true });
  }
});

addEventListener("popstate", () => {
  const address = readAddress(location.search);
  if (writeAddress(address) === writeAddress(state)) return; // a leap to another side
  Object.assign(state, address);
  input.value = state.query;
  search();
});

addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
  event.preventDefault();
  input.focus();
  input.select();
});

for (const [kind, on] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
  document.querySelector("#app").addEventListener(kind, (event) => {
    const name = event.target.closest("[data-document]")?.dataset.document;
    if (!name) return;
    for (const one of document.querySelectorAll(`[data-document="${CSS.escape(name)}"]`)) {
      one.classList.toggle("same", on);
    }
  });
}

wide.addEventListener("change", () => update({}));
input.value = state.query;
if (!state.query) input.focus();
search();
