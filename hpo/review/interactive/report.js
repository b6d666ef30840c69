// Shows the figures and the table of a report. No other file is needed, and nothing is sent.
"use strict";
(function () {
  const data = JSON.parse(document.getElementById("report-data").textContent);

  // -- the table of all trials -----------------------------------------------------------------

  const SHOWN = 100;

  function shownAs(cell) {
    if (typeof cell !== "number" || Number.isInteger(cell)) return cell;
    return Math.abs(cell) < 1e-3 ? cell.toExponential() : String(cell);
  }

  function element(tag, text, parent) {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  }

  // "lr<0.01 pruned adam": comparisons of columns, and words that a row must have
  function conditions(text, columns) {
    const names = columns.map((name) => name.toLowerCase());
    return text.trim().split(/\s+/).filter(Boolean).map((word) => {
      const match = word.match(/^(.+?)(<=|>=|!=|=|<|>)(.+)$/);
      const column = match ? names.indexOf(match[1].toLowerCase()) : -1;
      if (column < 0) {
        const wanted = word.toLowerCase();
        return (row) => row.some((cell) => String(cell ?? "").toLowerCase().includes(wanted));
      }
      const number = Number(match[3]);
      const asText = match[3].toLowerCase();
      const operator = match[2];
      return (row) => {
        const cell = row[column];
        if (cell === null || cell === "") return false;
        const numeric = typeof cell === "number" && !Number.isNaN(number);
        const left = numeric ? cell : String(cell).toLowerCase();
        const right = numeric ? number : asText;
        switch (operator) {
          case "<": return left < right;
          case ">": return left > right;
          case "<=": return left <= right;
          case ">=": return left >= right;
          case "=": return numeric ? left === right : left.includes(right);
          default: return numeric ? left !== right : !left.includes(right);
        }
      };
    });
  }

  function compared(a, b) {
    const missing = (value) => value === null || value === "";
    if (missing(a) || missing(b)) return missing(a) - missing(b); // last, whatever the order
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  }

  function showTable(place) {
    const { columns, rows } = data.trials;
    let by = 0, descending = false, shown = SHOWN;
    const search = element("input", null, place);
    search.type = "search";
    search.id = "filter";
    search.placeholder = "filter: pruned lr<0.01";
    search.setAttribute("aria-label", "filter the trials");
    const count = element("span", null, place);
    count.id = "count";
    const box = element("div", null, place);
    box.className = "wide";
    const table = element("table", null, box);
    const head = element("tr", null, element("thead", null, table));
    const body = element("tbody", null, table);
    const more = element("button", null, place);
    more.id = "more";
    columns.forEach((name, i) => {
      const cell = element("th", name, head);
      cell.tabIndex = 0;
      cell.setAttribute("role", "button");
      const sort = () => {
        descending = by === i ? !descending : i === 2; // scores: greatest first
        by = i;
        draw();
      };
      cell.addEventListener("click", sort);
      cell.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
    });
    function draw() {
      const wanted = conditions(search.value, columns);
      const left = rows.filter((row) => wanted.every((holds) => holds(row)));
      left.sort((a, b) => {
        const missing = [a[by], b[by]].some((value) => value === null || value === "");
        return compared(a[by], b[by]) * (descending && !missing ? -1 : 1) || a[0] - b[0];
      });
      [...head.children].forEach((cell, i) => {
        cell.setAttribute("aria-sort", i !== by ? "none" : descending ? "descending" : "ascending");
      });
      body.replaceChildren();
      left.slice(0, shown).forEach((row) => {
        const line = element("tr", null, body);
        row.forEach((cell, i) => {
          const made = element("td", shownAs(cell), line);
          if (typeof cell === "number") made.className = "number";
          if (i === 1) made.className = `state ${cell}`;
          if (i === row.length - 1) {
            made.className = "reason";
            made.title = cell;
          }
        });
      });
      count.textContent = `${left.length} of ${rows.length} trials`;
      more.hidden = left.length <= shown;
      more.textContent = `show all ${left.length}`;
    }
    search.addEventListener("input", () => { shown = SHOWN; draw(); });
    more.addEventListener("click", () => { shown = Infinity; draw(); });
    draw();
  }

  const place = document.getElementById("all-trials");
  if (place) showTable(place);

  // -- the figures -----------------------------------------------------------------------------

  const plots = [...document.querySelectorAll(".plot")];

  function draw(plot) {
    const figure = data.figures[plot.dataset.figure];
    for (const trace of figure.data) {
      if (Array.isArray(trace.customdata) && trace.hovertemplate === "%{hovertext}<extra></extra>") {
        trace.hovertext = trace.customdata.map((number) => data.hover[number] ?? "");
      }
    }
    const parallel = figure.data.some((trace) => trace.type === "parcoords");
    const buttons = ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "resetScale2d"];
    Plotly.newPlot(plot, figure.data, figure.layout, {
      responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
      modeBarButtons: [["toImage", ...(parallel ? [] : buttons)]],
    });
    plot.dataset.drawn = "";
  }

  function drawWhenSeen() {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((each) => each.isIntersecting)) {
        seen.unobserve(entry.target);
        draw(entry.target);
      }
    }, { rootMargin: "800px" });
    plots.forEach((plot) => seen.observe(plot));
    window.addEventListener("beforeprint", () => {
      plots.filter((plot) => plot.dataset.drawn === undefined).forEach(draw);
    });
  }

  async function unpacked(id) {
    const packed = atob(document.getElementById(id).textContent);
    const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  async function start() {
    if (!plots.length) return;
    const script = document.createElement("script");
    script.textContent = await unpacked("plotly-gz");
    document.head.appendChild(script); // runs at once
    drawWhenSeen();
  }

  start().catch((error) => {
    const note = "The figures cannot be drawn here (" + error + "). They need a browser of 2023 or "
      + "later; the PNG files beside this report show the same.";
    plots.forEach((plot) => { plot.textContent = note; });
  });
})();
