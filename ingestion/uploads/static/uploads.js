"use strict";
// One request per file, so that each has its own progress; a few at a time.
const CONCURRENT = 2;
const KEY = "superres-upload-token";
const at = id => document.getElementById(id);
const main = document.querySelector("main");
const section = document.querySelector("section");
const maxBytes = Number(main.dataset.maxBytes);
const queue = [];
const entries = [];
let running = 0;

// ---- the token: from the field, or from the URL, from which it is removed

function takeTokenFromUrl() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  history.replaceState(null, "", location.pathname + location.search);
  keepToken(given);
}

function keepToken(token) {
  at("token").value = token;
  try { sessionStorage.setItem(KEY, token.trim()); } catch { /* no storage: the field keeps it */ }
}

function restoreToken() {
  try { at("token").value = sessionStorage.getItem(KEY) ?? ""; } catch { /* no storage */ }
}

function markToken(wrong) {
  const field = at("token");
  const was = field.getAttribute("aria-invalid") === "true";
  field.setAttribute("aria-invalid", String(wrong));
  if (wrong && !was) field.focus();
}

at("token").addEventListener("input", () => { keepToken(at("token").value); markToken(false); });
addEventListener("hashchange", takeTokenFromUrl);

// ---- files, as rows of the list

function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function add(file) {
  const row = at("row").content.cloneNode(true).firstElementChild;
  const part = name => row.querySelector(name);
  const entry = { file, row, part, outcome: "" };
  part(".name").textContent = file.name;
  part(".size").textContent = size(file.size);
  part("progress").setAttribute("aria-label", `Progress of ${file.name}`);
  part("button").setAttribute("aria-label", `Send ${file.name} again`);
  part("button").addEventListener("click", () => { enqueue(entry); next(); });
  entries.push(entry);
  at("list").append(row);
  section.hidden = false;
  if (file.size > maxBytes) settle(entry, "rejected", `The file is over the limit of ${size(maxBytes)}.`);
  else enqueue(entry);
}

function enqueue(entry) {
  entry.outcome = "";
  entry.row.className = "";
  for (const name of [".detail", "dl", "button"]) entry.part(name).hidden = true;
  entry.part("progress").hidden = false;
  show(entry, "Waiting", 0);
  queue.push(entry);
  summarise();
}

function show(entry, state, share) {
  entry.part(".state").textContent = state;
  if (share === null) entry.part("progress").removeAttribute("value");
  else entry.part("progress").value = share;
}

function settle(entry, outcome, detail) {
  entry.outcome = outcome;
  entry.row.className = outcome;
  entry.part("progress").hidden = true;
  const state = { accepted: "Accepted", rejected: "Rejected", failed: "Not sent" }[outcome];
  entry.part(".state").textContent = state;
  at("announcement").textContent = `${entry.file.name}: ${state}. ${detail}`; // for screen readers
  entry.part(".detail").textContent = detail;
  entry.part(".detail").hidden = !detail;
  entry.part("button").hidden = outcome !== "failed";
  summarise();
}

function summarise() {
  const count = outcome => entries.filter(entry => entry.outcome === outcome).length;
  const text = [[count(""), "to send"], [count("accepted"), "accepted"], [count("rejected"), "rejected"],
    [count("failed"), "not sent"]].filter(([number]) => number).map(([number, what]) => `${number} ${what}`).join(", ");
  at("summary").textContent = text;
}

// ---- sending

function next() {
  while (running < CONCURRENT && queue.length) {
    running += 1;
    send(queue.shift()).finally(() => { running -= 1; next(); });
  }
}

async function send(entry) {
  const token = at("token").value.trim();
  if (!/^[!-~]+$/.test(token)) {
    markToken(true);
    settle(entry, "failed", token ? "This is not a token: it contains characters that no token has." : "Enter the token first.");
    return;
  }
  const response = await post(entry, token);
  const body = response.body;
  const reason = body?.rejected?.[0]?.reason;
  if (response.status === 202 && body?.images?.length) {
    entry.part(".image-id").textContent = body.images[0].image_id;
    entry.part(".result").replaceChildren(pageOf(body.images[0]));
    entry.part("dl").hidden = false;
    settle(entry, "accepted", "");
  } else if (reason) {
    settle(entry, "rejected", sentence(reason));
  } else if (response.status === 401) {
    markToken(true);
    settle(entry, "failed", "The service does not accept this token.");
  } else if (response.status) {
    settle(entry, "failed", sentence(body?.detail ?? `the service responded with ${response.status}`));
  } else {
    settle(entry, "failed", "The connection was lost, or the file can no longer be read.");
  }
}

// Where the gallery will show the result: a link, if this service knows the gallery's address.
function pageOf(image) {
  if (!image.page) return "the gallery will show it";
  if (!/^https?:/.test(image.page)) return image.page;
  const link = document.createElement("a");
  link.href = link.textContent = image.page;
  return link;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

function post(entry, token) {
  return new Promise(resolve => {
    const form = new FormData();
    form.append("files", entry.file);
    const request = new XMLHttpRequest(); // fetch() does not report upload progress
    request.open("POST", location.pathname);
    request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.upload.addEventListener("progress", event => {
      if (!event.lengthComputable) return;
      const share = event.loaded / event.total;
      if (share < 1) show(entry, `Sending ${Math.floor(share * 100)} %`, share);
      else show(entry, "Checking", null);
    });
    request.addEventListener("loadend", () => {
      let body = null;
      try { body = JSON.parse(request.responseText); } catch { /* not a response of this service */ }
      resolve({ status: request.status, body });
    });
    request.send(form);
  });
}

// ---- choosing and dropping

at("files").addEventListener("change", () => {
  for (const file of at("files").files) add(file);
  at("files").value = "";
  next();
});

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  // On the whole page: otherwise a file dropped beside the field would replace the page.
  addEventListener(kind, event => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind !== "drop") return;
    for (const file of event.dataTransfer.files) add(file);
    next();
  });
}

restoreToken();
takeTokenFromUrl();
