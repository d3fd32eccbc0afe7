// Keeps pages up to date, and searches while one types. Without it every page reads the same.
"use strict";

const main = document.querySelector("main");

async function fetchPage(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function replaceLiveParts(page) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = page.getElementById(part.id);
    const isInUse = part.contains(document.activeElement) || hasSelection(part);
    if (!next || isInUse || next.innerHTML === part.innerHTML) continue;
    const scrolled = [...part.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
    part.replaceChildren(...next.childNodes);
    part.querySelectorAll(".scroll").forEach((each, i) => (each.scrollLeft = scrolled[i] ?? 0));
  }
  const every = page.querySelector("main")?.dataset.every;
  if (every) main.dataset.every = every;
}

function hasSelection(part) {
  const selection = document.getSelection();
  return !selection.isCollapsed && part.contains(selection.anchorNode);
}

async function keepUpToDate() {
  for (;;) {
    await new Promise((wake) => setTimeout(wake, 1000 * Number(main.dataset.every)));
    if (document.hidden) continue;
    try {
      replaceLiveParts(await fetchPage(location.href));
      main.classList.remove("is-cut-off");
    } catch {
      main.classList.add("is-cut-off"); // the dashboard itself is away; the next round tries again
    }
  }
}

function searchWhileTyping(form) {
  let latest = 0;
  let timer;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const mine = ++latest;
      const address = `${form.action}?${new URLSearchParams(new FormData(form))}`;
      try {
        const page = await fetchPage(address);
        if (mine !== latest) return; // a later search is under way
        const results = document.getElementById(form.dataset.search);
        results.replaceWith(page.getElementById(form.dataset.search));
        history.replaceState(null, "", address);
      } catch {
        // the button still works
      }
    }, 150);
  });
}

function tellRange(range) {
  const output = range.closest("label").querySelector("output");
  const tell = () => (output.textContent = `${range.value}%`);
  range.addEventListener("input", tell);
  tell();
}

if (main.dataset.every) keepUpToDate();
document.querySelectorAll("form[data-search]").forEach(searchWhileTyping);
document.querySelectorAll("input[type=range]").forEach(tellRange);
