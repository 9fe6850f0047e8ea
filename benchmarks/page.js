// Tables and curves of the page, each unpacked and drawn when it comes near the window.

const unpacked = async (place) => {
  const packed = await fetch(`data:application/gzip;base64,${place.querySelector("script").text}`);
  return new Response(packed.body.pipeThrough(new DecompressionStream("gzip")));
};

const values = async (place) => (await unpacked(place)).json();

const loaded = {};
const library = (id) => (loaded[id] ??= (async () => {
  const source = await (await unpacked(document.getElementById(id))).text();
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const names = await import(url);
  URL.revokeObjectURL(url);
  return names;
})());

const element = (name, text = "") => Object.assign(document.createElement(name), { textContent: text });
const line = (cells) => {
  const row = element("tr");
  row.append(...cells);
  return row;
};

// Columns of codes to rows of values; numbers are sorted by what a cell begins with.
const rows = (columns) =>
  columns[0].codes.map((_, i) => columns.map(({ values, codes }) => values[codes[i]]));
const shown = (escape, number) => (cell, kind) => {
  if (number && (kind === "sort" || kind === "type")) return parseFloat(cell) || (cell === "" ? -Infinity : 0);
  return typeof cell === "number" ? String(Number(cell.toPrecision(6))) : escape(cell);
};

const filters = (table) =>
  table.columns().every(function () {
    const box = element("input");
    box.placeholder = box.ariaLabel = `filter ${this.header().textContent}`;
    box.addEventListener("input", () => this.search(box.value).draw());
    this.footer().replaceChildren(box);
  });

const draw = {
  async table(place) {
    const [{ jQuery }, columns] = await Promise.all([library("tables"), values(place)]);
    const escape = jQuery.fn.dataTable.render.text().display;
    const names = columns.map(({ name }) => name);
    const table = element("table");
    table.className = "display compact nowrap";
    const [head, foot] = [element("thead"), element("tfoot")];
    head.append(line(names.map((name) => element("th", name))));
    foot.append(line(names.map(() => element("th"))));
    table.append(head, foot);
    place.replaceChildren(table);
    filters(jQuery(table).DataTable({
      data: rows(columns),
      columns: columns.map(({ number }) => ({
        type: number ? "num" : "string",
        className: number ? "dt-right" : "dt-left",
        render: shown(escape, number),
      })),
      autoWidth: false,
      deferRender: true,
      order: [],
      pageLength: 25,
      layout: { topStart: "pageLength", topEnd: "search", bottomStart: "info", bottomEnd: "paging" },
    }));
  },
  async curves(place) {
    const [figure] = await Promise.all([values(place), library("curves")]);
    place.replaceChildren();
    Plotly.newPlot(place, figure.data, figure.layout, { displaylogo: false, responsive: true });
  },
};

const near = new IntersectionObserver((found) => {
  for (const { isIntersecting, target } of found) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    draw[target.dataset.draw](target);
  }
}, { rootMargin: "300px" });
document.querySelectorAll("[data-draw]").forEach((place) => near.observe(place));
