"use strict";
(() => {
  const viewer = document.getElementById("viewer");
  const { at, element, markSoon, own } = viewer.tools;
  const slider = at("threshold");
  const chosen = (id) => at(id).value;
  let view = null; // the chain on show
  let threshold = 0;

  const rows = () => own(own(own(view.numbers.sweep?.rows, chosen("swept")), chosen("read-as")), chosen("restated")) || [];

  const goneIn = (place) => {
    const flags = [];
    view.numbers.sweep.kept[place].forEach((length, run) => flags.push(...Array(length).fill(run % 2 === 1)));
    return flags;
  };
  // Only the tokens that change are touched.
  const grey = (flags) => {
    const changed = view.panes.flatMap(({ tokens }) => tokens.filter((token, i) => token.gone !== Boolean(flags[i])));
    for (const token of changed) token.gone = !token.gone;
    markSoon(changed);
  };

  const answer = (row) => {
    const column = document.createElement("div");
    column.append(element("h4", `Answer at threshold ${row[0]}`));
    const place = row[3][Number(chosen("sample")) - 1];
    if (place === undefined) {
      column.append(element("p", "There is no such sample."));
      return column;
    }
    const { texts, answers } = view.numbers.sweep;
    const [text, extracted, verdict, reason, length] = answers[place];
    const response = element("p", texts[text]);
    response.dir = "auto";
    const facts = document.createElement("dl");
    facts.className = "about";
    for (const [name, value] of [
      ["verdict", verdict ?? "no gold answer"],
      ["extracted answer", extracted ?? "none found"],
      ["finish reason", reason === "length" || reason === "loop" ? `${reason} (cut off)` : reason],
      ["tokens generated", String(length)],
    ]) {
      const pair = document.createElement("div"), value_ = element("dd", value);
      value_.dir = "auto";
      pair.append(element("dt", name), value_);
      facts.append(pair);
    }
    column.append(response, facts);
    return column;
  };
  const hint = (text) => {
    const column = document.createElement("div");
    column.append(element("p", text));
    return column;
  };

  const choose = (index) => {
    const row = rows()[index];
    const pair = at("answers").querySelector(".pair");
    slider.value = index;
    slider.disabled = !row;
    if (!row) {
      grey([]);
      at("kept").textContent = "no answers of this chain";
      pair.replaceChildren();
      return;
    }
    grey(goneIn(row[1]));
    threshold = row[0];
    const { tokens } = view.panes[0], kept = tokens.filter((token) => !token.gone).length;
    const said = `${threshold} · ${kept} of ${tokens.length} tokens and ${row[2]} of ${view.numbers.sweep.steps} steps kept`;
    at("kept").textContent = said;
    slider.setAttribute("aria-valuetext", said);
    const first = rows()[0];
    viewer.dispatchEvent(new Event("moved"));
    pair.replaceChildren(answer(first), row === first ? hint("Move the threshold to see the answer from what is left.") : answer(row));
  };
  // A chain and a strategy may lack the threshold that was chosen before: then the next lower one is taken.
  const again = () => {
    const places = rows().map((row) => row[0]);
    slider.max = Math.max(0, places.length - 1);
    choose(Math.max(0, places.filter((place) => place <= threshold).length - 1));
  };
  const show = () => {
    view = viewer.tools.view();
    view.element.querySelector(".panes").after(at("answers"));
    again();
  };

  slider.addEventListener("input", () => choose(Number(slider.value)));
  for (const id of ["swept", "read-as", "restated", "sample"]) at(id).addEventListener("change", again);
  viewer.addEventListener("chain", show);
  show();
  viewer.tools.threshold = {
    read: () => (rows().length ? threshold : 0),
    write: (wanted) => {
      threshold = Number.isFinite(wanted) ? wanted : 0;
      again();
    },
  };
})();
