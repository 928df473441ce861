// Steps through recorded episodes. Everything an agent wrote goes to the page as text (textContent), never as markup.
(() => {
  const { groups, tasks, pages } = JSON.parse(document.getElementById("payload").textContent);
  const byId = (id) => document.getElementById(id);
  if (!tasks.length) return;

  const FILTERS = {
    "all tasks": () => true,
    "solved at the end": (task) => task.runs.at(-1).success,
    "not solved at the end": (task) => !task.runs.at(-1).success,
    "gained": (task) => task.runs.at(-1).score > task.runs[0].score,
    "lost": (task) => task.runs.at(-1).score < task.runs[0].score,
    "with refused actions": (task) => task.runs.some((run) => run.turns.some((turn) => !turn.valid)),
    "with verdicts of the Checker": (task) => task.runs.some((run) => run.turns.some((turn) => turn.review)),
  };
  for (const name of ["partial score", "no score", "turn limit", "error"]) FILTERS[`ended with: ${name}`] = (task) => task.runs.some((run) => run.ending === name);
  if (groups.length > 1) groups.forEach((group, place) => { FILTERS[`${place + 1}. ${group.world}`] = (task) => task.group === place; });
  let shown = tasks, current = tasks[0], turn = 0, timer = null;

  function element(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }
  const color = (stage) => `s${stage % 6 + 1}`;
  const number = (value) => Number(value).toFixed(2);
  const stages = (task) => groups[task.group].stages;
  const length = (task) => Math.max(...task.runs.map((run) => run.turns.length));

  function drawTasks() {
    byId("tasks").replaceChildren(...shown.map((task) => {
      const button = element("button");
      button.type = "button";
      button.append(element("span", "excerpt", task.instruction));
      const chips = element("span", "chips");
      task.runs.forEach((run, stage) => {
        const chip = element("span");
        chip.append(element("span", `swatch ${color(stage)}`), `${number(run.score)}`);
        chip.title = stages(task)[stage];
        chips.append(chip);
      });
      button.append(chips);
      button.setAttribute("aria-current", String(task === current));
      button.addEventListener("click", () => open(task));
      const item = element("li");
      item.append(button);
      return item;
    }));
    if (!shown.length) byId("tasks").append(element("li", "note", "No such task."));
  }

  function block(parent, heading, className, text) {
    parent.append(element("h5", "", heading), element("div", `text ${className}`, text));
  }

  // What the agent saw: the memory's parts, folded away where they are long, and the page.
  function drawSeen(card, heading, seen, page) {
    if (seen.task) block(card, "Task", "", seen.task);
    for (const [name, lines] of [["Lessons from memory", seen.lessons], ["Recent turns, from memory", seen.turns]]) {
      if (!lines) continue;
      const fold = element("details", "memory");
      fold.open = opened.has(name);
      fold.addEventListener("toggle", () => { if (fold.open) opened.add(name); else opened.delete(name); });
      fold.append(element("summary", "", `${name} (${lines.length})`), element("div", "text", lines.join("\n")));
      card.append(fold);
    }
    block(card, heading, "observation", seen.observation);
    if (page === undefined) return;
    const fold = element("details", "rendered");
    fold.open = opened.has("page");
    const frame = () => {
      const node = element("iframe");
      node.setAttribute("sandbox", "");  // no scripts, no forms, no way out; the file's own policy holds inside, too
      node.setAttribute("referrerpolicy", "no-referrer");
      node.title = "The page as a browser shows it";
      node.srcdoc = pages[page];
      return node;
    };
    fold.append(element("summary", "", "Rendered page"));
    if (fold.open) fold.append(frame());
    fold.addEventListener("toggle", () => {
      if (fold.open) { opened.add("page"); if (!fold.querySelector("iframe")) fold.append(frame()); } else opened.delete("page");
    });
    card.append(fold);
  }
  const opened = new Set();

  function drawReview(card, step) {
    const verdict = element("div", "review");
    verdict.append(element("span", `badge ${step.review.accept ? "good" : "bad"}`, step.review.accept ? "Checker: accept" : "Checker: reject"));
    verdict.append(element("span", "badge", `Checker's reward ${number(step.review.reward)}`));
    if (!step.executed) verdict.append(element("span", "badge bad", "not carried out"));
    card.append(verdict);
    if (step.review.feedback) block(card, "Feedback", "", step.review.feedback);
  }

  function drawRun(run, stage) {
    const card = element("article", `run ${color(stage)}`);
    const header = element("header");
    header.append(element("h4", "", stages(current)[stage]));
    header.append(element("span", `badge ${run.success ? "good" : ""}`, `final score ${number(run.score)}`));
    card.append(header);
    const chart = timeline(run, turn, go);
    if (chart) card.append(chart);
    if (turn < run.turns.length) {
      const step = run.turns[turn];
      drawSeen(card, "Observation", step.seen, run.pages[turn]);
      if (step.thought) block(card, "Thought", "thought", step.thought);
      block(card, "Action", "action", step.action);
      if (step.review) drawReview(card, step);
      const facts = element("div", "facts");
      if (step.value !== null && step.value !== undefined) facts.append(element("span", "badge", `V(s) ${number(step.value)}`));
      facts.append(element("span", "badge", `reward ${number(step.reward)}`));
      facts.append(element("span", "badge", `score ${number(step.score)}`));
      if (!step.valid) facts.append(element("span", "badge bad", "refused"));
      for (const [name, value] of Object.entries(step.notes)) facts.append(element("span", "badge", `${name} ${value}`));
      card.append(facts);
    } else {
      const count = `${run.turns.length} turn${run.turns.length === 1 ? "" : "s"}`;
      const how = run.error ? `Ended by an error after ${count}: ${run.error}` : `Ended after ${count}` + (run.truncated ? ", at the turn limit" : "");
      block(card, "End", "", how);
      if (run.final.observation) drawSeen(card, "Last observation", run.final, run.pages[run.turns.length]);
      const facts = element("div", "facts");
      facts.append(element("span", `badge ${run.success ? "good" : "bad"}`, run.ending));
      card.append(facts);
    }
    return card;
  }

  function draw() {
    const end = length(current);
    turn = Math.min(Math.max(turn, 0), end);
    byId("slider").max = String(end);
    byId("slider").value = String(turn);
    byId("position").textContent = turn < end ? `Turn ${turn + 1} of ${end}` : `End, ${end} turn${end === 1 ? "" : "s"}`;
    byId("first").disabled = byId("back").disabled = turn === 0;
    byId("last").disabled = byId("forward").disabled = turn === end;
    byId("runs").replaceChildren(...current.runs.map(drawRun));
    if (turn === end) stop();
  }

  function go(to) { turn = to; draw(); }

  function open(task) {
    stop();
    current = task;
    byId("instruction").textContent = task.instruction;
    byId("task-id").textContent = task.id;
    [...byId("tasks").querySelectorAll("button")].forEach((button, index) => button.setAttribute("aria-current", String(shown[index] === task)));
    go(0);
  }

  function neighbour(step) {
    const next = shown[shown.indexOf(current) + step];
    if (next) open(next);
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    byId("play").textContent = "Play";
    byId("play").setAttribute("aria-pressed", "false");
  }

  function play() {
    if (timer) return stop();
    if (turn === length(current)) go(0);
    timer = setInterval(() => go(turn + 1), 1200);
    byId("play").textContent = "Pause";
    byId("play").setAttribute("aria-pressed", "true");
  }

  byId("first").addEventListener("click", () => go(0));
  byId("back").addEventListener("click", () => go(turn - 1));
  byId("forward").addEventListener("click", () => go(turn + 1));
  byId("last").addEventListener("click", () => go(length(current)));
  byId("play").addEventListener("click", play);
  byId("slider").addEventListener("input", (event) => go(Number(event.target.value)));
  byId("filter").append(...Object.keys(FILTERS).filter((name) => tasks.some(FILTERS[name])).map((name) => element("option", "", name)));
  byId("filter").addEventListener("change", (event) => {
    shown = tasks.filter(FILTERS[event.target.value]);
    drawTasks();
    if (shown.length && !shown.includes(current)) open(shown[0]);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
    const actions = {
      ArrowLeft: () => go(turn - 1), ArrowRight: () => go(turn + 1), Home: () => go(0), End: () => go(length(current)),
      n: () => neighbour(1), p: () => neighbour(-1),
    };
    const action = actions[event.key] || actions[event.key.toLowerCase()];
    if (action) { event.preventDefault(); action(); }
  });

  byId("viewer").hidden = false;
  drawTasks();
  open(tasks[0]);
})();
