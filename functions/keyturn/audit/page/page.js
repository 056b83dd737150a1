"use strict";
// Sorts and filters the page's tables. All data is in the tables; this file holds none. What is
// chosen stands in the address (#rule=key-not-rotated&sort=-age), so that it can be passed on.
(() => {
  const FIRST = 50, STEP = 200;
  const root = document.documentElement;
  // Before the rows are parsed, so that thousands of them are never laid out at once.
  root.classList.add("loading");

  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const number = (value) => value.toLocaleString("en-US");
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const lists = [];

  class List {
    constructor(table) {
      this.name = table.dataset.name;
      this.prefix = this.name === "findings" ? "" : this.name + ".";
      this.table = table;
      this.body = table.tBodies[0];
      this.rows = [...this.body.rows];
      this.columns = [...table.tHead.rows[0].cells];
      this.values = new Map();
      this.form = document.getElementById(this.name + "-filters");
      this.status = document.getElementById(this.name + "-shown");
      this.more = element("p", { className: "more", hidden: true });
      table.after(this.more);
      this.columns.forEach((column) => this.head(column));
      this.controls();
      this.form.hidden = false;
    }

    head(column) {
      const { key, sort } = column.dataset;
      const words = column.textContent;
      const button = element("button", { type: "button" }, words);
      button.addEventListener("click", () => {
        const now = this.form.elements.sort.value;
        const first = sort.startsWith("-") ? "-" + key : key;
        const other = sort.startsWith("-") ? key : "-" + key;
        this.form.elements.sort.value = now === first ? other : first;
        this.apply();
        this.remember();
      });
      column.replaceChildren(button);
      const [up, down] = sort === "-num" ? ["lowest first", "highest first"]
        : sort.startsWith("-") ? ["least first", "worst first"] : ["A to Z", "Z to A"];
      this.form.elements.sort.append(
        element("option", { value: key }, `${words}, ${up}`),
        element("option", { value: "-" + key }, `${words}, ${down}`));
    }

    controls() {
      const changed = () => { this.apply(); this.remember(); };
      let timer;
      this.form.addEventListener("input", (event) => {
        clearTimeout(timer);
        timer = setTimeout(changed, event.target.type === "search" ? 150 : 0);
      });
      this.form.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
      this.form.addEventListener("reset", () => setTimeout(changed));
    }

    // The values of one column, or of an attribute of the rows, once for all rows.
    of(key) {
      if (!this.values.has(key)) {
        const at = this.columns.findIndex((column) => column.dataset.key === key);
        this.values.set(key, new Map(this.rows.map((row) => {
          if (at < 0) return [row, key === "find" ? row.textContent.toLowerCase() : row.dataset[key]];
          const cell = row.cells[at];
          return [row, cell.dataset.v ?? cell.textContent];
        })));
      }
      return this.values.get(key);
    }

    filtered() {
      let rows = this.rows;
      for (const { name, value } of this.form.elements) {
        if (!name || name === "sort" || !value) continue;
        const values = this.of(name);
        const wanted = value.toLowerCase().split(/\s+/).filter(Boolean);
        rows = name === "find"
          ? rows.filter((row) => wanted.every((word) => values.get(row).includes(word)))
          : rows.filter((row) => values.get(row) === value);
      }
      return rows;
    }

    sorted(rows) {
      const sort = this.form.elements.sort.value;
      const key = sort.replace("-", "");
      for (const column of this.columns) {
        if (column.dataset.key !== key) column.removeAttribute("aria-sort");
        else column.ariaSort = sort === key ? "ascending" : "descending";
      }
      if (!key) return rows;
      const how = this.columns.find((column) => column.dataset.key === key).dataset.sort;
      const order = how.replace("-", "").split(" ");
      const values = this.of(key);
      const compare = how.endsWith("num") ? (a, b) => a - b
        : order.length > 1 ? (a, b) => order.indexOf(a) - order.indexOf(b)
        : collator.compare;
      const sign = sort === key ? 1 : -1;
      // What has no value stays last in both directions.
      return [...rows].sort((one, other) => {
        const a = values.get(one), b = values.get(other);
        return (a === "") - (b === "") || sign * compare(a, b);
      });
    }

    apply() {
      this.view = this.sorted(this.filtered());
      this.show(FIRST);
    }

    show(count) {
      const rows = this.view.slice(0, count);
      for (const row of rows) copyable(row);
      this.body.replaceChildren(...rows);
      const all = this.view.length === this.rows.length;
      this.status.textContent = !this.view.length ? "Nothing matches."
        : `${number(rows.length)} of ${number(this.view.length)}`
          + (all ? " shown" : ` that match shown, ${number(this.rows.length)} in all`);
      const left = this.view.length - rows.length;
      this.more.hidden = !left;
      this.more.replaceChildren(
        this.button(`Show ${number(Math.min(left, STEP))} more`, count + STEP),
        ...(left > STEP ? [this.button(`Show all ${number(this.view.length)}`, Infinity)] : []));
    }

    button(words, count) {
      const made = element("button", { type: "button" }, words);
      made.addEventListener("click", () => this.show(count));
      return made;
    }

    // Takes what the address says; tells whether it says anything about this table.
    recall(address) {
      let any = false;
      for (const control of this.form.elements) {
        if (!control.name) continue;
        const value = address.get(this.prefix + control.name);
        any ||= value !== null;
        control.value = value ?? "";
        if (control.selectedIndex === -1) control.value = "";
      }
      this.apply();
      return any;
    }

    remember() {
      const address = new URLSearchParams();
      for (const list of lists) {
        for (const { name, value } of list.form.elements) {
          if (name && value) address.set(list.prefix + name, value);
        }
      }
      try {
        history.replaceState(null, "", "#" + (address.toString() || this.name));
      } catch { /* A page without an address of its own, such as a preview. */ }
    }
  }

  function copyable(row) {
    for (const code of row.querySelectorAll("code")) {
      if (code.nextElementSibling?.className === "copy") continue;
      // Its word is in the style sheet, so that a search for "copy" does not find every command.
      const button = element("button", { type: "button", className: "copy", ariaLabel: "Copy" });
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(code.textContent);
          button.ariaLabel = "Copied";
          setTimeout(() => { button.ariaLabel = "Copy"; }, 1500);
        } catch {
          getSelection().selectAllChildren(code);
        }
      });
      code.after(button);
    }
  }

  function recall(scroll) {
    const hash = location.hash.slice(1);
    const address = new URLSearchParams(hash.includes("=") ? hash : "");
    const meant = lists.filter((list) => list.recall(address));
    if (scroll && meant.length) document.getElementById(meant[0].name).scrollIntoView();
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const table of document.querySelectorAll("table.list")) lists.push(new List(table));
    recall(true);
    root.classList.replace("loading", "ready");
  });
  addEventListener("hashchange", () => recall(true));
  addEventListener("beforeprint", () => {
    for (const list of lists) list.show(Infinity);
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
