// SPDX-License-Identifier: Apache-2.0
// What the daemon says, each second anew while somebody looks. Names come from outside: they are text, never markup.
"use strict";

const KEEP = 600; // looks; ten minutes of them
const looks = [];
const byId = (id) => document.getElementById(id);

function make(kind, words = {}, ...inside) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(words)) made[name] = value;
  made.append(...inside);
  return made;
}

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

const percent = (part, all) => (all === 0 ? 100 : Math.floor((100 * part) / all));

function bar(part, all) {
  const made = make("div", { className: all > 0 && part >= all ? "bar whole" : "bar" }, make("i"));
  made.firstChild.style.width = `${percent(part, all)}%`;
  return made;
}

// How much of a file is here, from its beginning to its end.
function picture(parts, whole) {
  const space = "http://www.w3.org/2000/svg";
  const drawn = document.createElementNS(space, "svg");
  drawn.setAttribute("viewBox", `0 0 ${parts.length} 1`);
  drawn.setAttribute("preserveAspectRatio", "none");
  drawn.setAttribute("class", whole ? "parts whole" : "parts");
  drawn.setAttribute("role", "img");
  drawn.setAttribute("aria-label", `here, part by part, in percent: ${parts.join(" ")}`);
  parts.forEach((here, at) => {
    if (here === 0) return;
    const part = document.createElementNS(space, "rect");
    for (const [name, value] of [["x", at], ["width", 1.02], ["y", 0], ["height", 1], ["opacity", 0.25 + 0.75 * here / 100]])
      part.setAttribute(name, value);
    drawn.append(part);
  });
  return drawn;
}

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(20000) });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error ? told.error.message : `the daemon answers ${answer.status}`);
  return told;
}

// --- now -----------------------------------------------------------------------------------------

function rate(name, from, to) {
  const time = (to.when - from.when) / 1000;
  return time > 0 ? Math.max(0, to.metrics[name] - from.metrics[name]) / time : 0;
}

function note(told) {
  const { now } = told;
  const look = { when: performance.now(), metrics: now.metrics };
  const last = looks.at(-1);
  // Another worker counts from 0.
  if (last && now.metrics.fuse_lookups >= last.metrics.fuse_lookups) {
    look.network = rate("content_bytes", last, look);
    look.read = rate("fuse_read_bytes", last, look);
    const reads = rate("fuse_reads", last, look);
    if (reads > 0) look.hits = Math.max(0, 100 * (1 - rate("reads_parked", last, look) / reads));
  }
  look.readers = new Map(told.readers.map((each) => [`${each.pid} ${each.repo} ${each.path}`, each.bytes]));
  looks.push(look);
  if (looks.length > KEEP) looks.shift();
  return [last, look];
}

function show(told) {
  const { now } = told;
  const [last, look] = note(told);
  byId("mount").textContent = now.mount_point;
  byId("version").textContent = `hffs ${now.version}`;
  document.title = `hffs ${now.mount_point}`;
  byId("endpoints").replaceChildren(...now.endpoints.map((each) => make("li", { className: each.up ? "up" : "down" },
    each.endpoint, ...(each.up ? [] : [make("span", { className: "note" }, ` down: ${each.last_error}`)]))));
  if (now.offline) byId("endpoints").append(make("li", { className: "down" }, "offline: no Hub is asked"));
  const { store, transfer } = now;
  byId("disk").textContent = bytes(store.bytes);
  const room = store.max_size || store.bytes + store.free_bytes;
  byId("disk-bar").firstElementChild.style.width = `${percent(store.bytes, room)}%`;
  byId("free").textContent = `${store.blobs} files; ${bytes(store.free_bytes)} free` + (store.max_size ? `; at most ${bytes(store.max_size)}` : "");
  byId("network").textContent = `${bytes(look.network || 0)}/s`;
  byId("requests").textContent = `${transfer.requests} requests under way, ${now.metrics.requests_failed} have failed`;
  byId("reading").textContent = `${told.readers.length}`;
  byId("waiting").textContent = `${transfer.waiters} wait; ${bytes(look.read || 0)}/s through the daemon`;
  showReaders(told.readers, last, look);
  showFetching(told);
  showFailures(told.failures);
  draw();
}

