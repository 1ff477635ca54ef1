// The charts of one architecture: trial dots, convergence curves; and the scatter of two studies.
AF.charts = { curves: null };

// Curves by [architecture][mode]: a list of {trial, loops, values}.
AF.charts.decode = () => {
  const packed = AF.data.curves;
  if (!packed) return null;
  const bytes = Uint8Array.from(atob(packed.values), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const found = new Map();
  let offset = 0;
  for (const [architecture, mode, trial, points, last] of packed.index) {
    const start = offset;
    offset += 2 * points;
    const key = `${architecture} ${mode}`;
    if (!found.has(key)) found.set(key, []);
    found.get(key).push({
      trial,
      loops: Array.from({ length: points }, (_, k) =>
        k === points - 1 ? last : 1 + k * packed.stride
      ),
      read: () =>
        Array.from({ length: points }, (_, k) => view.getUint16(start + 2 * k, true) / packed.steps),
    });
  }
  return found;
};

AF.charts.range = (values, least) => {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = Math.max((high - low) * 0.06, (least - (high - low)) / 2, 0.02);
  return [low - margin, high + margin];
};

AF.charts.dots = (i, view) => {
  const host = AF.$("dots");
  const modes = AF.data.modes;
  const trials = view.trials[i];
  const others = AF.data.other.trials ? AF.charts.otherTrials(i, view) : null;
  const shown = modes.map((_, m) => m).filter((m) => trials[m].length || (others && others[m].length));
  const width = Math.max(host.clientWidth, 240);
  const isLong = shown.some((m) => modes[m].name.length > 9); // then names stand above their rows
  const row = isLong ? 42 : 26;
  const box = { left: isLong ? 14 : 66, right: width - 14, top: 8, bottom: 8 + row * Math.max(shown.length, 1) };
  const values = shown.flatMap((m) => [...trials[m], ...(others ? others[m] : [])].map((t) => t[1]));
  if (!values.length) {
    host.replaceChildren("No finished trial.");
    return;
  }
  const [low, high] = AF.charts.range(values, 0.2);
  const x = { scale: AF.linear(low, high, box.left, box.right), ticks: AF.ticks(low, high, 5) };
  x.show = (t) => String(Number(t.toFixed(3)));
  x.label = `${view.label}, percent`;
  const height = box.bottom + 40;
  const root = AF.svg("svg", { width, height, role: "img", class: "dots" });
  root.setAttribute("aria-label", `Trials of ${AF.data.architectures[i].name}, also in the table below`);
  AF.axes(root, box, x, { scale: Number, ticks: [], show: String });
  shown.forEach((m, k) => {
    const y = box.top + row * (k + 0.5) + (isLong ? 8 : 0);
    const look = modes[m];
    const place = isLong
      ? { x: box.left, y: y - 15, "text-anchor": "start" }
      : { x: box.left - 8, y: y + 4, "text-anchor": "end" };
    root.append(AF.svg("text", { ...place, class: "tick" }, look.name));
    const cell = view.cells[i][m];
    if (cell && cell[5] !== null) {
      const [from, to] = [cell[5], cell[6]].map((v) => x.scale(Math.min(Math.max(v, low), high)));
      root.append(AF.svg("line", { x1: from, x2: to, y1: y, y2: y, stroke: look.color, class: "interval" }));
    }
    const stacked = new Map();
    for (const [trial, value] of trials[m]) {
      const at = x.scale(value);
      const before = stacked.get(Math.round(at / 2)) || 0;
      stacked.set(Math.round(at / 2), before + 1);
      const aside = Math.min(Math.ceil(before / 2) * 3.5, 9) * (before % 2 ? -1 : 1);
      const dot = AF.svg("path", {
        d: AF.marker(look.marker, 4.2), fill: look.color, class: "dot",
        transform: `translate(${at},${y + aside})`,
      });
      dot.append(AF.svg("title", {}, `${look.name}, trial ${trial}: ${AF.show(value)} %`));
      root.append(dot);
    }
    for (const [trial, value] of others ? others[m] : []) {
      const dot = AF.svg("circle", { cx: x.scale(value), cy: y + 8, r: 3, class: "other" });
      dot.append(AF.svg("title", {}, `${AF.data.other.name}, trial ${trial}: ${AF.show(value)} %`));
      root.append(dot);
    }
    if (cell) {
      const at = x.scale(cell[1]);
      root.append(AF.svg("line", { x1: at, x2: at, y1: y - 9, y2: y + 9, class: "mean" }));
    }
  });
  host.replaceChildren(root);
};

AF.charts.otherTrials = (i, view) => (view.measure === "peak" ? AF.data.other.trials[i] : null);

AF.charts.lines = (i, hidden) => {
  const host = AF.$("curves");
  if (!AF.charts.curves) AF.charts.curves = AF.charts.decode();
  const groups = AF.data.modes
    .map((mode, m) => ({ mode, curves: (AF.charts.curves && AF.charts.curves.get(`${i} ${m}`)) || [] }))
    .filter((group) => group.curves.length);
  const shown = groups.filter((group) => !hidden.has(group.mode.name));
  for (const group of groups) group.values = group.curves.map((curve) => curve.read());
  const all = shown.flatMap((group) => group.values.flat());
  if (!all.length) {
    host.replaceChildren(groups.length ? "Every mode is switched off." : "No meta-loop records here.");
    return groups;
  }
  const width = Math.max(host.clientWidth, 240);
  const height = 270;
  const box = { left: 46, right: width - 12, top: 24, bottom: height - 42 };
  const last = Math.max(...shown.flatMap((group) => group.curves.map((c) => c.loops[c.loops.length - 1])));
  const [low, high] = AF.charts.range(all, 1);
  const x = { scale: AF.linear(1, Math.max(last, 2), box.left, box.right), label: "meta-loop" };
  x.ticks = AF.ticks(1, Math.max(last, 2), 5).filter(Number.isInteger);
  x.show = String;
  const y = { scale: AF.linear(low, high, box.bottom, box.top), ticks: AF.ticks(low, high, 5) };
  y.show = (t) => String(Number(t.toFixed(3)));
  y.label = "validation accuracy, percent";
  const root = AF.svg("svg", { width, height, role: "img", class: "lines" });
  root.setAttribute("aria-label", `Convergence of ${AF.data.architectures[i].name}`);
  AF.axes(root, box, x, y);
  if (AF.data.zeroR > low && AF.data.zeroR < high) {
    const at = y.scale(AF.data.zeroR);
    root.append(AF.svg("line", { x1: box.left, x2: box.right, y1: at, y2: at, class: "diagonal" }));
  }
  const path = (loops, values) =>
    "M" + values.map((v, k) => `${x.scale(loops[k]).toFixed(1)},${y.scale(v).toFixed(1)}`).join("L");
  for (const { mode, curves, values } of shown) {
    if (curves.length > 1) {
      curves.forEach((curve, k) => {
        root.append(AF.svg("path", { d: path(curve.loops, values[k]), stroke: mode.color, class: "trial" }));
      });
    }
    const mean = AF.charts.mean(curves, values);
    root.append(
      AF.svg("path", {
        d: path(mean.loops, mean.values), stroke: mode.color, class: "curve",
        "stroke-dasharray": mode.dash || null, "data-mode": mode.name,
      })
    );
  }
  host.replaceChildren(root);
  return groups;
};

// The mean over trials at every meta-loop that the longest trial has.
AF.charts.mean = (curves, values) => {
  const sums = new Map();
  curves.forEach((curve, c) =>
    curve.loops.forEach((loop, k) => {
      const sum = sums.get(loop) || [0, 0];
      sums.set(loop, [sum[0] + values[c][k], sum[1] + 1]);
    })
  );
  const loops = [...sums.keys()].sort((a, b) => a - b);
  return { loops, values: loops.map((loop) => sums.get(loop)[0] / sums.get(loop)[1]) };
};

// Mean against mean for every cell that both studies have.
AF.charts.scatter = () => {
  const host = AF.$("scatter");
  if (!host || !AF.data.other.trials) return;
  const mean = (trials) => trials.reduce((sum, t) => sum + t[1], 0) / trials.length;
  const view = AF.data.views[0];
  const points = view.trials.flatMap((modes, i) =>
    modes.flatMap((mine, m) => {
      const theirs = AF.data.other.trials[i][m];
      return mine.length && theirs.length ? [{ i, m, a: mean(mine), b: mean(theirs) }] : [];
    })
  );
  if (!points.length) {
    host.replaceChildren("The two studies have no cell in common.");
    return;
  }
  const width = Math.min(Math.max(host.clientWidth, 260), 560);
  const height = width * 0.8;
  const box = { left: 46, right: width - 12, top: 26, bottom: height - 42 };
  const [low, high] = AF.charts.range(points.flatMap((p) => [p.a, p.b]), 1);
  const ticks = AF.ticks(low, high, 5);
  const show = (t) => String(Number(t.toFixed(3)));
  const x = { scale: AF.linear(low, high, box.left, box.right), ticks, show, label: `${AF.data.other.name}, percent` };
  const y = { scale: AF.linear(low, high, box.bottom, box.top), ticks, show, label: `${AF.data.name}, percent` };
  const root = AF.svg("svg", { width, height, role: "img", "aria-label": "Means of both studies" });
  AF.axes(root, box, x, y);
  root.append(
    AF.svg("line", { x1: box.left, y1: box.bottom, x2: box.right, y2: box.top, class: "diagonal" })
  );
  for (const { i, m, a, b } of points) {
    const mode = AF.data.modes[m];
    const dot = AF.svg("path", {
      d: AF.marker(mode.marker, 5), fill: mode.color, class: "mark dot",
      transform: `translate(${x.scale(b)},${y.scale(a)})`,
    });
    const name = AF.data.architectures[i].name;
    dot.append(AF.svg("title", {}, `${name} ${mode.name}: ${AF.show(a)} against ${AF.show(b)}`));
    root.append(dot);
  }
  const shown = AF.data.modes.filter((_, m) => points.some((point) => point.m === m));
  const legend = AF.el("div", { class: "legend" }, ...shown.map((mode) => AF.entry(mode, mode.name)));
  host.replaceChildren(root, legend);
};
