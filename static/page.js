// Every page works without it. It shows a password on request and that work is under way, follows a mail until it has arrived somewhere, and sees to it
// that nothing of a person is shown any more once their session has ended.

for (const button of document.querySelectorAll("[data-reveal]")) {
  const field = document.getElementById(button.dataset.reveal);
  button.hidden = false;
  button.addEventListener("click", () => {
    const show = field.type === "password";
    field.type = show ? "text" : "password";
    button.textContent = show ? button.dataset.hide : button.dataset.show;
  });
  // a password that is shown would be offered by the browser as an earlier entry of a text field
  field.form.addEventListener("submit", () => {
    field.type = "password";
  });
}

// A button shows that its work is under way, and is not pressed twice meanwhile. What never ends may be tried again.
const PATIENCE = 15_000;
for (const form of document.querySelectorAll("main form")) {
  form.addEventListener("submit", (event) => {
    const button = event.submitter ?? form.querySelector("[type=submit]");
    if (button.ariaBusy === "true") {
      event.preventDefault();
      return;
    }
    button.ariaBusy = "true";
    setTimeout(() => rest(button), PATIENCE);
  });
}

function rest(button) {
  button.ariaBusy = null;
}

const delivery = document.querySelector("[data-delivery]");
const isFinal = (status) => !["queued", "sent", "delayed"].includes(status);

/** Asks once; resolves to the status, or to null when there is no answer to be had just now. */
async function ask() {
  try {
    const response = await fetch(delivery.dataset.url, { headers: { accept: "application/json" }, cache: "no-store" });
    return response.ok ? (await response.json()).status : null;
  } catch {
    return null;
  }
}

/** Shows the status; true when nothing more will come. */
function show(status) {
  const words = delivery.dataset[status];
  if (words !== undefined && status !== delivery.dataset.delivery) {
    delivery.dataset.delivery = status;
    delivery.querySelector("[aria-live]").textContent = words;
  }
  if (status === "confirmed") {
    location.assign("/account");
  }
  return isFinal(status);
}

if (delivery && !isFinal(delivery.dataset.delivery)) {
  let pause = 1000;
  const follow = async () => {
    // a page in the background asks again when it is looked at
    if (document.hidden) {
      document.addEventListener("visibilitychange", follow, { once: true });
      return;
    }
    const status = await ask();
    if (status === null || !show(status)) {
      setTimeout(follow, pause);
      pause = Math.min(pause * 1.25, 5000);
    }
  };
  setTimeout(follow, pause);
}

const account = document.documentElement.dataset.account;
const isPersonal = account !== undefined || delivery !== null;

// A page that is left may be kept whole, to be shown again by the way back (HTML standard, "reactivate a document"), whatever
// its headers say. So what is typed into a password field does not stay, and a page with something of a person goes out of
// sight as it is left; when it comes back, the server says what is to be seen.
addEventListener("pagehide", () => {
  document.querySelectorAll("[data-reveal]").forEach((button) => {
    document.getElementById(button.dataset.reveal).value = "";
  });
  document.documentElement.hidden = isPersonal;
});
addEventListener("pageshow", (event) => {
  if (event.persisted) {
    document.querySelectorAll("[aria-busy]").forEach(rest);
    if (isPersonal) {
      location.reload();
    }
  }
});

/** Leaves when who is signed in is no longer whose page this is. */
async function leaveUnlessOurs() {
  try {
    const response = await fetch("/api/v1/me", { headers: { accept: "application/json" }, cache: "no-store" });
    if (response.ok ? (await response.json()).user.id !== account : response.status === 401) {
      document.documentElement.hidden = true;
      location.reload();
    }
  } catch {
    // nobody knows just now; it is asked again when the page is looked at
  }
}

// Each page says to the other tabs whose it is: signing out leads to one that is nobody's.
const tabs = new BroadcastChannel("account");
tabs.postMessage(account ?? "");
if (account !== undefined) {
  tabs.addEventListener("message", (event) => {
    if (event.data !== account) {
      leaveUnlessOurs();
    }
  });
  // the session may have ended elsewhere meanwhile
  document.addEventListener("visibilitychange", () => {
    // one that comes back by the history is out of sight and asks by itself
    if (!document.hidden && !document.documentElement.hidden) {
      leaveUnlessOurs();
    }
  });
}
