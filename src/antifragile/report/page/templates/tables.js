// Sorting and filtering of the tables that the page already holds.
AF.tables = {};

AF.tables.sort = (table, column, ascending) => {
  const body = table.tBodies[0];
  const key = (row) => row.cells[column].dataset.sort;
  const isNumber = [...body.rows].every((row) => key(row) === "" || Number.isFinite(Number(key(row))));
  const order = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const sign = ascending ? 1 : -1;
    return sign * (isNumber ? Number(x) - Number(y) : AF.tables.collator.compare(x, y));
  };
  body.append(...[...body.rows].sort(order));
};

AF.tables.collator = new Intl.Collator("en", { numeric: true });

AF.tables.start = () => {
  for (const table of document.querySelectorAll("table[data-table]")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) =>
      head.querySelector("button").addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        AF.tables.sort(table, column, ascending);
      })
    );
  }
  for (const input of document.querySelectorAll("input[data-filter]")) {
    const table = document.querySelector(`table[data-table="${input.dataset.filter}"]`);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
};
