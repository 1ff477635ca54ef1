// The landscape map, its row of squares, its legend and its tooltip.
AF.map = { chosen: 0, layer: null, points: [] };

AF.map.draw = (layer, choose) => {
  const host = AF.$("map");
  const places = AF.data.architectures;
  const width = Math.max(host.clientWidth, 260);
  const squares = places.map((p, i) => [p, i]).filter(([p]) => p.square);
  squares.sort((a, b) => a[0].depth - b[0].depth);
  const strip = squares.length > 2 ? 54 : 0;
  const height = Math.min(Math.max(width * 0.74, 300), 560) + strip;
  const box = { left: 46, right: width - 12, top: 26, bottom: height - 42 - strip };
  const most = (key) => Math.max(2, ...places.map((p) => p[key])) * 1.6;
  const log = (value) => Math.log2(value);
  const xs = AF.linear(log(0.66), log(most("depth")), box.left, box.right);
  const ys = AF.linear(log(0.66), log(most("width")), box.bottom, box.top);
  const x = { scale: (v) => xs(log(v)), ticks: AF.powers(0.66, most("depth")), show: String };
  const y = { scale: (v) => ys(log(v)), ticks: AF.powers(0.66, most("width")), show: String };
  x.label = "depth (hidden layers)";
  y.label = "width (neurons per layer)";
  const root = AF.svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group" });
  root.setAttribute("aria-label", `Landscape map coloured by ${layer.label}`);
  AF.axes(root, box, x, y);
  const end = Math.min(most("depth"), most("width"));
  root.append(
    AF.svg("line", {
      x1: x.scale(0.66), y1: y.scale(0.66), x2: x.scale(end), y2: y.scale(end), class: "diagonal",
    })
  );
  const scale = layer.kind === "names" ? null : AF.scaleOf(layer);
  const radius = width < 480 ? 5 : 6.5;
  AF.map.layer = layer;
  AF.map.points = places.map((place, i) => {
    const look = AF.lookOf(layer, scale, i);
    const point = AF.map.point(look, x.scale(place.depth), y.scale(place.width), radius, i);
    point.setAttribute("role", "button");
    point.setAttribute("aria-label", `${place.name}: ${layer.label} ${AF.valueText(layer, i)}`);
    return point;
  });
  root.append(...AF.map.points);
  AF.$("squares").hidden = !strip;
  if (strip) root.append(AF.map.strip(squares, layer, scale, box, height));
  root.addEventListener("keydown", (event) => AF.map.key(event, choose));
  root.addEventListener("click", (event) => {
    const target = event.target.closest("[data-place]");
    if (target) choose(Number(target.dataset.place));
  });
  root.addEventListener("pointerover", (event) => AF.map.tip(event.target.closest("[data-place]")));
  root.addEventListener("pointerleave", () => AF.map.tip(null));
  root.addEventListener("focusin", (event) => AF.map.tip(event.target.closest("[data-place]")));
  root.addEventListener("focusout", () => AF.map.tip(null));
  host.replaceChildren(root);
  AF.map.mark(AF.map.chosen);
  AF.map.legend(layer, scale);
};

AF.map.point = (look, x, y, radius, i) =>
  AF.svg(
    "g",
    { transform: `translate(${x},${y})`, class: "point", "data-place": i },
    AF.svg("circle", { r: radius + 4, class: "halo" }),
    AF.svg("path", { d: AF.marker(look.marker, radius), fill: look.color, class: "mark" })
  );

AF.map.strip = (squares, layer, scale, box, height) => {
  const group = AF.svg("g", { "aria-hidden": "true" });
  const step = (box.right - box.left) / squares.length;
  const radius = Math.min(5.5, step * 0.46);
  const every = Math.ceil(26 / step);
  squares.forEach(([place, i], k) => {
    const at = box.left + step * (k + 0.5);
    group.append(AF.map.point(AF.lookOf(layer, scale, i), at, height - 29, radius, i));
    if (k % every === 0) {
      const text = { x: at, y: height - 8, class: "tick", "text-anchor": "middle" };
      group.append(AF.svg("text", text, place.depth));
    }
  });
  group.append(AF.svg("text", { x: 2, y: height - 25, class: "tick" }, "L*L"));
  return group;
};

