// What stands beside the map: the chosen architecture's trials, curves and numbers.
AF.detail = { view: AF.data.views[0], hidden: new Set(), chosen: 0 };

AF.detail.draw = (i) => {
  const { view } = AF.detail;
  const place = AF.data.architectures[i];
  AF.detail.chosen = i;
  const parameters = place.parameters === null ? "" : `, ${place.parameters.toLocaleString("en")} parameters`;
  AF.$("detail-heading").textContent = `${place.name}${parameters}`;
  const regime = view.layers.find((layer) => layer.key === "regime");
  AF.detail.regime(regime, i);
  AF.$("detail-reason").textContent = view.reasons[i];
  AF.charts.dots(i, view);
  const other = AF.data.other.trials && view.measure === "peak" ? ` Open circles: ${AF.data.other.name}.` : "";
  AF.$("dots-note").textContent =
    `One mark per trial; upright: mean; bar: 95 % interval of the mean.${other}`;
  AF.detail.curves();
  AF.detail.table(i);
};

AF.detail.regime = (layer, i) => {
  const host = AF.$("detail-regime");
  host.replaceChildren();
  const look = layer && layer.looks.find((item) => item.name === layer.values[i]);
  if (!look) return;
  host.append(AF.icon(look), look.name);
};

AF.detail.curves = () => {
  const groups = AF.charts.lines(AF.detail.chosen, AF.detail.hidden);
  const boxes = groups.map(({ mode }) => {
    const box = AF.el("input", { type: "checkbox", value: mode.name });
    box.checked = !AF.detail.hidden.has(mode.name);
    box.addEventListener("change", () => {
      AF.detail.hidden[box.checked ? "delete" : "add"](mode.name);
      AF.detail.curves();
      const again = [...AF.$("modes").querySelectorAll("input")].find((b) => b.value === mode.name);
      if (again) again.focus();
    });
    const line = AF.svg("svg", { width: 26, height: 10, "aria-hidden": true });
    line.append(
      AF.svg("path", { d: "M1,5L25,5", stroke: mode.color, class: "curve", "stroke-dasharray": mode.dash || null })
    );
    return AF.el("label", {}, box, line, mode.name);
  });
  AF.$("modes").replaceChildren(...boxes);
  const n = groups.length ? Math.max(...groups.map((group) => group.curves.length)) : 0;
  const stride = AF.data.curves ? AF.data.curves.stride : 1;
  const thinned = stride > 1 ? ` Every ${stride}th meta-loop is drawn.` : "";
  const what = n > 1 ? `thick: mean over up to ${n} trials; thin: the trials.` : "one trial per mode.";
  AF.$("curves-note").textContent = n
    ? `Validation accuracy of each candidate; ${what} Dashed across: ZeroR, where in the frame.${thinned}`
    : "";
};

AF.detail.table = (i) => {
  const { view } = AF.detail;
  const head = ["mode", "n", "mean", "sd", "min", "max", "95 % interval"];
  const row = (cell, m) =>
    AF.el(
      "tr",
      {},
      AF.el("th", { scope: "row" }, AF.data.modes[m].name),
      ...[cell[0], ...cell.slice(1, 5).map((value) => AF.show(value))].map((text) =>
        AF.el("td", { class: "number" }, text)
      ),
      AF.el("td", { class: "number" }, cell[5] === null ? "-" : `${AF.show(cell[5])} to ${AF.show(cell[6])}`)
    );
  AF.$("detail-table").replaceChildren(
    AF.el("caption", {}, `${view.label}, percent`),
    AF.el("thead", {}, AF.el("tr", {}, ...head.map((text) => AF.el("th", { scope: "col" }, text)))),
    AF.el("tbody", {}, ...view.cells[i].map((cell, m) => (cell ? row(cell, m) : "")))
  );
};
