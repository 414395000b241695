"use strict";
(() => {
  const viewer = document.getElementById("viewer");
  const { at, bin, element, ranked, recolour, short } = viewer.tools;
  const panel = at("written");
  const slider = at("time"), box = panel.querySelector("div.flow"), choice = at("writing");
  let all = []; // texts of the chain on show
  let writing = null; // the one on show
  let tokens = [];
  let starts = []; // by stop, first token of every step
  let stepOf = [], goneAt = []; // by token, its step at this stop, and the stop at which it went
  let now = 0; // the stop; behind the last event all is written

  const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
  const read = (total) => writing.prompt + total - 1; // the newest token is not in the cache yet

  const spanOf = (piece, position) => {
    const token = document.createElement("span");
    token.position = position;
    if (!piece) token.className = "z";
    piece.split("\n").forEach((line, k) => token.append(...(k ? [document.createElement("i"), "\n"] : []), line));
    return token;
  };
  const fill = () => {
    let cursor = 0;
    tokens = writing.lengths.map((length, i) => spanOf(writing.text.slice(cursor, (cursor += length)), i));
    for (const i of writing.again) tokens[i].classList.add("again");
    if (writing.reasoning) tokens.forEach((token, i) => token.classList.toggle("around", i < writing.reasoning[0] || i >= writing.reasoning[1]));
    if (tokens.length) tokens[0].tabIndex = 0;
    box.replaceChildren(...tokens);
    box.group = { tokens, focus: 0, rows, end: tokens.length };
  };
  const decode = () => {
    goneAt = tokens.map(() => Infinity);
    writing.gone.forEach((borders, stop) => {
      for (let k = 0; k < borders.length; k += 2) goneAt.fill(stop, borders[k], borders[k + 1]);
    });
    starts = [];
    writing.steps.forEach(([same, more], stop) => starts.push([...(stop ? starts[stop - 1] : []).slice(0, same), ...more]));
  };
  const draw = () => {
    const total = tokens.length, full = writing.prompt + total;
    const point = (n, size) => `${((600 * n) / Math.max(1, total)).toFixed(1)} ${(57 - (54 * size) / full).toFixed(1)}`;
    const points = [point(0, writing.prompt)];
    let left = 0;
    for (const [n, , , , before, after] of writing.stops) {
      points.push(point(n, before), point(n, after));
      left = read(n) - after;
    }
    points.push(point(total, read(total) - left));
    at("size").setAttribute("d", `M${points.join("L")}`);
    at("whole").setAttribute("d", `M${point(0, writing.prompt)}L${point(total, read(total))}`);
  };

  const rows = (token) => {
    const i = token.position, step = stepOf[i], score = writing.steps[now]?.[2][step];
    return [
      ["token", `${i} of 0 to ${tokens.length - 1}`],
      ...(step === undefined ? [] : [["step", String(step)], ["score of the step", score === null ? "none: it is gone" : short(score)]]),
      ["in the cache", goneAt[i] <= now && goneAt[i] < Infinity ? `no: evicted when ${writing.stops[goneAt[i]][0]} were written` : "yes"],
      ...(token.classList.contains("again") ? [["written again", "yes: evicted before"]] : []),
    ];
  };
  const saying = (n) => {
    if (now === writing.stops.length) {
      const gone = writing.stops.reduce((sum, stop) => sum + stop[1], 0);
      return `${count(n, "token")} written, the end: ${(read(n) - gone).toLocaleString("en")} of ${count(read(n), "token")} in the cache`;
    }
    const [, evicted, ofPrompt, steps, , after] = writing.stops[now];
    const inNone = goneAt.filter((at) => at === now).length + ofPrompt; // fewer if heads hold different tokens
    const whose = (steps ? ` of ${count(steps, "step")}` : "") + (ofPrompt ? ` (${ofPrompt.toLocaleString("en")} of the prompt)` : "");
    const what = inNone === evicted ? `${count(evicted, "token")}${whose} evicted`
      : `${count(evicted, "token")} evicted in each head, ${count(inNone, "token")}${whose} left the last one`;
    return `${count(n, "token")} written: ${what}, ${after.toLocaleString("en")} of ${count(read(n), "token")} in the cache`;
  };
  const go = (stop) => {
    now = stop;
    const n = now < writing.stops.length ? writing.stops[now][0] : tokens.length;
    const scores = writing.steps[now]?.[2] || [], { ranks, low, high } = ranked(scores);
    stepOf = [];
    (scores.length ? starts[now] : []).forEach((first, step, those) => {
      for (let i = first; i < (those[step + 1] ?? n); i++) stepOf[i] = step;
    });
    tokens.forEach((token, i) => {
      token.classList.toggle("later", i >= n);
      token.classList.toggle("gone", goneAt[i] <= now);
      token.classList.toggle("now", goneAt[i] === now);
      const rank = ranks[stepOf[i]] ?? null;
      recolour(token, rank === null ? "" : `s${bin(rank)}`);
    });
    box.group.end = n;
    if (box.group.focus >= n) {
      tokens[box.group.focus].tabIndex = -1;
      box.group.focus = n - 1;
      tokens[n - 1].tabIndex = 0;
    }
    slider.value = now;
    const said = saying(n);
    at("moment").textContent = said;
    slider.setAttribute("aria-valuetext", said);
    at("shades-text").textContent = `score of a step at this moment, by rank: ${scores.length ? `${short(low)} → ${short(high)}` : "none"}`;
    const x = (600 * n) / Math.max(1, tokens.length);
    at("when").setAttribute("d", `M${x.toFixed(1)} 0V60`);
  };

  const open = () => {
    writing = all[choice.selectedIndex];
    fill();
    decode();
    draw();
    at("written-facts").replaceChildren(...writing.facts.map(([name, value]) => {
      const pair = document.createElement("div"), said = element("dd", value);
      said.dir = "auto";
      pair.append(element("dt", name), said);
      return pair;
    }));
    at("around").hidden = !writing.reasoning;
    at("shades").hidden = !writing.steps.some(([, , scores]) => scores.length);
    slider.max = writing.stops.length;
    slider.disabled = !writing.stops.length;
    go(writing.stops.length);
  };
  const show = () => {
    const { element: article, numbers } = viewer.tools.view();
    all = numbers.written || [];
    panel.hidden = !all.length;
    if (!all.length) return;
    article.querySelector(":scope > dl.about").before(panel);
    choice.replaceChildren(...all.map((each) => element("option", each.label)));
    choice.parentElement.hidden = all.length < 2;
    open();
  };

  slider.addEventListener("input", () => go(Number(slider.value)));
  choice.addEventListener("change", open);
  viewer.addEventListener("chain", show);
  show();
})();