AF.map.mark = (i) => {
  AF.map.chosen = i;
  for (const point of AF.$("map").querySelectorAll("[data-place]")) {
    point.classList.toggle("chosen", Number(point.dataset.place) === i);
  }
  AF.map.points.forEach((point, k) => {
    point.setAttribute("tabindex", k === i ? 0 : -1);
    point.setAttribute("aria-pressed", k === i);
  });
};

// Arrows move the focus to the nearest point in that direction; Enter and Space choose.
AF.map.key = (event, choose) => {
  const from = AF.map.points.indexOf(event.target.closest("[data-place]"));
  if (from < 0) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(from);
    return;
  }
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!way) return;
  event.preventDefault();
  const here = AF.data.architectures[from];
  let best = null;
  AF.data.architectures.forEach((place, k) => {
    const dx = Math.log2(place.depth / here.depth);
    const dy = Math.log2(place.width / here.width);
    const along = dx * way[0] + dy * way[1];
    const aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
    const cost = along + 3 * aside;
    if (along > 1e-9 && aside <= 2 * along && (!best || cost < best.cost)) best = { k, cost };
  });
  if (!best) return;
  AF.map.points.forEach((point, k) => point.setAttribute("tabindex", k === best.k ? 0 : -1));
  AF.map.points[best.k].focus();
};

AF.map.tip = (point) => {
  const tip = AF.$("tip");
  tip.hidden = !point;
  if (!point) return;
  const i = Number(point.dataset.place);
  const place = AF.data.architectures[i];
  const view = AF.detail.view;
  const lines = view.cells[i].map((cell, m) =>
    cell ? `${AF.data.modes[m].name}: ${AF.show(cell[1])} ± ${AF.show(cell[2])} (n = ${cell[0]})` : null
  );
  const regime = view.layers.find((layer) => layer.key === "regime");
  tip.replaceChildren(
    AF.el("strong", {}, place.name),
    AF.el("div", {}, regime ? regime.values[i] : ""),
    AF.el("div", {}, `${AF.map.layer.label}: ${AF.valueText(AF.map.layer, i)}`),
    ...lines.filter(Boolean).map((line) => AF.el("div", { class: "quiet" }, line))
  );
  const box = point.getBoundingClientRect();
  const room = document.documentElement.clientWidth;
  const left = Math.min(Math.max(box.right + 10, 8), room - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${left + window.scrollX}px`;
  tip.style.top = `${(above > 0 ? above : box.bottom + 8) + window.scrollY}px`;
};

AF.map.legend = (layer, scale) => {
  const host = AF.$("legend");
  if (layer.kind === "names") {
    const entries = layer.looks.map((look) => {
      const count = layer.values.filter((value) => value === look.name).length;
      return AF.entry(look, `${look.name} (${count})`);
    });
    host.replaceChildren(...entries);
    return;
  }
  const width = Math.min(AF.$("map").clientWidth - 20, 420);
  const bar = AF.svg("svg", { width, height: 40, role: "img", "aria-label": `Colours of ${layer.label}` });
  const steps = 60;
  for (let k = 0; k < steps; k += 1) {
    const fill = AF.mix(scale.stops, (k + 0.5) / steps);
    const wide = (width - 40) / steps;
    bar.append(AF.svg("rect", { x: 20 + k * wide, y: 2, width: wide + 0.6, height: 14, fill }));
  }
  for (const tick of scale.ticks) {
    const at = 20 + Math.min(Math.max(scale.share(tick), 0), 1) * (width - 40);
    const text = layer.kind === "log" ? tick.toLocaleString("en") : String(Number(tick.toPrecision(4)));
    bar.append(AF.svg("text", { x: at, y: 32, class: "tick", "text-anchor": "middle" }, text));
  }
  host.replaceChildren(AF.el("span", { class: "entry" }, layer.unit ? `${layer.label}, ${layer.unit}` : layer.label), bar);
};
