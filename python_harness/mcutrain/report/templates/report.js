"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figure-data").textContent);
  const canvases = [...document.querySelectorAll(".canvas")];
  const config = { responsive: true, displayModeBar: false };

  // A colour in a figure is a role of the style sheet, "var(--forward)": look it up now, so that light, dark and print are right.
  const resolve = (value, style) => {
    if (typeof value === "string") return value.startsWith("var(--") ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    if (Array.isArray(value)) return value.map((item) => resolve(item, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, style)]));
  };

  const draw = (canvas) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (role) => style.getPropertyValue(`--${role}`).trim();
    const figure = resolve(figures[canvas.id], style);
    const narrow = canvas.clientWidth < 480;
    const layout = figure.layout;
    layout.height = parseInt(canvas.style.height, 10);
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12.5, color: colour("text") };
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.hoverlabel = { bgcolor: colour("surface"), bordercolor: colour("faint"), font: { color: colour("text") }, align: "left" };
    // A finger that drags over a figure means to scroll the page.
    layout.dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    for (const [name, axis] of Object.entries(layout)) {
      if (!/^[xy]axis/.test(name)) continue;
      Object.assign(axis, { gridcolor: colour("line"), zerolinecolor: colour("faint"), linecolor: colour("faint") });
      axis.title = { ...axis.title, font: { size: layout.font.size } };
      if (narrow && name[0] === "x" && axis.dtick) axis.dtick *= 2;
    }
    const drawn = canvas.dataset.drawn;
    canvas.dataset.drawn = "true";
    const done = Plotly.react(canvas, figure.data, layout, config);
    // A point that belongs to an entry of the page leads to it.
    if (!drawn && figure.data.some((trace) => trace.customdata)) {
      canvas.classList.add("leads");
      canvas.on("plotly_click", ({ points }) => { if (points[0].customdata) go(points[0].customdata); });
    }
    return done;
  };
  const redraw = () => canvases.filter((canvas) => canvas.dataset.drawn).forEach(draw);

  // Figures are drawn when they come near the view: a page of a hundred episodes opens at once.
  const watcher = new IntersectionObserver(
    (entries) => entries.filter((e) => e.isIntersecting).forEach(({ target }) => { watcher.unobserve(target); draw(target); }),
    { rootMargin: "600px" },
  );
  canvases.forEach((canvas) => watcher.observe(canvas));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // Paper is white and about 700 pixels wide; what is open gets printed, drawn or not.
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.theme = "light";
    for (const canvas of canvases) {
      if (!canvas.closest("details:not([open])")) { canvas.style.width = "660px"; draw(canvas); }
    }
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.theme;
    canvases.forEach((canvas) => { canvas.style.width = ""; });
    redraw();
  });

  // A link to an entry or to one of its records opens it, and what it lies in.
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target || !target.closest("main")) return;
    const first = target.matches("details") ? target : target.querySelector("details");
    for (let each = first; each; each = each.parentElement.closest("details")) each.open = true;
    target.scrollIntoView();
  };
  const go = (key) => { if (location.hash === `#${key}`) open(); else location.hash = key; };
  addEventListener("hashchange", open);
  document.querySelectorAll('a[href^="#"]').forEach((link) => link.addEventListener("click", () => setTimeout(open)));
  open();

  // Sorting: numbers by value, names by text, what was not measured always last.
  const compare = (a, b) => (a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b, "en", { numeric: true }));
  document.querySelectorAll("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") !== "ascending" : !head.classList.contains("number");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = (row) => row.cells[column].dataset.order;
      const inOrder = (rows, row) => rows.sort((a, b) => {
        const [one, other] = [order(row(a)), order(row(b))];
        return (one === "") - (other === "") || (up ? 1 : -1) * compare(one, other);
      });
      // An entry and its seeds are a body of their own: they move together, the seeds in order below their entry.
      const bodies = [...table.tBodies];
      if (!table.querySelector(".member") && bodies.length === 1) bodies[0].append(...inOrder([...bodies[0].rows], (row) => row));
      for (const body of bodies) body.append(...inOrder([...body.querySelectorAll(".member")], (row) => row));
      table.append(...inOrder(bodies, (body) => body.rows[0]));
    }));
  });

  // Few columns at first, the rest on demand; the seeds of an entry likewise.
  const compared = document.getElementById("compared");
  const pressed = (button) => button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
  const expand = (body, shown) => {
    body.querySelectorAll(".member").forEach((row) => { row.hidden = !shown; });
    body.querySelectorAll(".expand").forEach((button) => button.setAttribute("aria-expanded", String(shown)));
  };
  document.querySelectorAll(".toggle").forEach((button) => button.addEventListener("click", () => {
    pressed(button);
    compared.classList.toggle("all");
    hints();
  }));
  document.querySelectorAll(".toggle-seeds").forEach((button) => button.addEventListener("click", () => {
    pressed(button);
    for (const body of compared.tBodies) expand(body, button.getAttribute("aria-pressed") === "true");
  }));
  document.querySelectorAll(".expand").forEach((button) => button.addEventListener("click", () => {
    expand(button.closest("tbody"), button.getAttribute("aria-expanded") !== "true");
  }));

  // Where a table is wider than its place, it is said, beside the shade at its edge.
  const scrolls = [...document.querySelectorAll(".scroll")].map((box) => {
    const hint = document.createElement("p");
    hint.className = "hint";
    hint.textContent = "scroll sideways for more columns →";
    hint.hidden = true;
    box.after(hint);
    return { box, hint };
  });
  const hints = () => scrolls.forEach(({ box, hint }) => { hint.hidden = box.scrollWidth <= box.clientWidth + 1; });
  const resized = new ResizeObserver(hints);
  scrolls.forEach(({ box }) => resized.observe(box));
  hints();
})();