const fileOf = (each) => [each.repo, each.path].filter(Boolean).join(" ") || "a file that is not yours to see";

function showReaders(readers, last, look) {
  byId("readers").replaceChildren(...readers.map((each) => {
    const key = `${each.pid} ${each.repo} ${each.path}`;
    const before = last && last.readers.get(key);
    const speed = before === undefined ? 0 : Math.max(0, each.bytes - before) / ((look.when - last.when) / 1000);
    const waits = each.waiting_ms === null ? "" : `${(each.waiting_ms / 1000).toFixed(1)} s`;
    return make("tr", {}, make("td", {}, `${each.comm} (${each.pid})`), make("td", {}, `${each.uid}`),
      make("td", { className: "number" }, speed ? `${bytes(speed)}/s` : "–"), make("td", {}, each.mode),
      make("td", { className: "waits" }, waits), make("td", { className: "file" }, fileOf(each)));
  }));
  if (readers.length === 0)
    byId("readers").append(make("tr", {}, make("td", { colSpan: 6, className: "empty" }, "nobody has read within a minute")));
}

const row = (name, part, all) => make("div", { className: "row" }, make("span", {}, name), bar(part, all),
  make("span", {}, `${bytes(part)} of ${bytes(all)}`));

function showFetching(told) {
  const rows = told.prefetches.filter((each) => each.running).map((each) =>
    row(`prefetch ${each.repo}: ${each.files_done} of ${each.files} files`, each.bytes_done, each.bytes));
  const seen = new Set();
  for (const each of told.readers) {
    const goesOn = each.waiting_ms !== null || each.idle_ms < 3000;
    if (each.here >= each.size || !goesOn || seen.has(fileOf(each))) continue;
    seen.add(fileOf(each));
    rows.push(row(fileOf(each), each.here, each.size));
  }
  byId("fetching").replaceChildren(...(rows.length ? rows : [make("p", { className: "empty" }, "nothing")]));
}

function showFailures(failures) {
  const shown = failures.map((each) => make("li", {}, make("b", {}, `${each.operation} failed`),
    ` ${new Date(each.when * 1000).toLocaleTimeString()}, ${each.comm} (user ${each.uid})` + (each.count > 1 ? `, ${each.count} times` : "") + `: ${each.message}`,
    ...(each.remedy ? [make("span", { className: "remedy" }, `→ ${each.remedy}`)] : [])));
  byId("failures").replaceChildren(...(shown.length ? shown : [make("li", { className: "empty" }, "nothing, for a while")]));
}

// --- the chart -----------------------------------------------------------------------------------

function draw() {
  const canvas = byId("chart"), scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = 180, left = 64, right = 44, top = 8, bottom = 18;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  pen.scale(scale, scale);
  pen.font = "11px system-ui, sans-serif";
  const most = Math.max(1024 * 1024, ...looks.map((each) => Math.max(each.network || 0, each.read || 0)));
  const end = performance.now();
  const span = Math.min(600000, Math.max(60000, looks.length ? end - looks[0].when : 0));
  const x = (when) => left + (width - left - right) * (1 - (end - when) / span);
  const y = (part) => top + (height - top - bottom) * (1 - part);
  pen.strokeStyle = color("line");
  pen.fillStyle = color("soft");
  for (const part of [0, 0.5, 1]) {
    pen.beginPath();
    pen.moveTo(left, y(part));
    pen.lineTo(width - right, y(part));
    pen.stroke();
    pen.textAlign = "right";
    pen.fillText(`${bytes(most * part)}/s`, left - 6, y(part) + 4);
    pen.textAlign = "left";
    pen.fillText(`${100 * part} %`, width - right + 6, y(part) + 4);
  }
  pen.textAlign = "center";
  for (const part of [1, 0.5, 0])
    pen.fillText(part ? `${(span * part / 60000).toFixed(1)} min ago` : "now", x(end - part * span), height - 4);
  const line = (name, value) => {
    pen.strokeStyle = color(name);
    pen.lineWidth = 1.6;
    pen.beginPath();
    let on = false;
    for (const each of looks) {
      const part = value(each);
      if (part === undefined || x(each.when) < left) { on = false; continue; }
      if (on) pen.lineTo(x(each.when), y(part)); else pen.moveTo(x(each.when), y(part));
      on = true;
    }
    pen.stroke();
  };
  line("green", (each) => each.read === undefined ? undefined : each.read / most);
  line("blue", (each) => each.network === undefined ? undefined : each.network / most);
  line("amber", (each) => each.hits === undefined ? undefined : each.hits / 100);
}

