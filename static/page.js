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

// How long until a stream is asked for again that was refused.
const PAUSE = 1000;
const LONGEST_PAUSE = 15_000;

/** Hears what a stream tells while the page is looked at. Where there is no stream to be had, `ask` is called now and then. The first
 * thing that a stream tells is how things are, so nothing is missed while it is not heard. */
function follow(address, events, ask) {
  let source = null;
  let timer;
  let pause = PAUSE;
  const rest = () => {
    source?.close();
    clearTimeout(timer);
  };
  const hear = () => {
    rest();
    const opened = new EventSource(address());
    source = opened;
    for (const [name, react] of Object.entries(events)) {
      opened.addEventListener(name, (event) => {
        pause = PAUSE;
        react(JSON.parse(event.data));
      });
    }
    opened.addEventListener("error", async () => {
      // after a cut the browser comes back by itself
      if (opened.readyState === EventSource.CLOSED && opened === source) {
        await ask();
        clearTimeout(timer);
        timer = setTimeout(hearIfSeen, pause);
        pause = Math.min(pause * 1.5, LONGEST_PAUSE);
      }
    });
  };
  const hearIfSeen = () => (document.hidden ? rest() : hear());
  document.addEventListener("visibilitychange", hearIfSeen);
  addEventListener("pagehide", rest);
  // where a form leads, no news leads away from
  document.addEventListener("submit", (event) => {
    if (!event.defaultPrevented) {
      rest();
      timer = setTimeout(hearIfSeen, PATIENCE);
    }
  });
  hearIfSeen();
}

const delivery = document.querySelector("[data-delivery]");

/** Shows how far the mail has come. */
function show({ state, text }) {
  const words = delivery.querySelector("[aria-live]");
  if (words.textContent !== text) {
    words.textContent = text;
  }
  const before = delivery.dataset.delivery;
  delivery.dataset.delivery = state;
  // the page moves on, or has a form to correct the address
  if (state === "confirmed" || (state === "rejected" && before !== state && document.querySelector("[data-correct]"))) {
    location.reload();
  }
}

/** Asks once; nothing comes of it when there is no answer to be had just now. */
async function askOnce() {
  try {
    const response = await fetch(delivery.dataset.url, { headers: { accept: "application/json" }, cache: "no-store" });
    if (response.ok) {
      show(await response.json());
    }
  } catch {
    // it is asked again
  }
}

if (delivery && delivery.dataset.delivery !== "unknown") {
  follow(() => delivery.dataset.news, { status: show }, askOnce);
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
      leave();
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

const list = document.querySelector("[data-events]");

/** Brings the list up to date, unless the sign-in is in it. */
async function addSignIn({ id }) {
  if (list.querySelector(`[data-session="${CSS.escape(id)}"]`)) {
    return;
  }
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.querySelector("[data-events]");
    if (fresh) {
      list.querySelector("tbody").replaceWith(fresh.querySelector("tbody"));
      list.dataset.events = fresh.dataset.events;
      const told = list.querySelector("[data-told]");
      told.textContent = told.dataset.told;
    }
  } catch {
    // it is in the list when the page is opened the next time
  }
}

function leave() {
  document.documentElement.hidden = true;
  location.reload();
}

if (list) {
  // where there is no stream, the page asks whose it is when it is looked at
  follow(() => list.dataset.events, { "sign-in": addSignIn, "session-ended": leave }, () => {});
}
