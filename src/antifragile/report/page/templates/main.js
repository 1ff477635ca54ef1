// Wires the parts together.
AF.choose = (i) => {
  AF.map.mark(i);
  AF.$("architecture").value = String(i);
  AF.detail.draw(i);
};

AF.redraw = () => {
  const view = AF.detail.view;
  const key = AF.$("layer").value;
  AF.map.draw(view.layers.find((layer) => layer.key === key) || view.layers[0], AF.choose);
  AF.charts.scatter();
};

AF.options = (select, entries) => {
  const before = select.value;
  select.replaceChildren(...entries.map(([value, label]) => AF.el("option", { value }, label)));
  if (entries.some(([value]) => value === before)) select.value = before;
};

AF.start = () => {
  AF.tables.start();
  if (!AF.$("map")) return;
  const { views, architectures } = AF.data;
  AF.options(AF.$("measure"), views.map((view, k) => [String(k), view.label]));
  AF.options(AF.$("architecture"), architectures.map((place, i) => [String(i), place.name]));
  const layers = () =>
    AF.options(AF.$("layer"), AF.detail.view.layers.map((layer) => [layer.key, layer.label]));
  layers();
  AF.$("layer").addEventListener("change", AF.redraw);
  AF.$("measure").addEventListener("change", () => {
    AF.detail.view = views[Number(AF.$("measure").value)];
    layers();
    AF.redraw();
    AF.choose(AF.detail.chosen);
  });
  AF.$("architecture").addEventListener("change", () => AF.choose(Number(AF.$("architecture").value)));
  AF.redraw();
  AF.choose(0);
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    AF.redraw();
    AF.choose(AF.detail.chosen);
  });
};

AF.start();
