"use strict";
// Shared by every part of the page: the data, SVG elements, scales, markers, colours.
const AF = { data: JSON.parse(document.getElementById("data").textContent) };

AF.$ = (id) => document.getElementById(id);

AF.fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  for (const child of children) {
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
};

AF.el = (tag, attributes, ...children) =>
  AF.fill(document.createElement(tag), attributes, children);

AF.svg = (tag, attributes, ...children) =>
  AF.fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

AF.show = (value, decimals = 2) =>
  value === null || value === undefined ? "-" : value.toFixed(decimals);

// A linear scale from [a, b] to [c, d].
AF.linear = (a, b, c, d) => (value) => c + ((value - a) / (b - a || 1)) * (d - c);

AF.ticks = (low, high, count) => {
  const rough = (high - low) / count;
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) || rough;
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) {
    found.push(Math.abs(tick) < step * 1e-6 ? 0 : tick);
  }
  return found;
};

AF.powers = (low, high) => {
  const factor = high / low > 256 ? 4 : 2;
  const found = [];
  for (let tick = 1; tick <= high; tick *= factor) if (tick >= low) found.push(tick);
  return found;
};

// Marker outlines around the origin, of radius r; the same shapes as in the figures.
AF.marker = (kind, r) => {
  const poly = (points) => "M" + points.map(([x, y]) => `${x * r},${y * r}`).join("L") + "Z";
  const star = (n, inner, turn) =>
    poly(
      Array.from({ length: 2 * n }, (_, i) => {
        const angle = turn + (Math.PI * i) / n;
        const reach = i % 2 ? inner : 1.15;
        return [reach * Math.cos(angle), reach * Math.sin(angle)];
      })
    );
  const plus = [
    [-0.4, -1], [0.4, -1], [0.4, -0.4], [1, -0.4], [1, 0.4], [0.4, 0.4],
    [0.4, 1], [-0.4, 1], [-0.4, 0.4], [-1, 0.4], [-1, -0.4], [-0.4, -0.4],
  ];
  const turned = plus.map(([x, y]) => [(x - y) * 0.75, (x + y) * 0.75]);
  const shapes = {
    s: () => poly([[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]]),
    "^": () => poly([[0, -1.05], [1, 0.8], [-1, 0.8]]),
    v: () => poly([[0, 1.05], [1, -0.8], [-1, -0.8]]),
    "<": () => poly([[-1.05, 0], [0.8, -1], [0.8, 1]]),
    ">": () => poly([[1.05, 0], [-0.8, -1], [-0.8, 1]]),
    D: () => poly([[0, -1.15], [1.15, 0], [0, 1.15], [-1.15, 0]]),
    d: () => poly([[0, -1.15], [0.7, 0], [0, 1.15], [-0.7, 0]]),
    p: () => poly(Array.from({ length: 5 }, (_, i) => {
      const angle = (2 * Math.PI * i) / 5 - Math.PI / 2;
      return [1.1 * Math.cos(angle), 1.1 * Math.sin(angle)];
    })),
    P: () => poly(plus),
    X: () => poly(turned),
    "*": () => star(5, 0.5, -Math.PI / 2),
    h: () => star(3, 1, -Math.PI / 2),
  };
  const circle = `M${-r},0A${r},${r} 0 1 1 ${r},0A${r},${r} 0 1 1 ${-r},0Z`;
  return shapes[kind] ? shapes[kind]() : circle;
};

// A legend entry: a marker and its name.
AF.icon = (look) => {
  const icon = AF.svg("svg", { width: 18, height: 18, viewBox: "-9 -9 18 18", "aria-hidden": true });
  icon.append(AF.svg("path", { d: AF.marker(look.marker, 6), fill: look.color, class: "mark" }));
  return icon;
};

AF.entry = (look, text) => AF.el("span", { class: "entry" }, AF.icon(look), text);

