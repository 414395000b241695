"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const viewer = at("viewer");
  const words = JSON.parse(at("words").textContent);
  const BINS = words.bins.length;
  const AT_A_TIME = 100; // tokens out of sight that change in one frame
  const UNKNOWN = words.categories.length; // place of a category that is none of these
  const chains = [...viewer.querySelectorAll(".chain")];
  const card = at("card");
  const chosen = (id) => (at(id) ? at(id).value : "");
  const own = (object, key) => (object && Object.hasOwn(object, key) ? object[key] : undefined); // labels may be "__proto__"
  const element = (name, text, className) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  let chain = null; // the one on show: element, numbers, panes; each pane shows its tokens once

  const paneOf = (box) => {
    const pane = { box, element: box.parentElement, legend: box.previousElementSibling, tokens: [...box.querySelectorAll("span")], steps: [], order: [], step: 0, focus: 0 };
    pane.tokens.forEach((token, position) => {
      token.position = position;
      token.pane = pane;
      token.gone = token.classList.contains("gone");
      token.tabIndex = position ? -1 : 0;
      token.colour = [...token.classList].find((name) => /^[csd](\d+|n)$|^kept$/.test(name));
    });
    box.group = pane;
    return pane;
  };
  const read = (article) => {
    article.view ??= { element: article, panes: [paneOf(article.querySelector(".tokens"))], numbers: JSON.parse(article.querySelector("script").textContent) };
    return article.view;
  };

  const short = (value) => {
    if (value === null || value === undefined) return "not given";
    const size = Math.abs(value);
    const text = size && (size < 1e-3 || size >= 1e4) ? value.toExponential(2) : Number.isInteger(value) && size >= 1000 ? String(value) : value.toPrecision(3);
    return text.replaceAll("-", "−");
  };

  // A token has one colour at a time.
  const recolour = (token, name) => {
    if (token.colour === name) return;
    if (token.colour) token.classList.remove(token.colour);
    if (name) token.classList.add(name);
    token.colour = name;
  };

  // By rank, equal values alike: attention has a long tail, and a linear scale would show one colour.
  const ranked = (values) => {
    const order = values.map((_, i) => i).filter((i) => values[i] !== null).sort((a, b) => values[a] - values[b]);
    const ranks = values.map(() => null);
    let first = 0;
    order.forEach((position, rank) => {
      if (rank && values[position] !== values[order[rank - 1]]) first = rank;
      ranks[position] = first / order.length;
    });
    return { ranks, low: values[order[0]], high: values[order[order.length - 1]] };
  };
  const bin = (rank) => Math.min(BINS - 1, Math.floor(rank * BINS));

  const categoryAt = (annotator, i) => {
    const letter = own(chain.numbers.categories, annotator)[i];
    if (letter === "-") return "none";
    return Number(letter) === UNKNOWN ? chain.numbers.others[annotator][i] : words.categories[letter];
  };
  const scale = () => {
    const made = element("span", "", "scale");
    made.append(...words.bins.map((_, i) => element("span", "", `bin${i}`)));
    return made;
  };
  const chips = (title, names) => [element("b", title), ...names.map(([name, place]) => element("span", name, `c${place} chip`))];

  // What a choice of colour means for the chain on show: by token the class and a rank or a label, and the words for it.
  const ways = {
    category: (annotator) => {
      const letters = own(chain.numbers.categories, annotator);
      const names = [...words.categories, "other or none"].map((name, place) => [name, place]);
      return letters && { way: "category", classes: [...letters].map((letter) => `c${letter === "-" ? "n" : letter}`), labels: letters, legend: chips(`category by ${annotator}`, names) };
    },
    class: (annotator) => {
      const letters = own(chain.numbers.categories, annotator);
      if (!letters) return undefined;
      const labels = [...letters].map((letter) => words.class_of[letter] ?? "-");
      const classes = labels.map((label) => (label === "-" ? "cn" : `c${words.class_looks[label]}`));
      return { way: "category", classes, labels, legend: chips(`class by ${annotator}`, words.classes.map((name, i) => [name, words.class_looks[i]])) };
    },
    score: (scorer) => {
      const scores = own(chain.numbers.scores, scorer);
      if (!scores) return undefined;
      const { ranks, low, high } = ranked(scores);
      const said = `by rank within this chain: ${short(low)} → ${short(high)} (higher = more important)`;
      return { way: "score", classes: ranks.map((rank) => (rank === null ? "" : `s${bin(rank)}`)), ranks, legend: [element("b", scorer), scale(), element("span", said)] };
    },
    step: (strategy) => {
      const steps = own(chain.numbers.steps, strategy);
      if (!steps) return undefined;
      const last = Math.max(1, ...steps);
      const ranks = steps.map((step) => (step ? (step - 1) / last : 1));
      return {
        way: "deletion_step", classes: steps.map((step, i) => (step ? `d${bin(ranks[i])}` : "kept")), ranks,
        legend: [element("b", `deletion_step of ${strategy}`), scale(), element("span", "deleted first → deleted last; dotted frame = never deleted")],
      };
    },
  };
  const cut = (choice) => [choice.slice(0, choice.indexOf(":")), choice.slice(choice.indexOf(":") + 1)];
  const painting = (choice) => {
    const [way, label] = cut(choice), found = Object.hasOwn(ways, way) ? ways[way](label) : undefined;
    return found || { way: "none", classes: [], legend: way === "none" ? [] : [element("span", `this chain has no ${label}`)] };
  };
  const suffix = (pane) => (pane === chain.panes[0] ? "" : "-2");
  const paint = (pane) => {
    pane.painting = painting(chosen(`colour${suffix(pane)}`));
    pane.element.className = `pane by-${pane.painting.way}`;
    pane.tokens.forEach((token, i) => recolour(token, pane.painting.classes[i] || ""));
    pane.legend.replaceChildren(...pane.painting.legend);
    compare();
  };

  // Two panes: what differs is framed in both. Two orders differ in what they have deleted, two colours in label or rank.
  const isDeleted = (pane, i) => pane.steps[i] > 0 && pane.steps[i] <= pane.step;
  const isOneOrder = () => new Set(chain.panes.map((pane) => pane.strategy)).size === 1;
  const difference = () => {
    const [one, two] = chain.panes;
    if (!two) return null;
    if (!isOneOrder()) return (i) => isDeleted(one, i) !== isDeleted(two, i);
    const [a, b] = [one.painting, two.painting];
    if (a.ranks && b.ranks) return (i) => a.ranks[i] !== null && b.ranks[i] !== null && Math.abs(a.ranks[i] - b.ranks[i]) >= 1 / 3;
    if (a.labels && b.labels && cut(chosen("colour"))[0] === cut(chosen("colour-2"))[0]) return (i) => a.labels[i] !== b.labels[i];
    return null;
  };
  const mark = (tokens) => {
    const differs = difference();
    for (const token of tokens) {
      const { classList, gone, pane, position } = token;
      classList.toggle("deleted", isDeleted(pane, position));
      classList.toggle("gone", gone);
      classList.toggle("differs", Boolean(differs?.(position)));
      unseen.delete(token);
    }
  };

  // Of many tokens those in sight change at once, and the others once nothing moves: so a long chain answers without delay.
  const unseen = new Set();
  let waiting;
  const inSight = ({ tokens }) => {
    const first = (isThere) => { // They stand from top to bottom.
      let [low, high] = [0, tokens.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (isThere(tokens[middle].getBoundingClientRect())) high = middle;
        else low = middle + 1;
      }
      return low;
    };
    return tokens.slice(first((box) => box.bottom > 0), first((box) => box.top > innerHeight));
  };
  const markInSight = () => unseen.size && mark(chain.panes.flatMap(inSight).filter(unseen.has, unseen));
  const markSome = () => {
    mark([...unseen].slice(0, AT_A_TIME));
    if (unseen.size) waiting = setTimeout(markSome, 100);
  };
  const markSoon = (tokens) => {
    if (tokens.length <= AT_A_TIME) return mark(tokens);
    clearTimeout(waiting);
    tokens.forEach(unseen.add, unseen);
    markInSight();
    waiting = setTimeout(markSome, 250);
  };
  addEventListener("beforeprint", () => mark(unseen));
  addEventListener("scroll", markInSight);

  const compare = () => {
    if (chain.panes.some((pane) => !pane.painting)) return;
    mark(chain.panes.flatMap((pane) => pane.tokens));
    sayDifference();
  };
  const sayDifference = () => {
    const [one, two] = chain.panes, differs = difference(), said = at("difference");
    said.hidden = !two;
    if (!two) return;
    const places = [...one.tokens.keys()].filter((i) => differs?.(i));
    if (!isOneOrder()) {
      const first = places.filter((i) => isDeleted(one, i)).length;
      said.textContent = `Framed: deleted by one of the two only: ${first} by ${one.strategy}, ${places.length - first} by ${two.strategy}.`;
    } else if (!differs) said.textContent = "Nothing is framed: choose two scores, two labels or two orders to see where they differ.";
    else said.textContent = `Framed: ${places.length} of ${one.tokens.length} tokens whose ${one.painting.ranks ? "ranks differ by a third of the chain or more" : "labels differ"}.`;
  };

  // Only the tokens between the old and the new step change.
  const prune = (wanted) => {
    const changed = new Set(), slider = at("step"), said = at("reading");
    said.style.minHeight = `${said.getBoundingClientRect().height}px`; // What is below does not move up and down with the slider.
    for (const pane of chain.panes) {
      const step = Math.min(wanted, pane.order.length), [low, high] = [Math.min(step, pane.step), Math.max(step, pane.step)];
      pane.order.slice(low, high).forEach((i) => changed.add(i));
      pane.step = step;
    }
    markSoon(chain.panes.flatMap(({ tokens }) => [...changed].map((i) => tokens[i])));
    sayDifference();
    slider.value = wanted;
    const lines = (isOneOrder() ? chain.panes.slice(0, 1) : chain.panes).map(reading);
    said.replaceChildren(...lines);
    slider.setAttribute("aria-valuetext", lines.map((line) => line.textContent).join("; "));
    at("marker").setAttribute("d", `M${((600 * wanted) / Math.max(1, slider.max)).toFixed(1)} 0V44`);
    viewer.dispatchEvent(new Event("moved"));
  };
  const reading = (pane) => {
    const { step, strategy, order } = pane, total = pane.tokens.length;
    const nll = own(chain.numbers.nll, strategy) || [], value = nll[step], change = value - nll[0];
    const known = value !== null && value !== undefined;
    const line = element("span", isOneOrder() ? "" : `${strategy}: `);
    line.append(
      `step ${step} of ${order.length} · ${Math.round((100 * step) / total)} % of ${total} tokens deleted · nll of the answer `,
      element("b", known ? short(value) : value === null ? "not evaluated" : "not given"),
      known ? ` nats per token${step ? ` (${change < 0 ? "−" : "+"}${short(Math.abs(change))})` : ", unpruned"}` : "",
    );
    return line;
  };
  const drawCurves = () => {
    const curves = chain.panes.map((pane) => own(chain.numbers.nll, pane.strategy) || []);
    const known = curves.flat().filter((value) => value !== null), last = Math.max(1, at("step").max);
    const low = Math.min(...known), high = Math.max(...known);
    const point = (value, k) => (value === null ? null : `${((600 * k) / last).toFixed(1)} ${(40 - (36 * (value - low)) / (high - low || 1)).toFixed(1)}`);
    for (const [i, id] of [[0, "line"], [1, "line-2"]]) {
      const points = (i && isOneOrder() ? [] : curves[i]).map(point).filter((text) => text !== null);
      at(id).setAttribute("d", points.length ? `M${points.join("L")}` : "");
    }
    at("curve-high").textContent = known.length ? short(high) : "";
    at("curve-low").textContent = known.length ? short(low) : "";
    at("curve-end").textContent = `${last}`;
    const [one, two] = chain.panes.map((pane) => pane.strategy);
    at("curve-name").textContent = `nll of the answer after so many deletions, lower = better supported${isOneOrder() ? "" : `; line: ${one}, dashed: ${two}`}`;
  };
  const order = (pane) => {
    pane.strategy = chosen(`strategy${suffix(pane)}`);
    pane.steps = own(chain.numbers.steps, pane.strategy) || [];
    pane.order = [];
    pane.steps.forEach((step, i) => { if (step) pane.order[step - 1] = i; });
    pane.step = 0;
  };
  const changeOrders = (step) => {
    chain.panes.forEach(order);
    compare();
    if (!at("step")) return;
    at("reading").style.minHeight = "";
    at("step").max = Math.max(...chain.panes.map((pane) => pane.order.length));
    drawCurves();
    prune(Math.min(step, at("step").max));
  };

  // A second view of the same chain.
  const second = (wanted) => {
    const [one, two] = chain.panes;
    mark(unseen);
    if (two) two.element.remove();
    chain.panes = [one];
    one.element.parentElement.classList.toggle("two", wanted);
    if (!wanted) return;
    const pane = one.element.cloneNode(true);
    one.element.after(pane);
    chain.panes.push(paneOf(pane.querySelector(".tokens")));
    pane.querySelector(".tokens").setAttribute("aria-label", "The same tokens, to compare");
  };
  // What it shows at first: the next order; if there is one order, the next score or the next annotator, or else a score.
  const next = (id, isFit) => {
    const options = [...at(id).options], place = options.findIndex((option) => option.value === at(id).value);
    const found = [...options.slice(place + 1), ...options.slice(0, place)].find((option) => isFit(cut(option.value)[0]));
    if (found) at(id).value = found.value;
    return Boolean(found);
  };
  const propose = () => {
    const [way] = cut(chosen("colour"));
    at("colour-2").value = chosen("colour");
    if (at("strategy")?.options) {
      at("strategy-2").value = chosen("strategy");
      next("strategy-2", () => true);
      if (way === "step") at("colour-2").value = `step:${chosen("strategy-2")}`;
    } else if (!next("colour-2", (other) => other === way)) next("colour-2", (other) => other === "score");
  };
  const comparing = () => {
    const wanted = at("compare").checked;
    at("second").hidden = !wanted;
    second(wanted);
    chain.panes.forEach(paint);
    changeOrders(at("step") ? Number(at("step").value) : 0);
    viewer.dispatchEvent(new Event("panes"));
  };

  const show = (index) => {
    hide();
    if (chain) {
      second(false);
      chain.element.classList.remove("active");
    }
    chain = read(chains[index]);
    chain.element.classList.add("active");
    at("chain").value = index;
    second(at("compare").checked);
    chain.panes.forEach(paint);
    changeOrders(0);
    viewer.dispatchEvent(new Event("chain"));
  };

  const titleOf = (text, note) => element("strong", (text ? `“${text.replaceAll("\n", "↵")}”` : "(no text)") + note);
  const rows = (token) => {
    const i = token.position, { numbers } = chain, given = [["position", `${i} of 0 to ${chain.panes[0].tokens.length - 1}`]];
    for (const annotator of Object.keys(numbers.categories)) {
      const sure = own(numbers.confidence, annotator);
      const name = categoryAt(annotator, i) + (sure && sure[i] !== null ? ` (confidence ${sure[i]})` : "");
      given.push([Object.keys(numbers.categories).length > 1 ? `category by ${annotator}` : "category", name]);
    }
    const roles = Object.keys(numbers.roles).filter((role) => numbers.roles[role].includes(i));
    if (roles.length) given.push(["role", roles.join(", ").replaceAll("_", " ")]);
    for (const pane of isOneOrder() ? chain.panes.slice(0, 1) : chain.panes) {
      if (!pane.steps.length) continue;
      const name = isOneOrder() ? "deletion_step" : `deletion_step of ${pane.strategy}`;
      given.push([name, pane.steps[i] ? `${pane.steps[i]} of ${pane.order.length}` : "never deleted"]);
    }
    if (numbers.sweep) given.push(["at this threshold", token.gone ? "gone" : "kept"]);
    for (const [scorer, values] of Object.entries(numbers.scores)) given.push([scorer, short(values[i])]);
    return [...given, ["token id", String(numbers.ids[i])]];
  };
  const describe = (token) => {
    const group = groupOf(token), ofChain = chain.panes.includes(group), list = document.createElement("dl");
    const given = ofChain ? rows(token) : group.rows(token);
    list.append(...given.flatMap(([name, value]) => {
      const width = value.length > 12 || name.length > 30 ? "words" : "";
      return [element("dt", name, width), element("dd", value, width)];
    }));
    const hidden = ofChain ? own(chain.numbers.hidden, token.position) : "";
    card.classList.toggle("long", given.length > 12);
    card.replaceChildren(titleOf(token.textContent || hidden, hidden ? " (part of a character)" : ""), list);
  };
  let here = []; // the token that is pointed at, and its twin in the other pane
  const hide = () => {
    for (const token of here) token.classList.remove("here");
    here = [];
    card.hidden = true;
  };
  const point = (token) => {
    for (const each of here) each.classList.remove("here");
    const group = groupOf(token);
    here = [token, ...(chain.panes.includes(group) ? chain.panes.filter((pane) => pane !== group).map((pane) => pane.tokens[token.position]) : [])];
    for (const each of here) each.classList.add("here");
    describe(token);
    card.hidden = false;
    const rects = token.getClientRects();
    const box = rects.length ? rects[rects.length - 1] : token.getBoundingClientRect();
    const below = box.bottom + 8 + card.offsetHeight < innerHeight;
    card.style.left = `${Math.max(8, Math.min(box.left, innerWidth - card.offsetWidth - 8))}px`;
    card.style.top = `${below ? box.bottom + 8 : Math.max(8, box.top - card.offsetHeight - 8)}px`;
  };
  const tokenOf = (event) => {
    const token = event.target.closest ? event.target.closest(".tokens span,div.flow > span") : null;
    return token && chain && chain.element.contains(token) ? token : null;
  };
  const groupOf = (token) => token.closest(".tokens,.flow").group; // tokens among which the arrow keys go
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
  // Keys of the whole viewer: as long as the focus is in it or nowhere, and not where one types.
  document.addEventListener("keydown", (event) => {
    const { target } = event, inside = target === document.body || viewer.contains(target);
    if (!inside || event.ctrlKey || event.metaKey || event.altKey || target.matches("input[type=search],textarea,select")) return;
    const by = { "[": -1, "]": 1, "{": -10, "}": 10 }[event.key];
    if (event.key === "/") {
      event.preventDefault();
      at("find").focus();
    } else if (by && at("step")) {
      prune(Math.max(0, Math.min(Number(at("step").max), Number(at("step").value) + by)));
    }
  });
  addEventListener("scroll", () => {
    if (!here.length) return;
    if (here[0] === document.activeElement || here[0].matches(":hover")) point(here[0]);
    else hide();
  }, { passive: true });

  at("step")?.addEventListener("input", (event) => prune(Number(event.target.value)));
  for (const id of ["colour", "colour-2"]) at(id).addEventListener("change", () => { chain.panes.forEach(paint); viewer.dispatchEvent(new Event("moved")); });
  for (const id of ["strategy", "strategy-2"]) at(id)?.addEventListener("change", () => changeOrders(Number(at("step").value)));
  at("compare").addEventListener("change", () => { propose(); comparing(); });

  const select = at("chain");
  const options = [...select.options];
  const textOf = (article) => {
    article.search ??= [article.querySelector("h3"), article.querySelector(".question"), article.querySelector(".tokens")]
      .map((part) => part.textContent).join("\n").toLowerCase();
    return article.search;
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
  viewer.tools = { at, bin, chains, comparing, cut, element, isDeleted, markSoon, own, prune, ranked, recolour, short, show, words, view: () => chain };
  show(0);
})();
