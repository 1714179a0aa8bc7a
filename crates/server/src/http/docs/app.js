// Draws the reference from /openapi.json. Plain DOM calls only: no text of the document is ever read as HTML.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const SHOWN_BYTES = 100000;
const byId = (id) => document.getElementById(id);

function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

// ---- the little Markdown that descriptions use: paragraphs, lists, tables, headings, `code`

function inline(text) {
  return text.split("`").map((piece, index) => (index % 2 ? el("code", {}, piece) : piece));
}

function markdown(text) {
  return (text || "").split(/\n{2,}/).filter((block) => block.trim()).map((block) => {
    const lines = block.trim().split("\n");
    if (lines[0].startsWith("## ")) {
      const rest = lines.slice(1).join("\n");
      return [el("h2", {}, inline(lines[0].slice(3))), rest ? markdown(rest) : []];
    }
    if (lines[0].startsWith("|")) return table(lines);
    if (lines[0].startsWith("- ")) return el("ul", {}, lines.map((line) => el("li", {}, inline(line.slice(2)))));
    return el("p", {}, inline(lines.join(" ")));
  });
}

function table(lines) {
  const cells = (line) => line.split("|").slice(1, -1).map((cell) => inline(cell.trim()));
  const row = (line) => el("tr", {}, cells(line).map((cell) => el("td", {}, cell)));
  const head = el("tr", {}, cells(lines[0]).map((cell) => el("th", { scope: "col" }, cell)));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, lines.slice(2).map(row))));
}

// ---- schemas

function resolve(api, schema) {
  return schema && schema.$ref ? schema.$ref.slice(2).split("/").reduce((at, step) => at[step], api) : schema || {};
}

function typeName(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.oneOf || schema.anyOf;
  if (choices) return choices.map((choice) => typeName(choice)).join(" or ");
  if (schema.type === "array") return "list of " + typeName(schema.items || {});
  const type = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type || "anything";
  return schema.format ? type + " (" + schema.format + ")" : type;
}

function innerSchema(api, schema) {
  if (schema.$ref) return schema;
  const choice = (schema.oneOf || schema.anyOf || []).find((candidate) => candidate.$ref);
  return choice || (schema.type === "array" ? innerSchema(api, schema.items || {}) : schema);
}

function fields(api, schema, depth) {
  const found = resolve(api, innerSchema(api, schema));
  if (found.oneOf) return el("ul", { class: "schema" }, found.oneOf.map((choice) => el("li", {}, typeName(choice), fields(api, choice, depth + 1))));
  if (!found.properties || depth > 3) return null;
  const required = found.required || [];
  return el("ul", { class: "schema" }, Object.entries(found.properties).map(([name, field]) => el("li", {},
    el("code", {}, name), " ", el("span", { class: "muted" }, typeName(field)),
    required.includes(name) ? el("span", { class: "needed" }, " required") : null,
    field.description ? [" – ", inline(field.description)] : null,
    fields(api, field, depth + 1))));
}

function example(api, content) {
  if (content.example !== undefined) return content.example;
  return sample(api, content.schema || {}, 0);
}

function sample(api, schema, depth) {
  const found = resolve(api, schema);
  if (found.example !== undefined) return found.example;
  if (found.enum) return found.enum[0];
  if (found.oneOf || found.anyOf) return sample(api, (found.oneOf || found.anyOf).slice(-1)[0], depth + 1);
  const type = Array.isArray(found.type) ? found.type[0] : found.type;
  if (type === "array") return depth > 4 ? [] : [sample(api, found.items || {}, depth + 1)];
  if (type === "object" && depth < 5) {
    return Object.fromEntries(Object.entries(found.properties || {}).map(([name, field]) => [name, sample(api, field, depth + 1)]));
  }
  return { string: "text", integer: 1, number: 1.5, boolean: true }[type] ?? null;
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

// ---- operations

function parametersTable(parameters) {
  if (!parameters.length) return null;
  const rows = parameters.map((parameter) => el("tr", {},
    el("th", { scope: "row" }, el("code", {}, parameter.name), parameter.required ? el("span", { class: "needed" }, " required") : null),
    el("td", {}, parameter.in), el("td", {}, typeName(parameter.schema || {})), el("td", {}, inline(parameter.description || ""))));
  const head = ["Name", "In", "Type", "Meaning"].map((text) => el("th", { scope: "col" }, text));
  return [el("h4", {}, "Parameters"),
    el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)))];
}

