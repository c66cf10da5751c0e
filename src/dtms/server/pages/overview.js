"use strict";
// Shows status, trades and actions by asking this server every few seconds. Texts are set as text, never as markup.
const EVERY_MS = 2000;
const STATE_CLASS = { HEALTHY: "good", RECOVERING: "good", WARNING_L1: "warn", WARNING_L2: "bad", HEDGED: "bad" };
const at = (id) => document.getElementById(id);
const figure = (value, digits) => (value === null || value === undefined ? "–" : Number(value).toFixed(digits));
const price = (value) => (value === null || value === undefined ? "–" : String(value));
const sign = (value) => (value > 0 ? "good" : value < 0 ? "bad" : "");
// 2017-10-25T11:16:03.120Z → 2017-10-25 11:16:03
const moment = (text) => (text ? text.slice(0, 19).replace("T", " ") : "");
const COLUMNS = ["Ticket", "Symbol", "Side", "State", "Score", "R", "P/L", "Price", "Stop", "Owner", "Notes"];

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  return { ok: answer.ok, body: await answer.json() };
}

function cell(text, className) {
  const made = document.createElement("td");
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function row(cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

function tradeRow(trade) {
  const info = trade.trade_info;
  const state = info.shadow_state ? `${trade.state} (shadow ${info.shadow_state})` : trade.state;
  const cells = [
    cell(String(trade.ticket)), cell(trade.symbol), cell(trade.direction), cell(state, STATE_CLASS[trade.state]),
    cell(figure(info.current_score, 2), "number"), cell(figure(info.r_multiple, 2), "number"),
    cell(figure(info.profit, 2), `number ${sign(info.profit)}`), cell(price(info.current_price), "number"),
    cell(price(info.sl), "number"), cell(info.owner), cell(info.warnings.join(" "), "soft notes"),
  ];
  cells.forEach((made, place) => { made.dataset.label = COLUMNS[place]; });
  return row(cells);
}

function readiness(ok, system) {
  if (!ok || !system.ready) return ["not ready", "bad"];
  return system.halted ? [`halted · ${system.mode}`, "bad"] : [`ready · ${system.mode}`, "good"];
}

function show(status, trades, actions) {
  const system = status.body.dtms_status;
  [at("ready").textContent, at("ready").className] = readiness(status.ok, system);
  at("summary").textContent = status.body.summary;
  at("time").textContent = system && system.market_time ? `${moment(system.market_time)} UTC, market time` : "";
  at("warnings").replaceChildren(...(system ? system.warnings : []).map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  const listed = trades.ok ? trades.body.trades : [];
  at("trades").replaceChildren(...listed.map(tradeRow));
  at("none").hidden = listed.length > 0;
  at("more").hidden = !(trades.ok && trades.body.next_cursor);
  const done = actions.ok ? [...actions.body.action_history].reverse() : [];
  at("actions").replaceChildren(...done.map((a) =>
    row([cell(moment(a.timestamp), "soft"), cell(String(a.ticket)), cell(a.summary, a.success ? "notes" : "notes bad")])));
  at("idle").hidden = done.length > 0;
}

async function refresh() {
  try {
    show(...(await Promise.all([ask("/dtms/status"), ask("/dtms/trades?limit=500"), ask("/dtms/actions?limit=20")])));
  } catch (error) {
    at("ready").textContent = "the server does not answer";
    at("ready").className = "bad";
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
