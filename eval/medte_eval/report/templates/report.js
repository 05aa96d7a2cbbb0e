// Tables that are sorted by their headers: a button in each, which says with aria-sort how it is sorted now.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const descending = header.ariaSort ? header.ariaSort === "ascending" : isNumeric(table, column);
      for (const other of headers) other.ariaSort = null;
      header.ariaSort = descending ? "descending" : "ascending";
      for (const body of table.tBodies) sort(body, column, descending ? -1 : 1);
    });
  });
}

function cells(body, column) {
  return [...body.rows].filter((row) => !row.classList.contains("group")).map((row) => [row, row.cells[column]]);
}

function isNumeric(table, column) {
  const values = [...table.tBodies].flatMap((body) => cells(body, column)).map(([, cell]) => cell.dataset.value);
  return values.some(Boolean) && values.every((value) => value === undefined || !Number.isNaN(Number(value)));
}

// Rows stay in their group, and those without a value come last.
function sort(body, column, sign) {
  const rows = cells(body, column).map(([row, cell]) => [row, cell.dataset.value]);
  rows.sort(([, a], [, b]) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    const order = Number(a) - Number(b);
    return sign * (Number.isNaN(order) ? a.localeCompare(b) : order);
  });
  body.append(...rows.map(([row]) => row));
}