function bodySection(api, body) {
  if (!body) return null;
  const [type, content] = Object.entries(body.content)[0];
  return [el("h4", {}, "Body ", el("span", { class: "muted" }, type + ", " + typeName(content.schema || {}))),
    body.description ? el("p", {}, inline(body.description)) : null,
    fields(api, content.schema || {}, 0), el("pre", { tabindex: "0" }, pretty(example(api, content)))];
}

function responsesSection(api, responses) {
  const entries = Object.entries(responses).map(([status, response]) => [status, resolve(api, response)]).sort(([a], [b]) => a.localeCompare(b));
  const answer = ([status, response]) => el("li", {},
    el("code", { class: status < "300" ? "good" : "bad" }, status), " ", inline(response.description || ""),
    Object.entries(response.content || {}).filter(([type]) => type !== "application/problem+json").map(([type, content]) =>
      el("details", {}, el("summary", {}, type, " ", el("span", { class: "muted" }, typeName(content.schema || {}))),
        fields(api, content.schema || {}, 0),
        type === "application/json" ? el("pre", { tabindex: "0" }, pretty(example(api, content))) : null)));
  const [good, bad] = [entries.filter(([status]) => status < "300"), entries.filter(([status]) => status >= "300")];
  return [el("h4", {}, "Answers"), el("ul", { class: "plain responses" }, good.map(answer)),
    el("details", {}, el("summary", {}, "Refusals (" + bad.length + ")"), el("ul", { class: "plain responses" }, bad.map(answer)))];
}

function operationSection(api, op) {
  const parameters = op.details.parameters || [];
  return el("article", { class: "operation", id: op.details.operationId, "aria-labelledby": op.details.operationId + "-name" },
    el("h3", { id: op.details.operationId + "-name" }, op.details.summary),
    el("div", { class: "endpoint" }, el("span", { class: "method " + op.method }, op.method), el("span", { class: "path" }, op.path)),
    markdown(op.details.description), parametersTable(parameters), bodySection(api, op.details.requestBody),
    responsesSection(api, op.details.responses), tryIt(api, op, parameters));
}

// ---- try it

function tryIt(api, op, parameters) {
  const inputs = parameters.map((parameter) => ({ parameter, input: el("input", { autocomplete: "off", spellcheck: "false", required: parameter.required }) }));
  const bodyContent = op.details.requestBody && Object.values(op.details.requestBody.content)[0];
  const text = bodyContent ? el("textarea", { spellcheck: "false" }) : null;
  if (text) text.value = pretty(example(api, bodyContent));
  const types = Object.values(op.details.responses).flatMap((response) => Object.keys(response.content || {}));
  const forms = [...new Set(types)].filter((type) => type !== "application/problem+json");
  const accept = forms.length > 1 ? el("select", {}, forms.map((type) => el("option", {}, type))) : null;
  const send = el("button", { type: "submit" }, "Send");
  const output = el("div", { role: "status", "aria-live": "polite" });
  const form = el("form", {},
    el("div", { class: "fields" }, inputs.map(({ parameter, input }) => el("label", {}, parameter.name + " (" + parameter.in + ")", input)),
      accept ? el("label", {}, "Accept", accept) : null),
    text ? el("label", {}, "Body", text) : null, el("div", { class: "actions" }, send), output);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    output.replaceChildren("Waiting…");
    output.replaceChildren(...(await call(op, inputs, text, accept)));
    send.disabled = false;
  });
  return el("details", {}, el("summary", {}, "Try it"), form);
}

