// On the page of a server error: reloads it as soon as the service responds again.
const EVERY = 5000;
const line = document.getElementById("retrying");
if (line) line.textContent = "This page reloads automatically when the service is back.";

async function attempt() {
  try {
    const response = await fetch(location.href, { headers: { "X-Fragment": "1" }, cache: "no-store" });
    if (response.ok) { location.reload(); return; }
  } catch { /* not yet */ }
  setTimeout(attempt, EVERY);
}
setTimeout(attempt, EVERY);
