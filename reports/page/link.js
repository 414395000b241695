"use strict";
(() => {
  const viewer = document.getElementById("viewer");
  const { tools } = viewer, { at, chains, comparing, prune, show, view } = tools;
  const idOf = (article) => article.querySelector("h3").textContent;
  const names = { colour: "colour", order: "strategy", colour2: "colour-2", order2: "strategy-2" }; // in a link, and on the page
  const begun = Object.fromEntries(Object.values(names).map((id) => [id, at(id)?.value]));

  const describe = () => {
    const given = new URLSearchParams([["chain", idOf(view().element)]]);
    const step = Number(at("step")?.value ?? 0), compared = at("compare").checked;
    if (step) given.set("step", step);
    for (const [name, id] of Object.entries(names)) {
      if (!at(id) || (name.endsWith("2") ? !compared : at(id).value === begun[id])) continue;
      given.set(name, at(id).value);
    }
    const threshold = tools.threshold?.read();
    if (threshold) given.set("threshold", threshold);
    return `#${given}`;
  };
  tools.link = () => location.href.split("#")[0] + describe();

  let waiting = 0;
  const write = () => {
    clearTimeout(waiting);
    const address = location.hash;
    waiting = setTimeout(() => {
      if (location.hash !== address) return; // A link was followed meanwhile.
      try {
        history.replaceState(history.state, "", describe());
      } catch {
        // A page inside another one may have no address of its own.
      }
    }, 200);
  };

  // What a link says may be anything: only what the page offers is taken.
  const choose = (id, value) => {
    const offered = at(id) && [...(at(id).options ?? [])].some((option) => option.value === value);
    if (offered) at(id).value = value;
    return Boolean(offered);
  };
  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1)), wanted = given.get("chain");
    if (!wanted) return;
    const index = chains.findIndex((article) => idOf(article) === wanted);
    at("matches").textContent = index < 0 ? "The chain of this link is not on this page." : "";
    if (index < 0) return;
    for (const name of ["colour", "order"]) choose(names[name], given.get(name));
    const two = ["colour2", "order2"].map((name) => choose(names[name], given.get(name)));
    at("compare").checked = two.includes(true);
    show(index);
    comparing();
    const step = /^\d{1,7}$/.test(given.get("step") ?? "") ? Number(given.get("step")) : 0;
    if (at("step")) prune(Math.min(step, Number(at("step").max)));
    tools.threshold?.write(Number(given.get("threshold")));
    at("chains").scrollIntoView();
  };

  read();
  addEventListener("hashchange", read);
  for (const name of ["chain", "moved"]) viewer.addEventListener(name, write);
})();
