// Tables with class "sortable" sort by a click on a title; without this script they stand in their own order.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const titles = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const body = table.tBodies[0];
  const valueOf = (row, column) => row.cells[column].dataset.value;
  titles.forEach((title, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...title.childNodes);
    title.append(button);
    button.addEventListener("click", () => {
      const numeric = [...body.rows].every((row) => valueOf(row, column) === "" || !isNaN(valueOf(row, column)));
      const down = title.getAttribute("aria-sort") ? title.getAttribute("aria-sort") === "ascending" : numeric;
      for (const other of titles) other.removeAttribute("aria-sort");
      title.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [valueOf(a, column), valueOf(b, column)];
        if (x === "" || y === "") return (x === "") - (y === ""); // what is missing comes last, whatever the order
        const order = numeric ? x - y : x < y ? -1 : x > y ? 1 : 0;
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
}
