"use strict";
(() => {
  const viewer = document.getElementById("viewer");
  const { at, cut, own, view, words } = viewer.tools;
  const panes = () => view().panes;

  // Only some tokens: the others lose their colour.
  const wantedBy = (choice) => {
    const [what, rest] = cut(choice), [place, label] = cut(rest), { numbers } = view();
    if (what === "role") {
      const positions = new Set(own(numbers.roles, label));
      return (i) => positions.has(i);
    }
    const letters = own(numbers.categories, label) || "";
    if (what === "class") return (i) => words.class_of[letters[i]] === Number(place);
    return (i) => letters[i] === place;
  };
  const filter = () => {
    const choice = at("only").value, wanted = choice ? wantedBy(choice) : () => true;
    for (const pane of panes()) pane.tokens.forEach((token, i) => token.classList.toggle("dim", !wanted(i)));
    const total = panes()[0].tokens.length;
    at("n-only").textContent = choice ? `${panes()[0].tokens.filter((_, i) => wanted(i)).length} of ${total} tokens` : "";
  };

  // Text may begin in one token and end in another; between tokens there may be text, too.
  const layout = (pane) => {
    if (pane.text !== undefined) return pane;
    pane.text = "";
    pane.starts = [];
    const walk = (node) => {
      if (node.nodeName === "SPAN") pane.starts[node.position] = pane.text.length;
      if (node.nodeType === Node.TEXT_NODE) pane.text += node.data.toLowerCase();
      node.childNodes.forEach(walk);
    };
    walk(pane.box);
    return pane;
  };
  let places = []; // by place, the tokens that show it
  let current = 0;
  const search = () => {
    const text = at("find").value.toLowerCase(), { text: whole, starts } = layout(panes()[0]);
    places = [];
    for (let from = text ? whole.indexOf(text) : -1; from >= 0; from = whole.indexOf(text, from + text.length)) {
      const to = from + text.length;
      places.push(starts.map((_, i) => i).filter((i) => starts[i] < to && (starts[i + 1] ?? whole.length) > from));
    }
    const all = new Set(places.flat());
    for (const pane of panes()) pane.tokens.forEach((token, i) => token.classList.toggle("found", all.has(i)));
    at("find").setAttribute("aria-invalid", String(Boolean(text && !places.length)));
    step(0, false);
  };
  const step = (to, scroll = true) => {
    for (const pane of panes()) pane.tokens.forEach((token) => token.classList.remove("now"));
    current = places.length ? (to + places.length) % places.length : 0;
    at("found").textContent = places.length ? `${current + 1} of ${places.length}` : at("find").value ? "not there" : "";
    if (!places.length) return;
    for (const pane of panes()) for (const i of places[current]) pane.tokens[i].classList.add("now");
    const [first] = places[current];
    if (scroll && first !== undefined) panes()[0].tokens[first].scrollIntoView({ block: "nearest" });
  };

  // Signs for whitespace are drawn over it: the text stays what it is.
  const unwrap = (elements) => elements.forEach((each) => each.replaceWith(...each.childNodes));
  const sign = (character) => {
    const made = document.createElement("u");
    made.textContent = character;
    if (character !== " ") made.className = character === "\t" ? "tab" : "odd";
    return made;
  };
  const whitespace = () => {
    for (const { box } of panes()) {
      unwrap(box.querySelectorAll("u"));
      box.normalize();
      if (!at("whitespace").checked) continue;
      const texts = [], walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) texts.push(walker.currentNode);
      for (const text of texts) text.replaceWith(...text.data.split(/([^\S\n])/).map((part, k) => (k % 2 ? sign(part) : part)));
    }
  };

  // Steps, or else lines: what is in a block is laid out and painted again by itself.
  const blocks = () => {
    const starts = at("blocks") ? own(view().numbers.blocks, at("blocks").value) || [] : [];
    for (const { box, tokens } of panes()) {
      unwrap(box.querySelectorAll("div"));
      const firsts = new Set(starts.map((i) => tokens[i]));
      let block = null, number = 0;
      for (const node of [...box.childNodes]) {
        if (!block || (firsts.size ? firsts.has(node) : block.lastChild.textContent.endsWith("\n"))) {
          block = document.createElement("div");
          if (firsts.size) {
            block.className = "step";
            block.dataset.step = ++number;
          }
          node.before(block);
        }
        block.append(node);
      }
    }
  };

  const again = () => {
    filter();
    whitespace();
    blocks();
    search();
  };
  at("only").addEventListener("change", filter);
  at("find").addEventListener("input", search);
  at("find").addEventListener("keydown", (event) => {
    if (event.key === "Enter") step(current + (event.shiftKey ? -1 : 1));
  });
  at("find-next").addEventListener("click", () => step(current + 1));
  at("find-previous").addEventListener("click", () => step(current - 1));
  at("whitespace").addEventListener("change", whitespace);
  if (at("blocks")) at("blocks").addEventListener("change", blocks);
  for (const name of ["chain", "panes"]) viewer.addEventListener(name, again);
  again();
})();
