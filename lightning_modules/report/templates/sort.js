// A click on the head of a column sorts by it, another one the other way round; what has no value stays last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== (head.dataset.first === "up" ? "ascending" : "descending")
      ? head.dataset.first === "up" : head.dataset.first !== "up";
    const key = (row) => row.cells[head.cellIndex].dataset.key ?? row.cells[head.cellIndex].textContent.trim();
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => (a === "") - (b === "") || (up ? 1 : -1) *
      (head.dataset.kind === "number" ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true })));
    body.append(...rows.map(([, row]) => row));
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
  });
}
