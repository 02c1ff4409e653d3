// On a page that says that the service has trouble: reloads it as soon as that is over.
const EVERY = 5000;
const line = document.getElementById("retrying");
if (line) line.textContent = "This page reloads by itself as soon as it can.";

async function attempt() {
  try {
    const answer = await fetch(location.href, { headers: { "X-Fragment": "1" }, cache: "no-store" });
    if (answer.ok) { location.reload(); return; }
  } catch { /* not yet */ }
  setTimeout(attempt, EVERY);
}
setTimeout(attempt, EVERY);