// --- repositories --------------------------------------------------------------------------------

// Opens once; what it holds is asked for then.
function opens(head, fill) {
  const box = make("details", {}, make("summary", {}, head));
  box.addEventListener("toggle", () => {
    if (!box.open || box.children.length > 1) return;
    const body = make("div");
    box.append(body);
    fill(body).catch((error) => body.append(make("p", { className: "empty" }, error.message)));
  });
  return box;
}

function showFile(file) {
  const whole = file.here >= file.size;
  const parts = file.here_by_part || [whole ? 100 : file.here > 0 ? percent(file.here, file.size) : 0];
  return make("div", { className: "row" }, make("span", {}, file.path), picture(parts, whole && file.verified),
    make("span", {}, whole ? `${bytes(file.size)}${file.verified ? "" : ", not verified"}` : `${bytes(file.here)} of ${bytes(file.size)}`));
}

async function fillFiles(body, repo, commit, from = 0) {
  const page = await ask(`/api/files?repo=${encodeURIComponent(repo)}&commit=${commit}&from=${from}`);
  body.append(...page.files.map(showFile));
  if (from === 0 && page.files.length === 0) body.append(make("p", { className: "empty" }, "no file of it is known yet"));
  if (page.next === null) return;
  const more = make("button", {}, "More files");
  more.addEventListener("click", () => { more.remove(); fillFiles(body, repo, commit, page.next); });
  body.append(more);
}

function showRepo(each) {
  const here = each.commits.reduce((sum, commit) => sum + commit.bytes_here, 0);
  const all = each.commits.reduce((sum, commit) => sum + commit.bytes, 0);
  const words = [each.pinned ? "pinned" : "", each.public ? "" : "not public"].filter(Boolean).join(", ");
  const head = row(words ? `${each.repo} (${words})` : each.repo, here, all);
  head.lastChild.textContent = `${percent(here, all)} % of ${bytes(all)}`;
  return opens(head, async (body) => {
    for (const commit of each.commits) {
      const name = [commit.commit.slice(0, 12), ...commit.refs].join(" ") + (commit.whole_tree ? "" : " (known in part)");
      body.append(opens(row(name, commit.bytes_here, commit.bytes), (files) => fillFiles(files, each.repo, commit.commit)));
    }
    if (each.commits.length === 1) body.lastChild.open = true;
    if (each.commits.length === 0) body.append(make("p", { className: "empty" }, "no commit of it is known yet"));
  });
}

async function fillRepos(from = 0) {
  const page = await ask(`/api/repos?from=${from}`);
  if (from === 0) byId("repos").replaceChildren();
  byId("repos").append(...page.repos.map(showRepo));
  if (byId("repos").children.length === 0 && page.next === null)
    byId("repos").append(make("p", { className: "empty" }, "none has been looked up yet"));
  byId("more").hidden = page.next === null;
  byId("more").onclick = () => fillRepos(page.next);
}

// --- as long as somebody looks -------------------------------------------------------------------

async function tick() {
  if (!document.hidden) {
    try {
      show(await ask("/api/activity"));
      byId("trouble").hidden = true;
      // What is opened stays open; an empty list is asked for again.
      if (!document.querySelector("#repos details")) await fillRepos();
    } catch (error) {
      byId("trouble").textContent = `No answer: ${error.message}`;
      byId("trouble").hidden = false;
    }
  }
  setTimeout(tick, 1000);
}

window.addEventListener("resize", draw);
tick();
