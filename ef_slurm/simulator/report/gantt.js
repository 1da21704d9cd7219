"use strict";
// Draws Gantt charts of the GPUs: time to the right, the cluster's GPUs upwards.
(() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const palette = page.colours.map(shades);
  const margin = { left: 58, right: 16, top: 6, bottom: 38 };

  // Five shades of a colour, so that neighbouring jobs differ.
  function shades(hex) {
    const rgb = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return [0, 0.14, 0.28, 0.42, 0.54].map(
      (white) => `rgb(${rgb.map((c) => Math.round(c + (255 - c) * white)).join()})`);
  }

  function roundTicks(from, to, most) {
    const raw = (to - from) / most, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const ticks = [];
    for (let t = Math.ceil(from / step) * step; t <= to + step * 1e-6; t += step) ticks.push(t);
    return ticks;
  }

  function start(canvas) {
    const data = JSON.parse(document.getElementById(canvas.id + "-data").textContent);
    const tip = canvas.parentElement.querySelector(".tip");
    const height = +canvas.getAttribute("height");
    let view = [0, page.seconds], pointed = -1, dragFrom = null, dragTo = null;

    const width = () => canvas.clientWidth;
    const plotWidth = () => width() - margin.left - margin.right;
    const plotHeight = height - margin.top - margin.bottom;
    const x = (t) => margin.left + (t - view[0]) / (view[1] - view[0]) * plotWidth();
    const y = (gpu) => margin.top + (1 - gpu / page.gpus) * plotHeight;
    const timeAt = (px) => view[0] +
      Math.min(1, Math.max(0, (px - margin.left) / plotWidth())) * (view[1] - view[0]);

    function draw() {
      const ratio = window.devicePixelRatio || 1;
      canvas.width = width() * ratio;
      canvas.height = height * ratio;
      canvas.style.height = height + "px";
      const g = canvas.getContext("2d");
      g.scale(ratio, ratio);
      g.fillStyle = "#eef1f4";
      g.fillRect(margin.left, margin.top, plotWidth(), plotHeight);
      g.save();
      g.beginPath();
      g.rect(margin.left, margin.top, plotWidth(), plotHeight);
      g.clip();
      for (const [job, from, to, row, size] of data.rectangles) {
        if (to < view[0] || from > view[1]) continue;
        const left = x(from), right = x(to), top = y(row + size), tall = y(row) - top;
        const wide = Math.max(right - left, 0.35);
        const faded = pointed >= 0 && pointed !== job;
        g.globalAlpha = faded ? 0.3 : 1;
        g.fillStyle = palette[data.jobs[job][0]][job % 5];
        const gapX = wide > 3 ? 0.6 : 0, gapY = tall > 3 ? 0.6 : 0;
        g.fillRect(left, top + gapY / 2, wide - gapX, tall - gapY);
      }
      g.globalAlpha = 1;
      if (pointed >= 0) {
        g.strokeStyle = "#111";
        for (const [job, from, to, row, size] of data.rectangles) {
          if (job === pointed) g.strokeRect(x(from), y(row + size), x(to) - x(from), y(row) - y(row + size));
        }
        const deadline = page.jobs[pointed][3];
        if (deadline !== null) {
          g.setLineDash([4, 3]);
          g.beginPath();
          g.moveTo(x(deadline), margin.top);
          g.lineTo(x(deadline), margin.top + plotHeight);
          g.stroke();
          g.setLineDash([]);
        }
      }
      if (dragFrom !== null) {
        g.fillStyle = "rgba(0, 0, 0, .15)";
        g.fillRect(dragFrom, margin.top, dragTo - dragFrom, plotHeight);
      }
      g.restore();
      g.fillStyle = "#3d4956";
      g.font = "13px system-ui, 'DejaVu Sans', sans-serif";
      g.textAlign = "center";
      for (const t of roundTicks(view[0] / page.unit, view[1] / page.unit, 8)) {
        const px = x(t * page.unit);
        g.fillRect(px, height - margin.bottom, 1, 5);
        g.fillText(String(+t.toFixed(4)), px, height - margin.bottom + 18);
      }
      g.fillText(page.unitName + " since the first submission", margin.left + plotWidth() / 2, height - 4);
      g.textAlign = "right";
      for (const part of [0, 0.25, 0.5, 0.75, 1]) {
        g.fillText(String(part * page.gpus), margin.left - 8, Math.max(y(part * page.gpus) + 4, 13));
      }
      g.save();
      g.translate(14, margin.top + plotHeight / 2);
      g.rotate(-Math.PI / 2);
      g.textAlign = "center";
      g.fillText("GPU", 0, 0);
      g.restore();
    }

    function inWords(seconds) {
      const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
      const at = parts.findIndex(([unit]) => Math.abs(seconds) >= unit);
      if (at < 0) return "0 s";
      const [unit, name] = parts[at], whole = Math.floor(seconds / unit);
      const rest = parts[at + 1], tail = rest ? Math.floor((seconds - whole * unit) / rest[0]) : 0;
      return `${whole} ${name}` + (tail ? ` ${tail} ${rest[1]}` : "");
    }

    function details(job, size) {
      const [id, model, submitted, deadline] = page.jobs[job];
      const [outcome, finished, reshapes] = data.jobs[job];
      const lines = [`job ${id}   ${model}`, `${size} GPUs here, ${reshapes} reshapes in all`,
        `submitted at ${inWords(submitted)}`];
      if (deadline !== null) lines.push(`deadline ${inWords(deadline - submitted)} later`);
      if (finished !== null) lines.push(`finished ${inWords(finished - submitted)} after submission`);
      lines.push(page.outcomes[outcome]);
      return lines.join("\n");
    }

    function point(event) {
      const box = canvas.getBoundingClientRect();
      const px = event.clientX - box.left, py = event.clientY - box.top;
      if (dragFrom !== null) { dragTo = px; draw(); return; }
      const t = timeAt(px), gpu = (1 - (py - margin.top) / plotHeight) * page.gpus;
      const inside = px >= margin.left && px <= width() - margin.right;
      const hit = inside && data.rectangles.find(
        ([, from, to, row, size]) => from <= t && t < to && row <= gpu && gpu < row + size);
      const job = hit ? hit[0] : -1;
      if (job !== pointed) { pointed = job; draw(); }
      tip.style.display = hit ? "block" : "none";
      if (hit) {
        tip.textContent = details(job, hit[4]);
        const left = px > width() * 0.6 ? px - tip.offsetWidth - 14 : px + 14;
        tip.style.left = Math.max(0, left) + "px";
        tip.style.top = canvas.offsetTop + py + 12 + "px";
      }
    }

    canvas.addEventListener("mousemove", point);
    canvas.addEventListener("mouseleave", () => {
      pointed = -1; dragFrom = null; tip.style.display = "none"; draw();
    });
    canvas.addEventListener("mousedown", (event) => {
      dragFrom = dragTo = event.clientX - canvas.getBoundingClientRect().left;
    });
    canvas.addEventListener("mouseup", () => {
      if (dragFrom !== null && Math.abs(dragTo - dragFrom) > 5) {
        const [a, b] = [timeAt(dragFrom), timeAt(dragTo)].sort((p, q) => p - q);
        if (b - a > 1) view = [a, b];
      }
      dragFrom = null;
      draw();
    });
    canvas.addEventListener("dblclick", () => { view = [0, Math.max(page.seconds, data.end)]; draw(); });
    window.addEventListener("resize", draw);
    draw();
  }

  document.querySelectorAll("canvas").forEach(start);
})();
