"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const el = (id) => document.getElementById(id);
  const make = (tag, name, text) => {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const bytes = (packed) => Uint8Array.from(atob(packed.b64), (c) => c.charCodeAt(0));
  const floats = (packed) => Array.from(new Float32Array(bytes(packed).buffer));
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const SEVERITIES = ["", "info", "low", "medium", "high"];
  const SEVERITY_COLOURS = ["", "faint", "warn", "used", "bad"];
  const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
  const LEFT = 64, RIGHT = 52;
  const t = floats(data.t);
  const plots = [];
  let width = 0;

  const pad = (n) => String(n).padStart(2, "0");
  const clock = (s) => {
    const whole = Math.round(s);
    return `${Math.floor(whole / 3600)}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
  };
  const short = (s) => (t[t.length - 1] - t[0] > 600 ? clock(s).slice(0, -3) : clock(s));
  const number = (v) => {
    if (v === null || v === undefined || Number.isNaN(v)) return "–";
    const size = Math.abs(v);
    return size >= 1000 ? Math.round(v).toLocaleString("en") : v.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
  };

  // ------------------------------------------------------------ what all plots share
  const timeSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const xAxis = () => ({
    stroke: () => css("soft"), font: FONT, size: 30, gap: 4, incrs: timeSteps, space: 80,
    grid: { stroke: () => css("grid"), width: 1 }, ticks: { show: false },
    values: (u, splits) => splits.map(short),
  });
  const yAxis = (extra) => ({
    stroke: () => css("soft"), font: FONT, size: LEFT, gap: 6, space: 30,
    grid: { stroke: () => css("grid"), width: 1 }, ticks: { show: false }, ...extra,
  });
  const none = (size) => ({ show: true, side: 1, size, grid: { show: false }, ticks: { show: false }, values: () => [] });

  const shade = (u) => {
    const { left, top, width: w, height: h } = u.bbox;
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(left, top, w, h);
    u.ctx.clip();
    u.ctx.fillStyle = css("shade");
    for (const [a, b] of data.eclipses) {
      const x0 = u.valToPos(a, "x", true), x1 = u.valToPos(b, "x", true);
      u.ctx.fillRect(x0, top, x1 - x0, h);
    }
    u.ctx.restore();
  };
  const marks = (u) => {
    const { left, top, width: w, height: h } = u.bbox;
    for (const event of data.events) {
      if (event.severity < 3) continue;
      const x = Math.round(u.valToPos(event.t, "x", true)) + 0.5;
      if (x < left || x > left + w) continue;
      u.ctx.fillStyle = css(SEVERITY_COLOURS[event.severity]);
      u.ctx.globalAlpha = 0.55;
      u.ctx.fillRect(x, top, devicePixelRatio, h);
      u.ctx.globalAlpha = 1;
    }
  };

  let zooming = false;
  const follow = (u, key) => {
    if (key !== "x" || zooming) return;
    zooming = true;
    const { min, max } = u.scales.x;
    for (const other of plots) if (other !== u) other.setScale("x", { min, max });
    el("reset").hidden = min <= t[0] && max >= t[t.length - 1];
    zooming = false;
  };
  const wholeFlight = () => plots[0] && plots[0].setScale("x", { min: t[0], max: t[t.length - 1] });

  const card = (title, unit) => {
    const box = make("div", "chart"), head = make("div", "head"), heading = make("h2", "", title), keys = make("div", "keys");
    if (unit) heading.append(make("span", "unit", unit));
    head.append(heading, keys);
    box.append(head);
    el("charts").append(box);
    return { box, keys };
  };
  const plot = (box, height, series, axes, scales, columns, hooks, onCursor) => {
    const u = new uPlot({
      width, height, series: [{}, ...series], axes: [xAxis(), ...axes],
      scales: { x: { time: false }, ...scales }, legend: { show: false }, padding: [8, 0, 0, 0],
      cursor: {
        sync: { key: "flight" }, drag: { x: true, y: false, setScale: true }, y: false,
        points: { size: 7, width: 2 },
      },
      hooks: { ...hooks, setScale: [follow], setCursor: [onCursor] },
    }, columns, box);
    u.over.addEventListener("dblclick", wholeFlight);
    plots.push(u);
    return u;
  };

  // ------------------------------------------------------------ line charts
  const lineChart = (chart) => {
    const { box, keys } = card(chart.title, chart.unit);
    const values = [];
    const fill = (s) => () => {
      const c = css(s.colour);
      return s.fill ? `color-mix(in srgb, ${c} 16%, transparent)` : undefined;
    };
    const series = chart.series.map((s) => ({
      label: s.label, stroke: () => css(s.colour), width: s.truth ? 1.25 : 1.75, dash: s.truth ? [5, 4] : undefined,
      fill: fill(s), scale: s.right ? "right" : "y", points: { show: false }, show: !s.off,
      paths: s.step ? uPlot.paths.stepped({ align: 1 }) : undefined,
    }));
    const range = (u, low, high) => {
      if (low === null) return [0, 1];
      const span = Math.max(high - low, Math.abs(high) * 0.02, 1e-6);
      return [chart.zero ? Math.min(0, low) : low - span * 0.08, chart.top || high + span * 0.08];
    };
    const scales = { y: { range } };
    if (chart.right) scales.right = { range: (u, low, high) => [0, Math.max(2, (high || 0) * 1.6)] };
    const right = yAxis({ side: 1, scale: "right", size: RIGHT, grid: { show: false }, stroke: () => css("lease") });
    const axes = [yAxis({ scale: "y" }), chart.right ? right : none(RIGHT)];
    const columns = [t, ...chart.series.map((s) => floats(s.values))];
    const u = plot(box, 210, series, axes, scales, columns, { drawClear: [shade], draw: [marks] }, (p) => {
      const at = p.cursor.idx, none = at === null || at === undefined;
      values.forEach((node, i) => {
        if (none) node.textContent = "";
        else node.textContent = (node.paired ? "true " : "") + number(columns[i + 1][at]);
      });
    });
    // One key for what ground knows and for the truth of the same thing.
    const byLabel = new Map();
    chart.series.forEach((s, i) => {
      const shown = byLabel.get(s.label);
      if (shown) {
        values.push(make("em"));
        values[i].paired = true;
        shown.key.append(values[i]);
        shown.members.push(i + 1);
        return;
      }
      const key = make("span", `key${s.truth ? " truth" : ""}${s.off ? " off" : ""}`);
      key.style.setProperty("--c", `var(--${s.colour})`);
      key.append(make("i"), document.createTextNode(s.label));
      values.push(make("b"));
      key.append(values[i]);
      const entry = { key, members: [i + 1] };
      byLabel.set(s.label, entry);
      key.addEventListener("click", () => {
        const off = key.classList.toggle("off");
        for (const at of entry.members) {
          const hidden = off || (chart.series[at - 1].truth && !el("truth").checked);
          u.setSeries(at, { show: !hidden });
        }
      });
      keys.append(key);
    });
    chart.showTruth = (show) => chart.series.forEach((s, i) => {
      const { key } = byLabel.get(s.label);
      if (!s.truth) return;
      u.setSeries(i + 1, { show: show && !key.classList.contains("off") });
      if (key.classList.contains("truth")) key.hidden = !show;
      else values[i].hidden = !show;
    });
  };

  // ------------------------------------------------------------ power per node as a heat map
  const heatMap = (heat) => {
    const { box, keys } = card("Node power", "W, one row per node");
    const cells = bytes(heat.cells);
    const source = document.createElement("canvas");
    source.width = heat.columns;
    source.height = heat.nodes;
    let painted = "";
    const paint = () => {
      const stops = [0, 1, 2, 3].map((i) => css(`heat${i}`).split(",").map(Number));
      const at = [0, 102, 191, 255];
      const image = new ImageData(heat.columns, heat.nodes);
      for (let i = 0; i < cells.length; i++) {
        const v = cells[i], k = v <= at[1] ? 0 : v <= at[2] ? 1 : 2, f = (v - at[k]) / (at[k + 1] - at[k]);
        for (let c = 0; c < 3; c++) image.data[4 * i + c] = stops[k][c] + f * (stops[k + 1][c] - stops[k][c]);
        image.data[4 * i + 3] = v ? 255 : 0;
      }
      source.getContext("2d").putImageData(image, 0, 0);
      painted = css("heat0");
    };
    const draw = (u) => {
      if (painted !== css("heat0")) paint();
      const { left, top, width: w, height: h } = u.bbox, { ctx } = u;
      const x0 = u.valToPos(heat.t0, "x", true), x1 = u.valToPos(heat.t1, "x", true);
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, top, w, h);
      ctx.clip();
      ctx.imageSmoothingEnabled = false;
      ctx.drawImage(source, x0, top, x1 - x0, h);
      const row = h / heat.nodes;
      if (row >= 5 * devicePixelRatio) {
        ctx.fillStyle = css("card");
        for (let i = 1; i < heat.nodes; i++) ctx.fillRect(left, Math.round(top + i * row), w, devicePixelRatio);
      }
      ctx.restore();
    };
    const ramp = make("span", "ramp");
    ramp.append(make("span", "", "0"), make("i"), make("span", "", `${Math.round(heat.max_w)} W`));
    const value = make("span", "key");
    const text = make("b", "", "");
    value.append(text);
    keys.append(value, ramp);
    const every = heat.nodes <= 20 ? 1 : heat.nodes <= 64 ? 8 : 20;
    const axis = yAxis({
      splits: () => Array.from({ length: Math.ceil(heat.nodes / every) }, (_, i) => i * every + 0.5),
      values: (u, splits) => splits.map((s) => Math.floor(s)), grid: { show: false },
    });
    const height = Math.min(Math.max(heat.nodes * 15, 90), 420) + 38;
    plot(box, height, [{ stroke: "transparent" }], [axis, none(RIGHT)], { y: { dir: -1, range: () => [0, heat.nodes] } },
      [t, t.map(() => null)], { drawClear: [shade], draw: [draw] }, (u) => {
        const node = Math.floor(u.posToVal(u.cursor.top, "y"));
        const s = u.posToVal(u.cursor.left, "x");
        const column = Math.round((s - heat.t0) / (heat.t1 - heat.t0) * (heat.columns - 1));
        const inside = u.over.matches(":hover") && node >= 0 && node < heat.nodes;
        const watts = cells[node * heat.columns + column] / 255 * heat.max_w;
        text.textContent = inside && column >= 0 && column < heat.columns ? `node ${node}: ${Math.round(watts)} W` : "";
      });
  };

  // ------------------------------------------------------------ jobs as lanes
  const jobLanes = (jobs) => {
    const ran = jobs.filter((job) => job.runs.length).slice(0, 60);
    if (!ran.length) return;
    const { box, keys } = card("Jobs", "where each ran");
    for (const name of ["training", "prefill", "decode"]) {
      const key = make("span", "key");
      key.style.setProperty("--c", `var(--${name})`);
      key.append(make("i"), document.createTextNode(name));
      keys.append(key);
    }
    const draw = (u) => {
      const { left, top, width: w, height: h } = u.bbox, { ctx } = u, row = h / ran.length, ratio = devicePixelRatio;
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, top, w, h);
      ctx.clip();
      ctx.font = `${11 * ratio}px system-ui, sans-serif`;
      ctx.textBaseline = "middle";
      ctx.textAlign = "left";
      ran.forEach((job, i) => {
        for (const run of job.runs) {
          const x0 = u.valToPos(run.from, "x", true), x1 = Math.max(u.valToPos(run.to, "x", true), x0 + 2 * ratio);
          ctx.fillStyle = css(job.workload);
          ctx.beginPath();
          ctx.roundRect(x0, top + i * row + 2 * ratio, x1 - x0, row - 4 * ratio, 3 * ratio);
          ctx.fill();
          const label = `node ${run.node}`;
          if (row > 14 * ratio && x1 - x0 > 60 * ratio) {
            ctx.fillStyle = document.documentElement.dataset.theme === "dark" ? "#0d1117" : "#fff";
            ctx.fillText(label, Math.max(x0, left) + 7 * ratio, top + (i + 0.53) * row);
          }
        }
      });
      ctx.restore();
    };
    const every = ran.length <= 40 ? 1 : 5;
    const axis = yAxis({
      splits: () => ran.map((_, i) => i + 0.5).filter((_, i) => i % every === 0),
      values: (u, splits) => splits.map((s) => `#${ran[Math.floor(s)].id}`), grid: { show: false },
    });
    plot(box, Math.min(Math.max(ran.length * 19, 80), 460) + 38, [{ stroke: "transparent" }], [axis, none(RIGHT)],
      { y: { dir: -1, range: () => [0, ran.length] } }, [t, t.map(() => null)], { drawClear: [shade], draw: [draw] }, () => {});
  };

  // ------------------------------------------------------------ events on the time axis
  const eventLane = (events) => {
    const { box, keys } = card("Events", "by severity");
    const text = make("b", "", "");
    const key = make("span", "key");
    key.append(text);
    keys.append(key);
    const draw = (u) => {
      const { left, top, width: w } = u.bbox, { ctx } = u;
      for (const event of events) {
        const x = u.valToPos(event.t, "x", true), y = u.valToPos(event.severity, "y", true);
        if (x < left || x > left + w) continue;
        ctx.globalAlpha = 0.75;
        ctx.fillStyle = css(SEVERITY_COLOURS[event.severity]);
        ctx.beginPath();
        ctx.arc(x, y, 4 * devicePixelRatio, 0, 7);
        ctx.fill();
      }
      ctx.globalAlpha = 1;
    };
    const axis = yAxis({ splits: () => [1, 2, 3, 4], values: (u, splits) => splits.map((s) => SEVERITIES[s]) });
    plot(box, 140, [{ stroke: "transparent" }], [axis, none(RIGHT)], { y: { range: () => [0.4, 4.6] } },
      [t, t.map(() => null)], { drawClear: [shade], draw: [draw] }, (u) => {
        const s = u.posToVal(u.cursor.left, "x"), reach = (u.scales.x.max - u.scales.x.min) * 0.012;
        const row = u.posToVal(u.cursor.top, "y");
        let best = null, least = Infinity;
        for (const event of events) {
          const far = Math.abs(event.t - s) / reach + (u.over.matches(":hover") ? Math.abs(event.severity - row) : 0);
          if (far < least) [best, least] = [event, far];
        }
        const near = best && u.cursor.left >= 0 && Math.abs(best.t - s) < reach;
        text.textContent = near ? `${clock(best.t)}  ${best.source}: ${best.text}` : "";
      });
  };

  // ------------------------------------------------------------ tiles and tables
  const tiles = () => {
    for (const tile of data.tiles) {
      const box = make("div", `tile ${tile.tone}`);
      box.append(make("div", "label", tile.label), make("div", "value", tile.value), make("div", "note", tile.note));
      el("tiles").append(box);
    }
  };
  const cell = (row, text, name) => row.appendChild(make("td", name, text));
  const dotted = (row, text, colour) => {
    const td = make("td"), dot = make("span", "dot");
    dot.style.setProperty("--c", `var(--${colour})`);
    td.append(dot, document.createTextNode(text));
    row.append(td);
  };
  const jobTable = () => {
    el("jobs").hidden = !data.jobs.length;
    for (const job of data.jobs) {
      const row = make("tr"), progress = make("td"), meter = make("span", "meter"), part = make("i");
      const share = job.total ? job.progress / job.total : 0;
      part.style.width = `${100 * share}%`;
      meter.style.setProperty("--c", `var(--${job.workload})`);
      meter.append(part);
      progress.append(meter, document.createTextNode(`${Math.round(100 * share)} %`));
      cell(row, `#${job.id}`);
      dotted(row, job.workload, job.workload);
      cell(row, job.state);
      cell(row, job.priority, "n");
      row.append(progress);
      cell(row, Math.round(job.progress).toLocaleString("en"), "n");
      cell(row, [...new Set(job.runs.map((run) => `node ${run.node}`))].join(", "), "wide");
      cell(row, job.restarts, "n");
      el("job-table").tBodies[0].append(row);
    }
  };
  const eventTable = () => {
    el("events").hidden = !data.events.length;
    const rows = data.events.map((event) => {
      const row = make("tr");
      cell(row, clock(event.t), "n");
      dotted(row, SEVERITIES[event.severity], SEVERITY_COLOURS[event.severity]);
      cell(row, event.source);
      cell(row, event.text, "wide");
      el("event-table").tBodies[0].append(row);
      return row;
    });
    for (const severity of [4, 3, 2, 1]) {
      const count = data.events.filter((event) => event.severity === severity).length;
      if (!count) continue;
      const chip = make("button", "chip", `${SEVERITIES[severity]} ${count}`);
      chip.setAttribute("aria-pressed", "true");
      chip.addEventListener("click", () => {
        const show = chip.getAttribute("aria-pressed") !== "true";
        chip.setAttribute("aria-pressed", String(show));
        data.events.forEach((event, i) => { if (event.severity === severity) rows[i].hidden = !show; });
      });
      el("filters").append(chip);
    }
  };

  // ------------------------------------------------------------ the page
  const theme = (name) => {
    document.documentElement.dataset.theme = name;
    for (const u of plots) u.redraw(false);
  };
  const inner = () => Math.max(el("charts").clientWidth - 38, 240);
  const resize = () => {
    if (inner() === width) return;
    width = inner();
    for (const u of plots) u.setSize({ width, height: u.height });
  };

  const asked = new URLSearchParams(location.search).get("theme");
  theme(asked || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  tiles();
  const any = data.charts.length > 0;
  el("empty").hidden = any;
  el("hint").hidden = !any;
  width = inner();
  if (any) {
    data.charts.forEach(lineChart);
    if (data.heat) heatMap(data.heat);
    jobLanes(data.jobs);
    if (data.events.length) eventLane(data.events);
  }
  jobTable();
  eventTable();
  el("truth-control").hidden = el("truth-note").hidden = !data.truth;
  el("truth").addEventListener("change", (event) => {
    for (const chart of data.charts) chart.showTruth(event.target.checked);
  });
  el("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  el("reset").addEventListener("click", wholeFlight);
  new ResizeObserver(resize).observe(el("charts"));
  document.documentElement.dataset.drawn = String(plots.length);
})();
