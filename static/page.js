// Makes two things more comfortable; every page works without it. Shows a password on request, and follows a mail until
// it has arrived somewhere.

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

const delivery = document.querySelector("[data-delivery]");
const isFinal = (status) => !["queued", "sent", "delayed"].includes(status);

/** Asks once; resolves to the status, or to null when there is no answer to be had just now. */
async function ask() {
  try {
    const response = await fetch("/register/status", { headers: { accept: "application/json" }, cache: "no-store" });
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
