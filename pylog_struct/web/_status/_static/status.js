(() => {
  "use strict";
  const every = Number(document.body.dataset.refresh);
  const live = document.getElementById("live");
  const state = document.getElementById("state");
  const pause = document.getElementById("pause");
  let paused = false;
  let asking = false;

  const say = (text, kind) => {
    if (state.textContent !== text) state.textContent = text;
    state.className = `state ${kind}`;
  };

  // What the reader opened, selected or stands on stays as it is.
  const busy = () => {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && live.contains(selection.anchorNode);
  };

  const show = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html").body;
    for (const open of live.querySelectorAll("details[open]")) {
      const same = fresh.querySelector(`#${CSS.escape(open.id)}`);
      if (same) same.open = true;
    }
    const focus = live.contains(document.activeElement) ? document.activeElement : null;
    const place = focus && (focus.id || (focus.parentElement && focus.parentElement.id));
    const inside = focus && !focus.id ? focus.localName : null;
    const problem = live.querySelector(".problem");
    const table = fresh.querySelector("table.levels");
    if (problem && table) table.before(document.importNode(problem, true));
    const scrolls = [...live.querySelectorAll("details[open] pre")].map((pre) => [pre.parentElement.id, pre.scrollTop]);
    live.replaceChildren(...fresh.childNodes);
    for (const [id, top] of scrolls) {
      const pre = document.getElementById(id)?.querySelector("pre");
      if (pre) pre.scrollTop = top;
    }
    if (place) {
      const home = document.getElementById(place);
      const target = inside && home ? home.querySelector(inside) : home;
      if (target) target.focus({ preventScroll: true });
    }
  };

  const refresh = async () => {
    if (asking || paused || document.hidden || busy()) return;
    asking = true;
    try {
      const answer = await fetch("live", { cache: "no-store", credentials: "same-origin" });
      if (answer.status === 401 || answer.status === 403) {
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const html = await answer.text();
      if (!paused && !busy()) show(html);
      say("live", "live");
    } catch {
      say("no answer", "lost");
    } finally {
      asking = false;
    }
  };

  pause.hidden = false;
  document.getElementById("refresh").hidden = true;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    if (paused) say("paused", "");
    else refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  say("live", "live");
  setInterval(refresh, every);
})();
