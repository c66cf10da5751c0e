"use strict";
// Lists the operations of /openapi.json with their examples, and tries them against this server.
function make(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Names stand between double backticks in the descriptions.
const plain = (text) => (text || "").replaceAll("``", "");
const pretty = (value) => JSON.stringify(value, null, 2);

function field(form, name, hint) {
  const label = make("label", `${name}${hint ? ` – ${plain(hint)}` : ""}`);
  const input = make("input");
  label.append(input);
  form.append(label);
  return input;
}

async function send(method, path, inputs, body, output) {
  let filled = path;
  const query = new URLSearchParams();
  for (const { place, name, input } of inputs) {
    if (place === "path") filled = filled.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (input.value !== "") query.set(name, input.value);
  }
  const options = { method, headers: { Accept: "application/json" } };
  if (body) Object.assign(options, { body: body.value });
  if (method !== "GET") options.headers["Content-Type"] = "application/json";
  const answer = await fetch(query.size ? `${filled}?${query}` : filled, options);
  const text = await answer.text();
  try {
    output.textContent = `${answer.status}\n${pretty(JSON.parse(text))}`;
  } catch {
    output.textContent = `${answer.status}\n${text}`;
  }
}

function tryForm(method, path, operation) {
  const form = make("form");
  const inputs = (operation.parameters || []).map((p) => (
    { place: p.in, name: p.name, input: field(form, p.name, p.description) }));
  let body = null;
  if (operation.requestBody) {
    form.append(make("label", "Body"));
    body = make("textarea");
    body.setAttribute("aria-label", "Body");
    body.value = pretty(operation.requestBody.content["application/json"].example ?? {});
    form.append(body);
  }
  const output = make("pre", "");
  output.hidden = true;
  form.append(make("button", "Send"), output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    output.hidden = false;
    output.textContent = "…";
    send(method, path, inputs, body, output).catch((error) => { output.textContent = String(error); });
  });
  return form;
}

function operationCard(method, path, operation) {
  const card = make("details", undefined, "card");
  const head = make("summary");
  head.append(make("span", method, "method"), make("strong", path), make("span", ` ${plain(operation.description)}`, "soft"));
  card.append(head);
  for (const [status, answer] of Object.entries(operation.responses)) {
    const block = make("details");
    block.append(make("summary", `${status} – ${answer.description}`));
    const content = answer.content && answer.content["application/json"];
    if (content && content.example) block.append(make("pre", pretty(content.example)));
    card.append(block);
  }
  card.append(tryForm(method, path, operation));
  return card;
}

async function load() {
  const place = document.getElementById("operations");
  const document_ = await (await fetch("/openapi.json")).json();
  document.getElementById("title").textContent = `${document_.info.title} ${document_.info.version} API`;
  place.replaceChildren(make("p", document_.info.description));
  for (const [path, methods] of Object.entries(document_.paths))
    for (const [method, operation] of Object.entries(methods))
      place.append(operationCard(method.toUpperCase(), path, operation));
}

load().catch((error) => { document.getElementById("operations").textContent = String(error); });
