"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const at = (id) => document.getElementById(id);
  const themes = ["system", "light", "dark"];
  at("theme").addEventListener("click", (event) => {
    const next = themes[(themes.indexOf(root.dataset.theme || "system") + 1) % 3];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    event.currentTarget.textContent = `Theme: ${next}`;
  });

  const viewer = at("viewer");
  if (!viewer) return;
  const BINS = Number(viewer.dataset.bins);
  const categoryNames = JSON.parse(at("names").textContent);
  const UNKNOWN = categoryNames.length; // place of a category that is none of these
  const chains = [...viewer.querySelectorAll(".chain")];
  const card = at("card");
  const chosen = (id) => (at(id) ? at(id).value : null);
  let chain = null; // the one on show: element, tokens, numbers, order, step

  const read = (element) => {
    if (element.view) return element.view;
    element.view = {
      element,
      box: element.querySelector(".tokens"),
      tokens: [...element.querySelectorAll(".tokens > span")],
      numbers: JSON.parse(element.querySelector("script").textContent),
      order: [],
      step: 0,
      focus: 0,
    };
    const view = element.view;
    view.tokens.forEach((token, position) => (token.position = position));
    if (view.tokens.length) view.tokens[0].tabIndex = 0;
    return view;
  };

  const short = (value) => {
    if (value === null || value === undefined) return "not given";
    if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e4)) return value.toExponential(2);
    return Number.isInteger(value) && Math.abs(value) >= 1000 ? String(value) : value.toPrecision(3);
  };

  const swap = (token, kind, value) => {
    for (const name of [...token.classList]) if (name[0] === kind && /^.(\d+|n)$/.test(name)) token.classList.remove(name);
    if (value !== null) token.classList.add(kind + value);
  };

  // Bin by rank, equal values in the same bin: attention has a long tail, and a linear scale would show one colour.
  const bins = (values) => {
    const order = values.map((_, i) => i).filter((i) => values[i] !== null).sort((a, b) => values[a] - values[b]);
    const result = values.map(() => null);
    let first = 0;
    order.forEach((position, rank) => {
      if (rank && values[position] !== values[order[rank - 1]]) first = rank;
      result[position] = Math.min(BINS - 1, Math.floor((first / order.length) * BINS));
    });
    return { result, low: values[order[0]], high: values[order[order.length - 1]] };
  };

  const paintCategories = () => {
    const letters = chain.numbers.categories[chosen("annotator")];
    if (letters) chain.tokens.forEach((token, i) => swap(token, "c", letters[i] === "-" ? "n" : letters[i]));
  };
  const paintScores = () => {
    const scorer = chosen("scorer");
    const scores = chain.numbers.scores[scorer];
    if (!scores) return;
    const { result, low, high } = bins(scores);
    chain.tokens.forEach((token, i) => swap(token, "s", result[i]));
    at("legend-score").textContent = `${scorer}, by rank within this chain: ${short(low)} → ${short(high)} (higher = more important)`;
  };
  const paintSteps = () => {
    const steps = chain.numbers.steps[chosen("strategy")];
    if (!steps) return;
    chain.order = [];
    steps.forEach((step, i) => { if (step) chain.order[step - 1] = i; });
    chain.tokens.forEach((token, i) => {
      swap(token, "d", steps[i] ? Math.min(BINS - 1, Math.floor(((steps[i] - 1) / chain.order.length) * BINS)) : null);
      token.classList.toggle("kept", !steps[i]);
    });
  };

  // Only the tokens between the old and the new step change.
  const prune = (step) => {
    for (let k = chain.step; k < step; k++) chain.tokens[chain.order[k]].classList.add("deleted");
    for (let k = step; k < chain.step; k++) chain.tokens[chain.order[k]].classList.remove("deleted");
    chain.step = step;
    const slider = at("step");
    if (!slider) return;
    slider.value = step;
    const nll = chain.numbers.nll[chosen("strategy")] || [];
    const total = chain.tokens.length;
    const change = nll[step] - nll[0];
    const known = nll[step] !== null && nll[step] !== undefined;
    const text = `step ${step} of ${chain.order.length} · ${Math.round((100 * step) / total)} % of ${total} tokens deleted`;
    at("reading").innerHTML = "<span></span> · nll of the answer <b></b> <span></span>";
    const [left, value, right] = at("reading").children;
    left.textContent = text;
    value.textContent = known ? short(nll[step]) : nll[step] === null ? "not evaluated" : "not given";
    right.textContent = known ? `nats per token${step ? ` (${change < 0 ? "−" : "+"}${short(Math.abs(change))})` : ", unpruned"}` : "";
    slider.setAttribute("aria-valuetext", `${text}, nll of the answer ${value.textContent}${known ? " nats per token" : ""}`);
    const x = chain.order.length ? (600 * step) / chain.order.length : 0;
    at("marker").setAttribute("d", `M${x.toFixed(1)} 0V44`);
  };
  const drawCurve = () => {
    const nll = (chain.numbers.nll[chosen("strategy")] || []);
    const known = nll.filter((value) => value !== null);
    const low = Math.min(...known), high = Math.max(...known);
    const point = (value, k) => value === null ? null
      : `${((600 * k) / Math.max(1, nll.length - 1)).toFixed(1)} ${(40 - (36 * (value - low)) / (high - low || 1)).toFixed(1)}`;
    const points = nll.map(point).filter((text) => text !== null);
    at("line").setAttribute("d", points.length ? `M${points.join("L")}` : "");
  };
  const changeStrategy = (step) => {
    chain.tokens.forEach((token) => token.classList.remove("deleted"));
    chain.step = 0;
    paintSteps();
    if (!at("step")) return;
    at("step").max = chain.order.length;
    drawCurve();
    prune(Math.min(step, chain.order.length));
  };

  const show = (index) => {
    hide();
    if (chain) chain.element.classList.remove("active");
    chain = read(chains[index]);
    chain.element.classList.add("active");
    at("chain").value = index;
    paintCategories();
    paintScores();
    changeStrategy(0);
    viewer.dispatchEvent(new Event("chain"));
  };

  const row = (list, name, value) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    list.append(dt, dd);
  };
  const titleOf = (text, note) => {
    const title = document.createElement("strong");
    title.textContent = (text ? `“${text.replaceAll("\n", "↵")}”` : "(no text)") + note;
    return title;
  };
  const describe = (token) => {
    const i = token.position, { numbers } = chain, annotator = chosen("annotator"), strategy = chosen("strategy");
    const list = document.createElement("dl"), group = token.parentElement.group;
    if (group) {
      for (const [name, value] of group.rows(token)) row(list, name, value);
      return card.replaceChildren(titleOf(token.textContent, ""), list);
    }
    row(list, "position", `${i} of 0 to ${chain.tokens.length - 1}`);
    if (annotator && numbers.categories[annotator]) {
      const letter = numbers.categories[annotator][i], sure = numbers.confidence[annotator];
      const name = letter === "-" ? "none" : Number(letter) === UNKNOWN ? numbers.others[annotator][i] : categoryNames[letter];
      row(list, "category", name + (sure && sure[i] !== null ? ` (confidence ${sure[i]})` : ""));
    }
    for (const [scorer, values] of Object.entries(numbers.scores)) row(list, scorer, short(values[i]));
    if (strategy && numbers.steps[strategy]) row(list, "deletion_step", numbers.steps[strategy][i] ? `${numbers.steps[strategy][i]} of ${chain.order.length}` : "never deleted");
    if (numbers.sweep) row(list, "at this threshold", token.classList.contains("gone") ? "gone" : "kept");
    row(list, "token id", String(numbers.ids[i]));
    card.replaceChildren(titleOf(token.textContent || numbers.hidden[i], numbers.hidden[i] ? " (part of a character)" : ""), list);
  };
  let here = null;
  const hide = () => {
    if (here) here.classList.remove("here");
    here = null;
    card.hidden = true;
  };
  const point = (token) => {
    if (here) here.classList.remove("here");
    here = token;
    token.classList.add("here");
    describe(token);
    card.hidden = false;
    const rects = token.getClientRects();
    const box = rects.length ? rects[rects.length - 1] : token.getBoundingClientRect();
    const below = box.bottom + 8 + card.offsetHeight < window.innerHeight;
    card.style.left = `${Math.max(8, Math.min(box.left, window.innerWidth - card.offsetWidth - 8))}px`;
    card.style.top = `${below ? box.bottom + 8 : Math.max(8, box.top - card.offsetHeight - 8)}px`;
  };
  const tokenOf = (event) => {
    const token = event.target.closest ? event.target.closest(".tokens > span,div.flow > span") : null;
    return token && chain && chain.element.contains(token) ? token : null;
  };
  const groupOf = (token) => token.parentElement.group || chain; // tokens among which the arrow keys go
  const rove = (token) => {
    const group = groupOf(token);
    group.tokens[group.focus].tabIndex = -1;
    group.focus = token.position;
    token.tabIndex = 0;
    token.focus();
  };
  viewer.addEventListener("pointerover", (event) => {
    const token = tokenOf(event);
    if (token) point(token);
    else if (!viewer.contains(document.activeElement) || !tokenOf({ target: document.activeElement })) hide();
  });
  viewer.addEventListener("pointerleave", hide);
  viewer.addEventListener("focusin", (event) => (tokenOf(event) ? point(tokenOf(event)) : hide()));
  viewer.addEventListener("focusout", hide);
  viewer.addEventListener("click", (event) => tokenOf(event) && rove(tokenOf(event)));
  viewer.addEventListener("keydown", (event) => {
    const token = tokenOf(event);
    if (event.key === "Escape") return hide();
    if (!token || event.ctrlKey || event.metaKey || event.altKey) return;
    const { tokens, end } = groupOf(token), last = (end ?? tokens.length) - 1, i = token.position;
    const goal = { ArrowRight: i + 1, ArrowLeft: i - 1, ArrowDown: i + 10, ArrowUp: i - 10, Home: 0, End: last }[event.key];
    if (goal === undefined) return;
    event.preventDefault();
    rove(tokens[Math.max(0, Math.min(last, goal))]);
  });
  window.addEventListener("scroll", () => { if (!here) return; if (here === document.activeElement || here.matches(":hover")) point(here); else hide(); }, { passive: true });

  for (const radio of viewer.querySelectorAll("input[name=colour]")) {
    radio.addEventListener("change", () => (viewer.className = `by-${radio.value}`));
  }
  const first = viewer.querySelector("input[name=colour]:checked") || viewer.querySelector("input[name=colour]:not(:disabled)");
  if (first) { first.checked = true; viewer.className = `by-${first.value}`; }
  if (at("step")) at("step").addEventListener("input", (event) => prune(Number(event.target.value)));
  for (const [id, change] of [["strategy", () => changeStrategy(chain.step)], ["scorer", paintScores], ["annotator", paintCategories]]) {
    if (at(id)) at(id).addEventListener("change", change);
  }

  const select = at("chain");
  const options = [...select.options];
  const textOf = (element) => {
    element.search ??= [element.querySelector("h3"), element.querySelector(".question"), element.querySelector(".tokens")]
      .map((part) => part.textContent).join("\n").toLowerCase();
    return element.search;
  };
  at("search").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    const found = options.filter((option) => !wanted || textOf(chains[option.value]).includes(wanted));
    at("matches").textContent = wanted ? `${found.length || "none"} of ${chains.length} match` : "";
    if (!found.length) return;
    const current = select.value;
    select.replaceChildren(...found);
    if (found.some((option) => option.value === current)) select.value = current;
    else show(Number(found[0].value));
  });
  select.addEventListener("change", () => show(Number(select.value)));
  const go = (by) => {
    const listed = [...select.options];
    const place = listed.findIndex((option) => option.value === select.value) + by;
    if (listed.length) show(Number(listed[(place + listed.length) % listed.length].value));
  };
  at("previous").addEventListener("click", () => go(-1));
  at("next").addEventListener("click", () => go(1));
  viewer.tools = { bins, short, swap };
  show(0);
})();