async function call(op, inputs, text, accept) {
  let path = op.path;
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") path = path.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
    else if (input.value !== "") query.set(parameter.name, input.value);
  }
  const url = path + (query.size ? "?" + query : "");
  const headers = {};
  if (byId("key").value) headers.Authorization = "Bearer " + byId("key").value;
  if (byId("impersonate").value) headers["x-waii-impersonate-user"] = byId("impersonate").value;
  if (text) headers["Content-Type"] = "application/json";
  if (accept) headers.Accept = accept.value;
  const started = performance.now();
  try {
    const response = await fetch(url, { method: op.method.toUpperCase(), headers, body: text ? text.value : undefined, credentials: "omit" });
    const body = await readSome(response);
    const took = Math.round(performance.now() - started) + " ms";
    const status = el("strong", { class: response.ok ? "good" : "bad" }, response.status + " " + response.statusText);
    const shown = [el("p", {}, status, el("span", { class: "muted" }, " in " + took + ", " + (response.headers.get("content-type") || "no body")))];
    if (response.headers.get("location")) shown.push(el("p", {}, "Location: ", el("code", {}, response.headers.get("location"))));
    if (body) shown.push(el("pre", { tabindex: "0" }, body));
    return shown;
  } catch (error) {
    return [el("p", { class: "bad" }, "The request did not get an answer: " + error.message)];
  }
}

// Rows may stream without end: what fits is shown, and the rest is not asked for.
async function readSome(response) {
  if (!response.body) return "";
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    text += decoder.decode(step.value, { stream: true });
    if (text.length > SHOWN_BYTES) {
      await reader.cancel();
      return text.slice(0, SHOWN_BYTES) + "\n… cut off here";
    }
  }
  try { return pretty(JSON.parse(text)); } catch { return text; }
}

// ---- the page

function operationsOf(api) {
  return Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, details: item[method] })));
}

function draw(api) {
  const operations = operationsOf(api);
  const main = byId("content");
  main.replaceChildren(el("h1", {}, api.info.title + " ", el("span", { class: "muted" }, api.info.version)), ...markdown(api.info.description).flat(Infinity));
  for (const tag of api.tags || []) {
    const own = operations.filter((op) => (op.details.tags || []).includes(tag.name));
    if (!own.length) continue;
    main.append(el("section", { "aria-label": tag.name }, el("h2", { class: "tag" }, tag.name), markdown(tag.description), own.map((op) => operationSection(api, op))));
    byId("operations").append(el("div", { class: "group" }, el("h2", {}, tag.name), el("ul", { class: "plain" }, own.map((op) =>
      el("li", { "data-find": (op.details.summary + " " + op.method + " " + op.path).toLowerCase() },
        el("a", { href: "#" + op.details.operationId }, el("span", { class: "method " + op.method }, op.method), el("span", {}, op.details.summary)))))));
  }
  markCurrent();
  const target = location.hash && byId(location.hash.slice(1));
  if (target) target.scrollIntoView();
}

function markCurrent() {
  for (const link of byId("operations").querySelectorAll("a")) {
    if (link.hash === location.hash) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function find() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const item of byId("operations").querySelectorAll("li")) item.hidden = !words.every((word) => item.dataset.find.includes(word));
  for (const group of byId("operations").querySelectorAll(".group")) group.hidden = !group.querySelector("li:not([hidden])");
}

byId("search").addEventListener("input", find);
byId("identity").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", markCurrent);
fetch("/openapi.json", { credentials: "omit" })
  .then((response) => response.json())
  .then(draw)
  .catch((error) => byId("content").replaceChildren(el("p", { class: "bad" }, "The OpenAPI document could not be read: " + error.message)));
