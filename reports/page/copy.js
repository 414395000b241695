"use strict";
(() => {
  const viewer = document.getElementById("viewer");
  const { at, isDeleted: isDeletedIn, view, words } = viewer.tools;
  const partOf = (selector) => {
    const part = view().element.querySelector(selector).cloneNode(true);
    part.querySelector("b")?.remove();
    return part.textContent.trim();
  };

  // Tokens and the text between them, in order; of the first pane.
  const pieces = () => {
    const found = [];
    const walk = (node) => {
      if (node.nodeName === "SPAN") found.push({ text: node.textContent, token: node });
      else if (node.nodeType === Node.TEXT_NODE) found.push({ text: node.data, token: null });
      else node.childNodes.forEach(walk);
    };
    walk(view().panes[0].box);
    return found;
  };
  const isDeleted = ({ token }) => token && isDeletedIn(token.pane, token.position);
  const count = () => pieces().filter(isDeleted).length;

  const asText = () => {
    const left = pieces().filter((piece) => !isDeleted(piece)).map((piece) => piece.text).join("");
    return [partOf(".question"), left, partOf(".answer")].join("\n\n");
  };

  const SIGNS = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", $: "\\$", "&": "\\&", "#": "\\#", "%": "\\%", _: "\\_",
    "^": "\\textasciicircum{}", "~": "\\textasciitilde{}", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}",
    '"': "\\textquotedbl{}", "`": "\\textasciigrave{}", "'": "\\textquotesingle{}", "-": "{-}",
  };
  // Characters without width, those that turn text around among them, have no place in LaTeX.
  const escape = (text) => text.replace(/[\p{Cf}\p{Cs}]/gu, "").replace(/[\\{}$&#%_^~<>|"`'-]/g, (sign) => SIGNS[sign]);
  const comment = (text) => `% ${text.replace(/[\s\p{C}\p{Zl}\p{Zp}]+/gu, " ")}`;
  const lines = (text) => text.split(/\n\s*\n/).map((part) => part.trim().replace(/\s*\n\s*/g, "\\newline\n")).join("\n\n");
  const nameOf = (colour) => (colour && colour !== "kept" ? `token${colour}` : "");
  const coloured = ({ text, token }) => {
    if (!token) return escape(text);
    const [, before, inner, after] = text.match(/^(\s*)([^]*?)(\s*)$/u);
    if (!inner) return text;
    const written = escape(inner).replace(/\s+/g, " "), name = nameOf(token.colour);
    if (isDeleted({ token })) return `${before}\\textcolor{gray}{\\sout{${written}}}${after}`;
    const ink = token.colour?.[0] === "s" || token.colour?.[0] === "d" ? words.bins[token.colour.slice(1)][1].slice(1).toUpperCase() : "";
    return before + (name ? `\\colorbox{${name}}{\\strut${ink ? `\\color[HTML]{${ink}}` : ""} ${written}}` : written) + after;
  };
  const definition = (colour) => {
    const place = colour.slice(1), ordered = colour[0] === "s" || colour[0] === "d";
    const fill = ordered ? words.bins[place][0] : colour === "cn" ? "#ffffff" : words.fills[place];
    return `\\definecolor{${nameOf(colour)}}{HTML}{${fill.slice(1).toUpperCase()}}${ordered || colour === "cn" ? "" : ` % ${words.categories[place] ?? "other"}`}`;
  };
  const asLatex = () => {
    const [pane] = view().panes, all = pieces();
    const colours = [...new Set(pane.tokens.map((token) => token.colour).filter(nameOf))].sort();
    const body = lines(all.map(coloured).join("")).trim();
    return [
      comment(`Chain ${partOf("h3")}; ${at("colour").selectedOptions[0].textContent}; ${count()} of ${pane.tokens.length} tokens deleted`),
      "% In the preamble: \\usepackage[T1]{fontenc} \\usepackage{textcomp,xcolor} \\usepackage[normalem]{ulem}",
      "{\\setlength{\\fboxsep}{1pt}\\raggedright", ...colours.map(definition), body, "\\par}",
    ].join("\n");
  };

  const said = (what) => (at("copied").textContent = what);
  const byHand = (text) => {
    const area = at("copy");
    at("by-hand").hidden = false;
    area.value = text;
    area.focus();
    area.select();
  };
  const copy = async (text, what) => {
    at("by-hand").hidden = true;
    said("");
    try {
      await navigator.clipboard.writeText(text);
      said(`${what} is in the clipboard`);
    } catch {
      byHand(text);
    }
  };
  const chainAs = (what) => `The chain as ${what}${count() ? `, ${count()} tokens ${what === "text" ? "left out" : "struck"},` : ""}`;
  at("copy-text").addEventListener("click", () => copy(asText(), chainAs("text")));
  at("copy-latex").addEventListener("click", () => copy(asLatex(), chainAs("LaTeX")));
  at("copy-link").addEventListener("click", () => copy(viewer.tools.link(), "The link to this chain and place"));
  for (const name of ["chain", "moved"]) viewer.addEventListener(name, () => said(""));
})();
