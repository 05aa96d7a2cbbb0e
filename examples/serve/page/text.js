// Texts of documents as parts of a template: never as HTML.

import { html } from "./vendor/lit-html.js";

const WORD = /[\p{L}\p{N}]+/gu;
const PASSED_OVER = new Set(
  ("a an and are as at be but by can do does for from had has have how i if in into is it its my no not of on or s such"
    + " than that the their then there these they this to was what when where which who why will with you your").split(" "),
);

/** The words of a query that are worth marking, as `stem` gives them. */
export function termsOf(query) {
  const words = [...query.matchAll(WORD)].map(([word]) => word.toLowerCase());
  const telling = words.filter((word) => !PASSED_OVER.has(word));
  return new Set((telling.length ? telling : words).map(stem));
}

/** A word without accents and the s of its plural. */
function stem(word) {
  const plain = word.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "");
  return plain.length > 3 && /[^suai]s$/.test(plain) ? plain.slice(0, -1) : plain;
}

/** A text whose words that are among the terms are marked. */
export function marked(text, terms) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(WORD)) {
    if (!terms.has(stem(match[0]))) continue;
    parts.push(text.slice(end, match.index), html`<mark>${match[0]}</mark>`);
    end = match.index + match[0].length;
  }
  parts.push(text.slice(end));
  return parts;
}

/** The part of a text that has most of the terms, marked. */
export function snippet(text, terms, length = 240) {
  const found = [...text.matchAll(WORD)].filter(([word]) => terms.has(stem(word)));
  let best = { start: 0, value: -1 };
  for (const [number, first] of found.entries()) {
    const inside = found.slice(number).filter((match) => match.index + match[0].length <= first.index + length);
    const value = new Set(inside.map(([word]) => stem(word))).size + inside.length / 100;
    if (value > best.value) best = { start: first.index, value };
  }
  const room = Math.max(0, best.start - Math.floor(length / 5)); // some words before the first one that is marked
  const start = room && nextWord(text, room);
  const end = start + length >= text.length ? text.length : lastWord(text, start + length);
  return [start ? "… " : "", ...marked(text.slice(start, end).trim(), terms), end < text.length ? " …" : ""];
}

function nextWord(text, at) {
  const blank = text.slice(at).search(/\s/);
  return blank < 0 || blank > 40 ? at : at + blank + 1;
}

function lastWord(text, at) {
  const blank = text.slice(0, at).search(/\s\S*$/);
  return blank < at - 40 ? at : blank;
}

/** An address that may be linked to: documents could carry any scheme. */
export function webAddress(value) {
  try {
    const address = new URL(String(value));
    return ["http:", "https:"].includes(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

/** A field's name as a person would write it. */
export function label(field) {
  const words = field.replaceAll(/[_.]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
