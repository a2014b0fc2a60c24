"use strict";
// The page as `harness report --serve` shows it: it says how far runs are that go on, and notices
// when a newer page is there.
(() => {
  const SECONDS = 2;
  let shown = null;
  const bar = document.createElement("aside"), news = document.createElement("p");
  const list = document.createElement("ul"), reload = document.createElement("button");
  bar.className = "live";
  bar.hidden = true;
  bar.setAttribute("aria-label", "Runs that go on");
  news.setAttribute("role", "status");
  reload.type = "button";
  reload.textContent = "Show the new results";
  reload.addEventListener("click", () => location.reload());
  bar.append(news, list);
  document.querySelector("main").before(bar);

  function left(seconds) {
    if (seconds === null) return "";
    const minutes = Math.ceil(seconds / 60);
    return minutes > 1 ? `, ${minutes} min left` : ", under a minute left";
  }

  function line(run) {
    const item = document.createElement("li"), name = document.createElement("bdi");
    const bar = document.createElement("progress"), text = document.createElement("bdi");
    name.textContent = run.title;
    bar.max = Math.max(run.total, 1);
    bar.value = run.done;
    text.textContent = `${run.done.toLocaleString("en-US")} of ${run.total.toLocaleString("en-US")}`
      + (run.score ? `, ${run.score} so far` : "")
      + (run.silent_minutes ? `, no news for ${run.silent_minutes} min` : left(run.seconds_left));
    item.append(name, " ", bar, " ", text);
    return item;
  }

  async function look() {
    let found;
    try {
      found = await (await fetch("/status", { cache: "no-store" })).json();
    } catch {
      news.replaceChildren("The page is no longer updated: harness report --serve has ended.");
      bar.hidden = false;
      return;
    }
    shown ??= found.page;
    news.replaceChildren(...(found.page === shown ? [] : ["There are new results. ", reload]));
    list.replaceChildren(...found.runs.map(line));
    bar.hidden = found.page === shown && !found.runs.length;
    setTimeout(look, SECONDS * 1000);
  }
  look();
})();
