"use strict";
// Draws what was recorded turn by turn: score, the Checker's value and verdicts, rewards; with a line at the present turn.
const timeline = (() => {
  const WIDTH = 320, HEIGHT = 74, TOP = 8, BOTTOM = 62;
  const SVG = "http://www.w3.org/2000/svg";

  function shape(tag, attributes, title) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (title) { const text = document.createElementNS(SVG, "title"); text.textContent = title; node.append(text); }
    return node;
  }

  // Name, style and the number of each turn, null where there is none.
  function series(run) {
    return [
      ["score", "t1", run.turns.map((turn) => turn.score)],
      ["value V(s)", "t2", run.turns.map((turn) => turn.value)],
      ["Checker's reward", "t3", run.turns.map((turn) => turn.review ? turn.review.reward : "critic_reward" in turn.notes ? Number(turn.notes.critic_reward) : null)],
      ["reward", "t4", run.turns.map((turn) => turn.reward)],
    ].filter(([, , values]) => values.some((value) => value !== null && value !== undefined && Number.isFinite(value) && value !== 0));
  }

  return (run, turn, go) => {
    const lines = series(run);
    if (run.turns.length < 2 || !lines.length) return null;
    const all = lines.flatMap(([, , values]) => values.filter((value) => value !== null && Number.isFinite(value)));
    const low = Math.min(0, ...all), high = Math.max(1, ...all), last = run.turns.length - 1;
    const x = (position) => 6 + position / last * (WIDTH - 12);
    const y = (value) => BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP);
    const svg = shape("svg", { class: "timeline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Values over the turns" });
    svg.append(shape("line", { class: "grid", x1: 6, x2: WIDTH - 6, y1: y(0), y2: y(0) }));
    if (turn <= last) svg.append(shape("line", { class: "now", x1: x(turn), x2: x(turn), y1: TOP - 4, y2: BOTTOM + 4 }));
    for (const [name, style, values] of lines) {
      const points = values.map((value, position) => [position, value]).filter(([, value]) => value !== null && value !== undefined && Number.isFinite(value));
      svg.append(shape("polyline", { class: `trace ${style}`, points: points.map(([p, v]) => `${x(p).toFixed(1)},${y(v).toFixed(1)}`).join(" ") }));
      for (const [p, v] of points) svg.append(shape("circle", { class: `mark ${style}`, cx: x(p), cy: y(v), r: 2.5 }, `${name}, turn ${p + 1}: ${v.toFixed(3)}`));
    }
    run.turns.forEach((step, position) => {
      if (!step.valid || !step.executed) svg.append(shape("path", { class: "cross", d: `M${x(position) - 3} ${HEIGHT - 8}l6 6m0-6l-6 6` }, step.valid ? "held back by the Checker" : "refused"));
      const spot = shape("rect", { class: "spot", x: x(position) - WIDTH / (2 * last + 2), y: 0, width: WIDTH / (last + 1), height: HEIGHT });
      spot.addEventListener("click", () => go(position));
      svg.append(spot);
    });
    const box = document.createElement("div");
    box.className = "timeline-box";
    const legend = document.createElement("p");
    legend.className = "keys";
    for (const [name, style] of lines) {
      const entry = document.createElement("span"), key = document.createElement("span");
      key.className = `key ${style}`;
      entry.append(key, name);
      legend.append(entry);
    }
    box.append(svg, legend);
    return box;
  };
})();