AF.mix = (stops, share) => {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const at = Math.min(Math.floor(place), stops.length - 2);
  const parts = [0, 1].map((k) => {
    const n = parseInt(stops[at + k].slice(1), 16);
    return [n >> 16, (n >> 8) & 255, n & 255];
  });
  const rgb = parts[0].map((p, i) => Math.round(p + (parts[1][i] - p) * (place - at)));
  return `rgb(${rgb.join(",")})`;
};

// How a layer of numbers becomes colours: its scale, range and the ticks of its legend.
AF.scaleOf = (layer) => {
  const values = layer.values.filter((v) => v !== null);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const even = (a, b) => (value) => (b > a ? (value - a) / (b - a) : 0.5);
  if (layer.kind === "signed") {
    const reach = Math.max(Math.abs(low), Math.abs(high), 1);
    const bent = (v) => (Math.abs(v) <= 0.5 ? v / 0.5 : Math.sign(v) * (1 + Math.log10(Math.abs(v) / 0.5)));
    const ticks = [0.5, 2, 10, 50].filter((t) => t <= reach);
    return {
      stops: AF.data.scales.RdBu,
      share: (v) => 0.5 + bent(v) / bent(reach) / 2,
      ticks: [...ticks.map((t) => -t).reverse(), 0, ...ticks],
    };
  }
  if (layer.kind === "log") {
    const [a, b] = [Math.log10(low), Math.log10(high)];
    const ticks = [1, 2, 3, 4, 5, 6, 7, 8, 9].filter((p) => p >= a && p <= b);
    return {
      stops: AF.data.scales.cividis,
      share: (v) => even(a, b)(Math.log10(v)),
      ticks: ticks.length > 1 ? ticks.map((p) => Math.pow(10, p)) : [low, high],
    };
  }
  const heat = layer.kind === "heat";
  const [a, b] = heat ? [0, Math.max(high, 1)] : [low, high];
  const ticks = b > a ? AF.ticks(a, b, 4) : [a];
  return { stops: AF.data.scales[heat ? "YlOrRd" : "cividis"], share: even(a, b), ticks };
};

// The look of architecture i in a layer.
AF.lookOf = (layer, scale, i) => {
  const value = layer.values[i];
  if (layer.kind === "names") {
    const look = layer.looks.find((item) => item.name === value);
    return { color: look.color, marker: look.marker };
  }
  return { color: value === null ? "#ffffff" : AF.mix(scale.stops, scale.share(value)), marker: "o" };
};

AF.valueText = (layer, i) => {
  const value = layer.values[i];
  if (layer.kind === "names") return value;
  if (value === null) return "-";
  if (layer.kind === "log") return value.toLocaleString("en");
  return `${AF.show(value)}${layer.unit === "%" ? " %" : layer.unit ? " points" : ""}`;
};

// Axes with grid lines, for every chart.
AF.axes = (root, box, x, y) => {
  for (const tick of x.ticks) {
    const at = x.scale(tick);
    root.append(
      AF.svg("line", { x1: at, x2: at, y1: box.top, y2: box.bottom, class: "grid" }),
      AF.svg("text", { x: at, y: box.bottom + 15, class: "tick", "text-anchor": "middle" }, x.show(tick))
    );
  }
  for (const tick of y.ticks) {
    const at = y.scale(tick);
    root.append(
      AF.svg("line", { x1: box.left, x2: box.right, y1: at, y2: at, class: "grid" }),
      AF.svg("text", { x: box.left - 6, y: at + 4, class: "tick", "text-anchor": "end" }, y.show(tick))
    );
  }
  const middle = (box.left + box.right) / 2;
  root.append(
    AF.svg("text", { x: middle, y: box.bottom + 32, class: "axis", "text-anchor": "middle" }, x.label)
  );
  if (y.label) {
    root.append(AF.svg("text", { x: 4, y: box.top - 8, class: "axis" }, y.label));
  }
};
