// Tables of the page, each unpacked and drawn when it comes near the window.

const unpacked = (place) => {
  const packed = Uint8Array.from(atob(place.querySelector("script").text), (letter) => letter.charCodeAt(0));
  return new Response(new Response(packed).body.pipeThrough(new DecompressionStream("gzip"))).json();
};

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

// A column is its values, each once, and the code of every row's: sorts and filters look at values, not at rows.
const collator = new Intl.Collator(undefined, { numeric: true });

const ranks = ({ values, number }, sign) => {
  const compare = number ? (a, b) => parseFloat(a) - parseFloat(b) : collator.compare;
  const order = [...values.keys()].filter((code) => values[code] !== "");
  order.sort((a, b) => sign * compare(values[a], values[b]));
  const rank = new Uint32Array(values.length).fill(values.length); // what is missing comes last
  order.forEach((code, place) => { rank[code] = place; });
  return rank;
};

const sorted = (rows, column, sign) => {
  if (!sign) return rows;
  const { codes } = column;
  const rank = ranks(column, sign);
  return [...rows].sort((a, b) => rank[codes[a]] - rank[codes[b]]);
};

const found = ({ values }, words) => values.map((value) => String(value).toLowerCase().includes(words));

const filtered = (rows, columns, boxes, search) => {
  let left = rows;
  columns.forEach((column, i) => {
    if (!boxes[i].value) return;
    const hit = found(column, boxes[i].value.toLowerCase());
    left = left.filter((row) => hit[column.codes[row]]);
  });
  if (!search.value) return left;
  const hits = columns.map((column) => found(column, search.value.toLowerCase()));
  return left.filter((row) => columns.some(({ codes }, i) => hits[i][codes[row]]));
};

const widest = ({ values }) =>
  values.reduce((most, value) => (String(value).length > most.length ? String(value) : most), "");

const ROW = 26; // pixels, as the style has it
const SPARE = 20; // rows drawn above and below those in sight

// The rows in sight, between two empty ones as high as the others are together.
const showRows = (box, body, columns, rows) => {
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
  const last = Math.min(rows.length, first + Math.ceil(box.clientHeight / ROW) + 2 * SPARE);
  const empty = (count) => element("tr", { style: `height: ${ROW * count}px` });
  const line = (row) => {
    const cells = columns.map(({ values, codes, number }) =>
      element("td", { className: number ? "number" : "", textContent: values[codes[row]] }));
    return element("tr", {}, ...cells);
  };
  const shape = body.firstChild;
  body.replaceChildren(shape, empty(first), ...rows.slice(first, last).map(line), empty(rows.length - last));
};

const SIGNS = { none: 1, ascending: -1, descending: 0 }; // of the next order
const NAMES = { 1: "ascending", "-1": "descending", 0: "none" };

const table = (place, columns) => {
  const all = columns[0].codes.map((_, row) => row);
  const order = { column: columns[0], sign: 0 };
  let rows = all;
  const count = element("span", { role: "status" });
  const heads = columns.map(({ name, number }) =>
    element("th", { scope: "col", className: number ? "number" : "", ariaSort: "none" }, element("button", { textContent: name })));
  const filter = (name) => element("input", { type: "search", placeholder: "filter", ariaLabel: `filter ${name}` });
  const boxes = columns.map(({ name }) => filter(name));
  const search = element("input", { type: "search", placeholder: "search all columns", ariaLabel: "search all columns" });
  const shape = element("tr", { className: "shape", ariaHidden: "true" },
    ...columns.map((column) => element("td", { textContent: widest(column) })));
  const body = element("tbody", {}, shape);
  const head = element("thead", {}, element("tr", {}, ...heads), element("tr", {}, ...boxes.map((box) => element("td", {}, box))));
  const box = element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "rows" }, element("table", {}, head, body));

  const show = () => showRows(box, body, columns, rows);
  const update = () => {
    rows = sorted(filtered(all, columns, boxes, search), order.column, order.sign);
    count.textContent = `${rows.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} rows`;
    box.scrollTop = 0;
    show();
  };
  heads.forEach((th, i) => th.firstChild.addEventListener("click", () => {
    Object.assign(order, { column: columns[i], sign: SIGNS[th.ariaSort] });
    heads.forEach((other) => { other.ariaSort = NAMES[other === th ? order.sign : 0]; });
    update();
  }));
  [search, ...boxes].forEach((input) => input.addEventListener("input", update));
  box.addEventListener("scroll", show);
  new ResizeObserver(show).observe(box);
  place.replaceChildren(element("p", {}, search, " ", count), box);
  update();
};

const near = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    unpacked(target).then((columns) => table(target, columns));
  }
}, { rootMargin: "300px" });
document.querySelectorAll(".table").forEach((place) => near.observe(place));
