"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const themes = ["system", "light", "dark"];
  document.getElementById("theme").addEventListener("click", (event) => {
    const next = themes[(themes.indexOf(root.dataset.theme || "system") + 1) % 3];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    event.currentTarget.textContent = `Theme: ${next}`;
  });
})();
