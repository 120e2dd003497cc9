"use strict";
/* The page of the API out of its contract.  Text only goes in as text, never as markup. */
let contract;

function el(name, text, ...children) {
    const e = document.createElement(name);
    if (text)
        e.textContent = text;
    e.append(...children);
    return e;
}

function resolve(node) {
    while (node && node.$ref)
        node = node.$ref.slice(2).split("/").reduce((at, key) => at[key], contract);
    return node || {};
}

/* One line for a schema: its name, or its type and limits. */
function brief(schema) {
    if (!schema)
        return "";
    if (schema.$ref)
        return schema.$ref.split("/").pop();
    if (schema.enum)
        return schema.enum.join(" | ");
    if (schema.type === "array")
        return "list of " + brief(schema.items);
    for (const way of ["anyOf", "oneOf", "allOf"])
        if (schema[way] && !schema.properties)
            return schema[way].map(brief).filter(Boolean).join(way === "allOf" ? " and " : " or ");
    const limits = ["format", "minLength", "maxLength", "minimum", "maximum", "pattern"]
        .filter((key) => key in schema).map((key) => key + " " + schema[key]);
    return [].concat(schema.type || "anything", limits).join(", ");
}

function table(rows) {
    const t = el("table");
    for (const [name, what, about] of rows)
        t.append(el("tr", "", el("td", "", el("code", name)), el("td", what), el("td", about)));
    return t;
}

function parameters(operation) {
    const list = (operation.parameters || []).map(resolve);
    return list.length ? [el("h4", "Parameters"), table(list.map((p) =>
        [p.name + (p.required ? " *" : ""), brief(p.schema), p.description]))] : [];
}

function fields(schema) {
    const whole = resolve(schema);
    const parts = [whole, ...(whole.allOf || []).map(resolve)];
    const required = new Set(parts.flatMap((p) => p.required || []));
    const rows = parts.flatMap((p) => Object.entries(p.properties || {}));
    return rows.map(([name, s]) =>
        [name + (required.has(name) ? " *" : ""), brief(s), resolve(s).description || ""]);
}

function body(operation) {
    const out = [];
    for (const [media, content] of Object.entries((operation.requestBody || {}).content || {})) {
        const example = (resolve(content.schema).examples || [])[0];
        out.push(el("h4", "Body: " + media), table(fields(content.schema)));
        if (example)
            out.push(el("pre", JSON.stringify(example, null, 2)));
    }
    return out;
}

function answers(operation) {
    return [el("h4", "Answers"), table(Object.entries(operation.responses).map(([status, r]) => {
        const media = Object.values(resolve(r).content || {})[0];
        return [status, media ? brief(media.schema) : "", resolve(r).description];
    }))];
}

function show(method, path, operation) {
    const verb = el("span", method.toUpperCase());
    const where = el("code", contract.servers[0].url + path);
    verb.className = "verb";
    where.className = "path";
    const d = el("details", "", el("summary", "", verb, where, el("span", operation.summary)));
    d.id = operation.operationId;
    d.addEventListener("toggle", () => {
        if (d.open && d.childElementCount === 1)
            d.append(el("p", operation.description || ""), ...parameters(operation),
                     ...body(operation), ...answers(operation));
    });
    return d;
}

function operations() {
    return Object.entries(contract.paths).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => ({ method, path, operation })));
}

function render(words) {
    const main = document.getElementById("operations");
    const all = operations().filter((o) => words.every((w) =>
        (o.method + " " + o.path + " " + JSON.stringify(o.operation)).toLowerCase().includes(w)));
    main.replaceChildren();
    for (const tag of contract.tags) {
        const own = all.filter((o) => o.operation.tags.includes(tag.name));
        if (!own.length)
            continue;
        const h = el("h2", tag.name);
        h.id = "tag-" + tag.name;
        main.append(h, el("p", tag.description), ...own.map((o) => show(o.method, o.path, o.operation)));
    }
    if (!all.length)
        main.append(el("p", "Nothing matches."));
}

async function start() {
    const answer = await fetch("/api/v1/openapi.json");
    contract = await answer.json();
    for (const tag of contract.tags) {
        const a = el("a", tag.name);
        a.href = "#tag-" + tag.name;
        document.getElementById("tags").append(a);
    }
    render([]);
    document.getElementById("find").addEventListener("input", (event) =>
        render(event.target.value.toLowerCase().split(/\s+/).filter(Boolean)));
}

start().catch((error) =>
    document.getElementById("operations").replaceChildren(el("p", "The contract could not be read: " + error.message)));
