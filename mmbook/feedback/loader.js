// Mounts labeller.js where there is no kernel: a classic script, as pages that are opened as files refuse modules.
// PageModel does what the kernel's Labeller does: it turns clicks into events of the log. Each event is an entry of its own in the
// browser's storage, so two tabs never overwrite each other's; `at` orders them: one more than the largest that its writer knew.
(() => {
  if (window.mmbookLabels) return;
  const ANSWER = ["outcome", "choice", "rating", "aspects", "edit", "order", "side"];
  const GIVEN = [...ANSWER, "shown", "ms", "via", "time"];
  const TEXT = {
    en: {
      lost: "This browser keeps nothing for this page: download your labels before you leave it.",
      full: (n) => `This browser's storage is full: ${n} of your labels are only in this tab. Download them before you leave.`,
    },
    zh: {
      lost: "此浏览器不为本页保存任何内容：离开前请下载您的标注。",
      full: (n) => `此浏览器的存储已满：有 ${n} 个标注只在此标签页中。离开前请下载。`,
    },
  };
  const models = (window.mmbookLabels = []);
  const token = () => Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const tab = token();

  let reader;
  function readerName() { // one name for each browser: no person's name leaves the page
    const name = `reader-${token()}`;
    try {
      const kept = localStorage.getItem("mmbook:reader");
      if (!kept) localStorage.setItem("mmbook:reader", name);
      return kept || name;
    } catch {
      return name;
    }
  }

  function parse(text) { // an entry of the storage; null for one that is damaged
    try {
      const entry = JSON.parse(text), { op, id, record } = entry.event;
      return Number.isFinite(entry.at) && (op === "label" ? record.responses.length : id) ? entry : null;
    } catch {
      return null;
    }
  }

  class PageModel {
    constructor(state, pictures) {
      const { records, header, ...traits } = state;
      this.records = records;
      this.header = header;
      this.text = TEXT[traits.lang] ?? TEXT.en;
      this.listeners = new Map();
      this.entries = new Map(); // the key of each event to the event
      this.unkept = 0; // events that the storage refused
      this.clicks = 0;
      const annotator = (reader ??= readerName());
      this.prefix = `mmbook:${header.hash}:${annotator}:`;
      this.traits = { ...traits, pictures, annotator, order: traits.items.map((item) => item.id), labels: [], acks: {}, outbox: {},
        saved: 0, trouble: "", review: [], opinion: {}, local: true };
      this.read();
      addEventListener("storage", (event) => {
        if (event.key === null || event.key.startsWith(this.prefix)) this.read();
      });
      addEventListener("beforeunload", (event) => this.unkept && event.preventDefault());
    }

    get(name) { return this.traits[name]; }
    set(name, value) {
      this.traits[name] = value;
      for (const listener of this.listeners.get(`change:${name}`) ?? []) listener();
    }
    on(name, listener) { this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]); }
    off(name, listener) { this.listeners.set(name, (this.listeners.get(name) ?? []).filter((other) => other !== listener)); }

    read() { // everything that this browser keeps of these items, and what only this tab has
      const kept = new Map();
      try {
        for (let i = 0; i < localStorage.length; i += 1) {
          const key = localStorage.key(i);
          const entry = key.startsWith(this.prefix) && parse(localStorage.getItem(key));
          if (entry) kept.set(key, entry);
        }
        for (const [key, entry] of this.entries) if (entry.unkept) kept.set(key, entry);
        this.entries = kept;
      } catch {
        this.traits.trouble = this.text.lost;
      }
      this.tell();
    }

    events() {
      const sorted = [...this.entries].sort(([a, x], [b, y]) => x.at - y.at || (a < b ? -1 : 1));
      return sorted.map(([, entry]) => entry.event);
    }

    tell() { // replay, as log.py does
      const live = [];
      for (const event of this.events()) {
        const id = event.op === "label" ? event.record.id : event.id, at = live.findLastIndex((label) => label.id === id);
        if (at >= 0 && event.op !== "keep") live.splice(at, 1);
        if (event.op === "label") live.push({ id, ...Object.fromEntries(ANSWER.filter((k) => k in event.record).map((k) => [k, event.record[k]])) });
      }
      this.traits.labels = live;
      this.set("saved", this.entries.size);
    }

    save_changes() { // the outbox has new clicks
      const acks = { ...this.traits.acks };
      for (const [page, clicks] of Object.entries(this.traits.outbox)) {
        for (const click of clicks.filter(({ n }) => n > (acks[page] ?? 0))) {
          acks[page] = click.n;
          this.take(click);
        }
      }
      this.traits.acks = acks;
      this.tell();
      for (const other of models) if (other !== this && other.prefix === this.prefix) other.read();
    }

    take(click) {
      const { id } = click, annotator = this.traits.annotator, again = this.traits.labels.some((label) => label.id === id);
      const mark = { id, annotator, time: click.time };
      if (click.op !== "label") {
        if (again) this.keep({ op: click.op, ...mark });
        return;
      }
      if (again) this.keep({ op: "undo", ...mark });
      const answer = Object.fromEntries(GIVEN.filter((name) => name in click).map((name) => [name, click[name]]));
      this.keep({ op: "label", record: { schema: 1, ...this.records[id], annotator, ...answer } });
    }

    keep(event) {
      const at = 1 + Math.max(0, ...Array.from(this.entries.values(), (entry) => entry.at));
      this.clicks += 1;
      const key = `${this.prefix}${tab}:${models.indexOf(this)}:${String(this.clicks).padStart(6, "0")}`, entry = { at, event };
      try {
        localStorage.setItem(key, JSON.stringify(entry));
      } catch {
        this.unkept += 1;
        entry.unkept = true;
        this.traits.trouble = this.entries.size > this.unkept ? this.text.full(this.unkept) : this.text.lost;
      }
      this.entries.set(key, entry);
    }

    forget() {
      try {
        for (const key of Object.keys(localStorage)) if (key.startsWith(this.prefix)) localStorage.removeItem(key);
      } catch { /* it kept nothing */ }
      this.entries.clear();
      Object.assign(this, { unkept: 0 });
      this.traits.trouble = "";
      this.tell();
      for (const other of models) if (other !== this && other.prefix === this.prefix) other.read();
    }

    download() { // the log, as the kernel would have written it
      const live = new Set(), events = [this.header];
      for (const event of this.events()) {
        const { id, annotator, time } = event.record ?? event;
        if (event.op === "label" && live.has(id)) events.push({ op: "undo", id, annotator, time }); // judged in two tabs at once
        if (event.op === "label") events.push({ ...event, record: this.inline(event.record) });
        else if (live.has(id)) events.push(event);
        if (event.op === "undo") live.delete(id);
        if (event.op === "label") live.add(id);
      }
      const lines = events.map((event) => `${JSON.stringify(event)}\n`);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
      link.download = `labels-${this.header.hash}.jsonl`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    }

    inline(record) { // pictures and sounds that belong to the record itself stand in the page once, under their key
      const full = (value) => (value?.key ? this.traits.pictures[value.key] : value);
      const responses = record.responses.map((response) => (typeof response === "string" ? response
        : Object.fromEntries(Object.entries(response).map(([form, value]) => [form, full(value)]))));
      return { ...record, responses, ...("image" in record ? { image: full(record.image) } : {}) };
    }
  }

  let labeller = null;
  async function load() { // as anywidget does: from the text, so that it works for files too
    const url = URL.createObjectURL(new Blob([window.mmbookLabeller], { type: "text/javascript" }));
    try {
      return (await import(url)).default;
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  async function mount(place) {
    const list = place.querySelector(".mmb-list"), state = JSON.parse(place.querySelector("script").textContent);
    const pictures = Object.fromEntries(Array.from(list.querySelectorAll("[data-key]"), (node) => [node.dataset.key, node.getAttribute("src")]));
    const model = new PageModel(state, pictures);
    models.push(model);
    try {
      const el = document.createElement("div");
      (await (labeller ??= load())).render({ model, el });
      place.append(el);
      list.hidden = true;
      place.dataset.ready = "";
    } catch (error) { // the list stays
      console.error(error);
    }
  }

  const all = () => document.querySelectorAll(".mmb-static:not([data-ready])").forEach(mount);
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", all);
  else all();
})();
