// Draws the page's charts, by day and by night, and shows times in the reader's zone.
// What is shown to a reader is always set as text, never as markup.
"use strict";
(() => {
  const night = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const views = new Map();
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;

  function showTip(_handler, event, _item, value) {
    if (value === null || value === undefined || value === "") {
      tip.hidden = true;
      return;
    }
    tip.textContent = String(value);
    tip.hidden = false;
    const x = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 6));
    const below = event.clientY + 16;
    const y = below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : below;
    tip.style.left = `${x}px`;
    tip.style.top = `${Math.max(4, y)}px`;
  }

  function themeNow() {
    const themes = JSON.parse(document.getElementById("chart-themes").textContent);
    const theme = themes[night.matches ? "dark" : "light"];
    if (narrow.matches) {
      theme.config.axis.labelFontSize = 11;
      theme.config.axis.labelLimit = 84;
    }
    return theme;
  }

  async function draw(chart) {
    const theme = themeNow();
    const spec = JSON.parse(chart.querySelector("script").textContent);
    spec.autosize = { type: "fit-x", contains: "padding" };
    spec.params = [...(spec.params || []), ...theme.params];
    const legend = spec.encoding?.color?.scale?.domain;
    if (narrow.matches && legend) {
      theme.config.legend.columns = Math.max(...legend.map((one) => one.length)) > 16 ? 1 : 2;
    }
    const target = chart.querySelector(".drawn");
    views.get(chart)?.finalize();
    const result = await window.vegaEmbed(target, spec, {
      mode: "vega-lite",
      ast: true, // expressions are interpreted: nothing is made into code
      actions: false,
      defaultStyle: false,
      renderer: chart.dataset.renderer,
      config: theme.config,
      tooltip: showTip,
    });
    views.set(chart, result);
    chart.classList.add("is-drawn");
  }

  async function drawAll(root) {
    if (!window.vegaEmbed) return;
    for (const chart of root.querySelectorAll(".chart")) {
      try {
        await draw(chart);
      } catch (error) {
        chart.querySelector(".drawn").textContent = "This chart cannot be drawn.";
        console.error(error);
      }
    }
  }

  const full = { dateStyle: "medium", timeStyle: "short" };
  const zone = { timeZoneName: "short", hour: "numeric" };

  function localTimes(root) {
    for (const one of root.querySelectorAll("time[datetime]")) {
      const at = new Date(one.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const day = at.toDateString() === new Date().toDateString();
      const form = day ? { timeStyle: "short" } : full;
      const name = new Intl.DateTimeFormat(undefined, zone)
        .formatToParts(at)
        .find((part) => part.type === "timeZoneName");
      const text = new Intl.DateTimeFormat(undefined, form).format(at);
      one.textContent = name ? `${text} ${name.value}` : text;
      one.title = at.toString();
    }
  }

  // A region that scrolls can be reached with the keyboard, if it has to.
  function reachable(root) {
    for (const one of root.querySelectorAll(".scroll")) {
      if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
      else one.removeAttribute("tabindex");
    }
  }

  async function ready(root) {
    localTimes(root);
    reachable(root);
    await drawAll(root);
    document.documentElement.dataset.drawn = "yes";
  }

  window.efCharts = { ready, forget: (root) => {
    tip.hidden = true;
    for (const chart of root.querySelectorAll(".chart")) {
      views.get(chart)?.finalize();
      views.delete(chart);
    }
  } };
  document.body.append(tip);
  night.addEventListener("change", () => drawAll(document));
  narrow.addEventListener("change", () => drawAll(document));
  addEventListener("resize", () => reachable(document));
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  ready(document);
})();
