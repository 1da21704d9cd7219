// Keeps what a page says up to date while somebody looks at it, and never under their hands.
"use strict";
(() => {
  const every = 20_000;
  const main = document.querySelector("main");
  const stamp = document.getElementById("stamp");

  function busy() {
    const chosen = getSelection();
    return document.hidden
      || (main.contains(document.activeElement) && document.activeElement !== main)
      || (chosen !== null && !chosen.isCollapsed)
      || document.querySelector(".tip:not([hidden])") !== null;
  }

  async function renew() {
    if (busy()) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(`${answer.status}`);
      const text = await answer.text();
      const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
      if (fresh === null || busy()) return;
      const open = [...main.querySelectorAll("details")].map((one) => one.open);
      window.efCharts?.forget(main);
      main.replaceChildren(...fresh.childNodes);
      main.querySelectorAll("details").forEach((one, place) => { one.open = open[place] ?? one.open; });
      await window.efCharts?.ready(main);
      stamp.textContent = "";
    } catch (error) {
      stamp.textContent = "ef-schedd does not answer: what you see may be old.";
    }
  }

  setInterval(renew, every);
})();
