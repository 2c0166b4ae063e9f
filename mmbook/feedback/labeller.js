// The labeller's front end, for every host: no imports, no network, user text only through textContent.
// All state lies in the model's synced traits; labeller.py says what each of them means. Without a kernel loader.js is the model.
const TEXT = {
  en: {
    label: "Labelling", progress: "Progress", which: "Which is better?", rate: "How good is it?", edit: "Make it right.",
    rank: "Pick the best, then the next best, as far as you like.", overall: "overall",
    beside: ["Left", "Right"], stacked: ["First", "Second"], tie: "Tie", both_bad: "Both bad", skip: "Skip", undo: "Undo",
    done: "Done", save: "Save", keep: "Keep", download: "Download labels", forget: "Forget my labels", text: "Text",
    diff: "Changes", before: "before", after: "after", brightness: "brightness", contrast: "contrast", saturation: "saturation",
    history: "History", takeBack: "Take back", none: "Nothing yet.", favour: "What your clicks favour",
    keys: {
      pair: "1 or 2 for the better one, 3 tie, 4 both bad, S skip, U undo.", rating: "1 (bad) to 5 (good), S skip, U undo.",
      edit: "Ctrl+Enter saves. Outside the text: S skip, U undo.", ranking: "a number picks the next best, D when done, S skip, U undo.",
    },
    focus: "Click here once, then use the keys:", play: "P plays the sounds.", again: "K keeps your label.",
    finished: "All items are judged. Thank you!", reviewed: "All of these are looked at again. Thank you!",
    judged: (n, m) => `${n} of ${m} judged`, saved: (n) => `${n} saved`, waiting: (n) => `${n} waiting to be saved`,
    pace: (s, left) => `about ${s} s each, ${left} min left`,
    stuck: (n) => `${n} of your clicks not saved yet. Is the kernel running? If it was restarted, run this cell again; ` +
      "if that does not help, reload the page.",
    undone: "Taken back.", kept: "Kept.", quick: "Too quick after the last one: not counted.", empty: "The text is empty: write one, or skip.",
    absent: "The picture is on its way.", pick: "Pick at least one first.",
    said: (what) => `You said: ${what}.`, opinion: (p) => `The reward model gives your choice ${p} %.`,
    asked: (prompt) => `Asked: “${prompt}”`, place: (n) => `place ${n}`, first: "first", second: "second",
    ofFive: (n) => `${n} of 5`, edited: "edited", ranked: "ranked",
    tells: (n) => `From ${n} judgements.`, length: "length", likes: "For:", dislikes: "Against:", won: (j, k) => `${j} of ${k}`,
    silent: "They do not tell yet: too few, or no word stands out.",
    side: (k, n, low, high) => `You chose what was shown first ${k} of ${n} times (95 % interval ${low} to ${high} %).`,
    sure: "Forget all labels that this browser keeps of these items?",
  },
  zh: {
    label: "标注", progress: "进度", which: "哪一个更好？", rate: "好到什么程度？", edit: "请改正。",
    rank: "先选最好的，再选次好的，选到您满意为止。", overall: "总体",
    beside: ["左", "右"], stacked: ["第一个", "第二个"], tie: "一样好", both_bad: "都不好", skip: "跳过", undo: "撤销",
    done: "完成", save: "保存", keep: "保留", download: "下载标注", forget: "清除我的标注", text: "文字",
    diff: "改动", before: "原图", after: "改后", brightness: "亮度", contrast: "对比度", saturation: "饱和度",
    history: "历史", takeBack: "收回", none: "还没有。", favour: "您的选择偏爱什么",
    keys: {
      pair: "1 或 2 选更好的，3 一样好，4 都不好，S 跳过，U 撤销。", rating: "1（差）到 5（好），S 跳过，U 撤销。",
      edit: "Ctrl+Enter 保存。在文本框外：S 跳过，U 撤销。", ranking: "数字选下一个最好的，D 完成，S 跳过，U 撤销。",
    },
    focus: "先点击这里，然后用按键：", play: "P 播放声音。", again: "K 保留原标注。",
    finished: "全部标完了，谢谢！", reviewed: "这些都重新看过了，谢谢！",
    judged: (n, m) => `已标 ${n} / ${m}`, saved: (n) => `已保存 ${n}`, waiting: (n) => `${n} 个等待保存`,
    pace: (s, left) => `每个约 ${s} 秒，还需 ${left} 分钟`,
    stuck: (n) => `有 ${n} 次点击尚未保存。内核在运行吗？若已重启，请重新运行本单元；若仍无效，请刷新页面。`,
    undone: "已撤销。", kept: "已保留。", quick: "离上一次太近，未计入。", empty: "文字为空：请填写，或跳过。",
    absent: "图片还在路上。", pick: "请至少选一个。",
    said: (what) => `您的标注：${what}。`, opinion: (p) => `奖励模型认为您的选择的概率为 ${p}%。`,
    asked: (prompt) => `要求：“${prompt}”`, place: (n) => `第 ${n} 名`, first: "第一个", second: "第二个", ofFive: (n) => `${n} / 5`, edited: "已改", ranked: "已排序",
    tells: (n) => `依据 ${n} 次判断。`, length: "长度", likes: "偏爱：", dislikes: "不喜欢：", won: (j, k) => `${k} 次中 ${j} 次`,
    silent: "还看不出来：次数太少，或没有突出的词。",
    side: (k, n, low, high) => `您选先显示的一个：${n} 次中 ${k} 次（95% 区间 ${low} 到 ${high}%）。`,
    sure: "清除此浏览器保存的这些标注吗？",
  },
};
const GUARD_MS = 250; // a click sooner than this after a new item is the second half of a double click
const STUCK_MS = 4000;
const FILTERS = { brightness: "brightness", contrast: "contrast", saturation: "saturate" }; // a control and its CSS filter
const LONGEST_DIFF = 4e6; // words before times words after, beyond which no diff is shown
const LISTED = 20; // judgements in the history

function mix(text) {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d) >>> 0;
  return (h ^ (h >>> 15)) >>> 0;
}

export function shownFirst(seed, annotator, id) { // the twin of shown_first in items.py
  return mix(`${seed}|${annotator}|${id}`) & 1;
}

export function shownOrder(seed, annotator, id, n) { // the twin of shown_order in items.py
  const at = Array.from({ length: n }, (_, i) => mix(`${seed}|${annotator}|${id}|${i}`));
  return at.map((_, i) => i).sort((a, b) => at[a] - at[b] || a - b);
}

export function wilson(k, n, z = 1.959963984540054) { // the twin of wilson in intervals.py
  const p = k / n, half = z * Math.sqrt((p * (1 - p) + z * z / (4 * n)) / n), middle = p + z * z / (2 * n), all = 1 + z * z / n;
  return [(middle - half) / all, (middle + half) / all];
}

// What the clicks favour: Bradley and Terry's model with a linear utility; the twin of favours in taste.py, which says more.
const WORD = /[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*/gu;
const MOST = 40, OFTEN = 3; // candidates at most, and in how many comparisons each must differ
const CLEAR = 2.4; // standard errors at which a candidate joins the model

function featuresOf(response, marks) {
  const found = new Map(marks.map((mark) => [`style: ${mark}`, 1]));
  if (typeof response === "string") {
    const words = response.toLowerCase().match(WORD) ?? [];
    for (const word of words) found.set(word, 1);
    found.set("(length)", words.length / 10);
  }
  return found;
}

function comparisonsOf(item, label) { // [better, worse, weight]; a ranking weighs as much as the choices that it took
  if (label.outcome !== "label") return [];
  const said = item.responses.map((response, i) => featuresOf(response, item.marks?.[i] ?? []));
  if (Number.isInteger(label.choice)) return [[said[label.choice], said[1 - label.choice], 1]];
  if (typeof label.edit === "string") return [[featuresOf(label.edit, []), featuresOf(item.responses[0], []), 1]];
  const rest = new Set(said.keys());
  return (label.order ?? []).flatMap((best) => {
    rest.delete(best);
    return [...rest].map((i) => [said[best], said[i], 1 / rest.size]);
  });
}

function byCodePoint(a, b) { // JavaScript's own order is that of UTF-16 units
  const [p, q] = [a, b].map((text) => Array.from(text, (c) => c.codePointAt(0)));
  const i = p.findIndex((point, k) => point !== q[k]);
  return i < 0 ? p.length - q.length : p[i] - (q[i] ?? -1);
}

function solve(A, B) { // X (n, m) of A X = B by Gaussian elimination, A (n, n) symmetric and positive definite
  const rows = A.map((row, i) => [...row, ...B[i]]);
  rows.forEach((pivot, i) => rows.forEach((row, k) => {
    const factor = k === i ? 0 : row[i] / pivot[i];
    for (let j = i; factor && j < row.length; j++) row[j] -= factor * pivot[j];
  }));
  return rows.map((row, i) => row.slice(A.length).map((value) => value / row[i]));
}

const weigh = (v, x, y) => { // sum v x y
  let sum = 0;
  for (let i = 0; i < v.length; i++) sum += v[i] * x[i] * y[i];
  return sum;
};

function wrong(X, w, n) { // the probability (n,) of what was not chosen, and the loss of each choice
  const margin = new Float64Array(n);
  X.forEach((x, k) => { for (let i = 0; i < n; i++) margin[i] += w[k] * x[i]; });
  return { p: margin.map((m) => 1 / (1 + Math.exp(m))), loss: margin.map((m) => Math.max(-m, 0) + Math.log1p(Math.exp(-Math.abs(m)))) };
}

function fit(X, a) { // X (K, n), a (n,): minimises sum a log(1 + exp(-w X)) + |w|^2 / 2 by Newton's method with step halving
  const one = a.map(() => 1), lossAt = (w) => weigh(a, wrong(X, w, a.length).loss, one) + w.reduce((sum, value) => sum + value * value / 2, 0);
  let w = X.map(() => 0), H;
  for (let step = 0; ; step++) {
    const { p } = wrong(X, w, a.length), v = p.map((q, i) => a[i] * q * (1 - q));
    const g = X.map((x, k) => [w[k] - weigh(a, p, x)]);
    H = X.map((x, j) => X.map((y, k) => weigh(v, x, y) + Number(j === k)));
    if (step === 50 || g.every(([value]) => Math.abs(value) < 1e-10)) break;
    const from = w, before = lossAt(w), direction = solve(H, g);
    for (let size = 1; size > 1e-9; size /= 2) {
      w = from.map((value, k) => value - size * direction[k][0]);
      if (lossAt(w) <= before * (1 + 1e-12)) break; // at the minimum both differ by rounding only
    }
  }
  const inverse = solve(H, H.map((row, j) => row.map((_, k) => Number(j === k))));
  return { w, error: inverse.map((row, k) => Math.sqrt(row[k])) };
}

function join(X, a) { // rows of X (K, n) that join the model one by one, as long as one clearly improves it
  const taken = [];
  for (;;) {
    const S = taken.map((k) => X[k]), { p } = wrong(S, fit(S, a).w, a.length), v = p.map((q, i) => a[i] * q * (1 - q));
    const I = S.map((x) => S.map((y) => weigh(v, x, y))), s = S.map((x) => weigh(a, p, x));
    let best = -1, most = rounded(CLEAR) - 1;
    X.forEach((x, k) => {
      if (taken.includes(k)) return;
      const cross = S.map((y) => weigh(v, x, y)), b = solve(I, cross.map((value) => [value]));
      const own = weigh(v, x, x), left = b.reduce((sum, [value], j) => sum - value * cross[j], own);
      const pull = b.reduce((sum, [value], j) => sum - value * s[j], weigh(a, p, x));
      const z = left > 1e-6 * own ? rounded(Math.abs(pull) / Math.sqrt(left)) : 0; // 0 for what is said by those taken already
      if (z > most) [best, most] = [k, z];
    });
    if (best < 0) return taken;
    taken.push(best);
  }
}

const rounded = (value) => Math.floor(1e6 * value + 0.5); // what is equal but for rounding keeps its order

export function favours(items, labels) {
  const byId = new Map(items.map((item) => [item.id, item]));
  const judged = labels.map((label) => (byId.has(label.id) ? comparisonsOf(byId.get(label.id), label) : [])).filter((found) => found.length);
  const often = new Map();
  const differs = judged.flat().map(([better, worse]) => {
    const by = new Map([...better.keys(), ...worse.keys()].map((name) => [name, (better.get(name) ?? 0) - (worse.get(name) ?? 0)]));
    for (const [name, value] of by) if (value) often.set(name, (often.get(name) ?? 0) + 1);
    return by;
  });
  const kind = (name) => (name.startsWith("style: ") ? 0 : name === "(length)" ? 1 : 2);
  const names = [...often.keys()].filter((name) => often.get(name) >= OFTEN)
    .sort((a, b) => kind(a) - kind(b) || often.get(b) - often.get(a) || byCodePoint(a, b)).slice(0, MOST);
  const X = names.map((name) => Float64Array.from(differs.map((by) => by.get(name) ?? 0)));
  const a = Float64Array.from(judged.flat(), ([, , weight]) => weight), taken = join(X, a);
  const { w, error } = fit(taken.map((k) => X[k]), a);
  const features = taken.map((k, i) => ({ name: names[k], weight: w[i], error: error[i], with: often.get(names[k]), won: X[k].filter((by) => by > 0).length }));
  const clear = (feature) => rounded(Math.abs(feature.weight) / feature.error);
  return { n: judged.length, features: features.sort((a, b) => clear(b) - clear(a)) };
}

export function diff(before, after) { // [sign, text] of words kept (0), taken out (-1) and put in (1); null where that would take long
  const [a, b] = [before, after].map((text) => text.match(/\s+|[^\s]+/gu) ?? []);
  let [from, end] = [0, 0];
  while (from < a.length && from < b.length && a[from] === b[from]) from += 1;
  while (end < Math.min(a.length, b.length) - from && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const [x, y] = [a.slice(from, a.length - end), b.slice(from, b.length - end)];
  if (x.length * y.length > LONGEST_DIFF) return null;
  const wide = y.length + 1, longest = new Uint32Array((x.length + 1) * wide); // longest common subsequence of what follows
  for (let i = x.length - 1; i >= 0; i -= 1)
    for (let j = y.length - 1; j >= 0; j -= 1)
      longest[i * wide + j] = x[i] === y[j] ? longest[(i + 1) * wide + j + 1] + 1
        : Math.max(longest[(i + 1) * wide + j], longest[i * wide + j + 1]);
  const parts = [];
  const put = (sign, text) => {
    if (parts.length && parts.at(-1)[0] === sign) parts.at(-1)[1] += text;
    else if (text) parts.push([sign, text]);
  };
  put(0, a.slice(0, from).join(""));
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) put(0, x[i++], j++);
    else if (j === y.length || (i < x.length && longest[(i + 1) * wide + j] >= longest[i * wide + j + 1])) put(-1, x[i++]);
    else put(1, y[j++]);
  }
  put(0, a.slice(a.length - end).join(""));
  return parts;
}

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function makeButton(act, key, ...children) {
  return make("button", { type: "button", "data-act": act, ...(key ? { "aria-keyshortcuts": key } : {}) }, ...children);
}

function makeCard(act, key, response, which) { // a response that is pressed to choose it; a sound, with buttons of its own, stands beside
  if (response.tagName !== "AUDIO") return makeButton(act, key, response, which);
  return make("div", { class: "mmb-card" }, response, makeButton(act, key, which));
}

const named = (key, text) => `${key} · ${text}`;

function makeParts(T) {
  const part = (tag, name, attributes = {}, ...children) => make(tag, { class: `mmb-${name}`, ...attributes }, ...children);
  const parts = {
    count: part("span", "count"), pace: part("span", "pace"), saved: part("span", "saved"),
    bar: make("progress", { "aria-label": T.progress }), prompt: part("p", "prompt", { dir: "auto" }),
    picture: part("img", "picture", { alt: "" }), opinion: part("p", "opinion"), body: part("div", "body"),
    tie: makeButton("tie", "3", named(3, T.tie)), bothBad: makeButton("both_bad", "4", named(4, T.both_bad)),
    done: makeButton("done", "D", named("D", T.done)), save: makeButton("save", "Control+Enter", T.save),
    keep: makeButton("keep", "K", named("K", T.keep)), skip: makeButton("skip", "S", named("S", T.skip)),
    undo: makeButton("undo", "U", named("U", T.undo)), download: makeButton("download", "", T.download), forget: makeButton("forget", "", T.forget),
    keys: part("p", "keys"), status: part("p", "status", { role: "status", "aria-live": "polite" }), trouble: part("p", "trouble", { role: "alert" }),
    past: make("ol"), history: part("details", "history", {}, make("summary", {}, T.history)),
    taste: part("details", "taste", {}, make("summary", {}, T.favour)), tells: make("div"),
  };
  parts.history.append(parts.past, parts.forget);
  parts.taste.append(parts.tells);
  const { tie, bothBad, done, save, keep, skip, undo, download } = parts;
  parts.foot = part("div", "foot", {}, tie, bothBad, done, save, keep, skip, undo, download);
  parts.root = make("div", { class: "mmb", tabindex: "0", role: "group", "aria-label": T.label },
    part("div", "head", {}, parts.count, parts.bar, parts.pace, parts.saved), parts.prompt, parts.opinion, parts.picture, parts.body,
    parts.foot, parts.keys, parts.status, parts.trouble, parts.history, parts.taste);
  return parts;
}

// What a kind of item shows and how its answer is given. `ui` has T, item, first, shown, response(i), act(name, answer) and say(text);
// each returns its nodes, the actions that it knows, which keys mean them, and `clear`, which drops what is only half answered.
const KINDS = {
  pair(ui) {
    const cards = ["first", "second"].map((act, i) => makeCard(act, String(i + 1), ui.response(i ^ ui.first), make("span", { class: "mmb-which" },
      `${i + 1} · `, make("span", { class: "mmb-beside" }, ui.T.beside[i]), make("span", { class: "mmb-stacked" }, ui.T.stacked[i]))));
    const choose = (place) => () => ui.answer({ outcome: "label", choice: place ^ ui.first });
    return {
      nodes: [make("div", { class: "mmb-pair" }, ...cards)],
      keys: { 1: "first", 2: "second", 3: "tie", 4: "both_bad" },
      acts: { first: choose(0), second: choose(1), tie: () => ui.answer({ outcome: "tie" }), both_bad: () => ui.answer({ outcome: "both_bad" }) },
    };
  },

  rating(ui) {
    const names = [...ui.aspects, ""], given = Object.create(null); // the last row, without a name, is the rating itself
    const rows = names.map((name) => make("div", { class: "mmb-stars", role: "group", "aria-label": name || ui.T.overall },
      ...(ui.aspects.length ? [make("span", { class: "mmb-aspect" }, name || ui.T.overall)] : []),
      ...[1, 2, 3, 4, 5].map((n) => {
        const button = makeButton("rate", String(n), String(n));
        Object.assign(button.dataset, { value: n, row: name });
        button.setAttribute("aria-label", `${name || ui.T.overall}: ${ui.T.ofFive(n)}`);
        button.setAttribute("aria-pressed", "false");
        return button;
      })));
    const next = () => names.findIndex((name) => !(name in given));
    const mark = () => rows.forEach((row, r) => {
      row.toggleAttribute("data-next", ui.aspects.length > 0 && r === next());
      for (const button of row.querySelectorAll("button"))
        button.setAttribute("aria-pressed", String(given[names[r]] === Number(button.dataset.value)));
    });
    mark();
    return {
      nodes: [make("div", { class: "mmb-single" }, ui.response(0)), ...rows],
      keys: { 1: "rate", 2: "rate", 3: "rate", 4: "rate", 5: "rate" },
      acts: {
        rate(value, button) {
          given[button ? button.dataset.row : names[next()]] = Number(value);
          mark();
          if (next() >= 0) return;
          const { "": rating, ...aspects } = given;
          ui.answer({ outcome: "label", rating, ...(ui.aspects.length ? { aspects } : {}) });
        },
      },
      clear() {
        const last = Object.keys(given).filter((name) => name !== "").at(-1) ?? ("" in given ? "" : undefined);
        if (last === undefined) return false;
        delete given[last];
        mark();
        return true;
      },
    };
  },

  edit(ui) {
    const response = ui.item.responses[0];
    if (typeof response !== "string") return restyling(ui);
    const area = make("textarea", { rows: "4", "aria-label": ui.T.text, dir: "auto", spellcheck: "false" });
    const changes = make("p", { class: "mmb-diff", "aria-label": ui.T.diff, role: "group", dir: "auto" });
    area.value = response;
    const untouched = area.value; // a text area has its own line ends
    area.addEventListener("input", () => changes.replaceChildren(...(diff(untouched, area.value) ?? []).map(([sign, text]) =>
      (sign ? make(sign > 0 ? "ins" : "del", {}, text) : document.createTextNode(text)))));
    return {
      nodes: [area, changes],
      keys: {},
      busy: () => area.value !== untouched,
      acts: {
        save() {
          if (area.value.trim()) ui.answer({ outcome: "label", edit: area.value === untouched ? response : area.value });
          else ui.say(ui.T.empty);
        },
      },
    };
  },

  ranking(ui) {
    const picked = [];
    const cards = ui.shown.map((i, place) => makeCard("rank", String(place + 1), ui.response(i), make("span", { class: "mmb-which" })));
    const buttons = cards.map((card) => (card.tagName === "BUTTON" ? card : card.lastChild));
    buttons.forEach((button, place) => { button.dataset.value = place + 1; });
    const mark = () => buttons.forEach((button, place) => {
      const rank = picked.indexOf(ui.shown[place]);
      button.lastChild.textContent = rank < 0 ? String(place + 1) : `${place + 1} · ${ui.T.place(rank + 1)}`;
      button.setAttribute("aria-pressed", String(rank >= 0));
    });
    mark();
    return {
      nodes: [make("div", { class: "mmb-pair mmb-rank" }, ...cards)],
      keys: { ...Object.fromEntries(cards.map((_, place) => [place + 1, "rank"])), d: "done", enter: "done" },
      acts: {
        rank(value) {
          const i = ui.shown[Number(value) - 1];
          if (picked.includes(i)) return;
          picked.push(i);
          if (picked.length === ui.shown.length - 1) picked.push(ui.shown.find((other) => !picked.includes(other)));
          mark();
          if (picked.length === ui.shown.length) ui.answer({ outcome: "label", order: [...picked] });
        },
        done: () => (picked.length ? ui.answer({ outcome: "label", order: [...picked] }) : ui.say(ui.T.pick)),
      },
      clear() {
        const undone = picked.pop() !== undefined;
        mark();
        return undone;
      },
    };
  },
};

function restyling(ui) { // the edit of a picture: controls of its style
  const [before, after] = [ui.response(0), ui.response(0)];
  const sliders = Object.keys(FILTERS).map((name) => {
    const slider = make("input", { type: "range", min: "0.5", max: "2", step: "0.05", value: "1", "data-style": name });
    return make("label", { class: "mmb-slider" }, make("span", {}, ui.T[name]), slider);
  });
  const chosen = () => Object.fromEntries(sliders.map((label) => [label.lastChild.dataset.style, Number(label.lastChild.value)]));
  const draw = () => { after.style.filter = Object.entries(chosen()).map(([name, value]) => `${FILTERS[name]}(${value})`).join(" "); };
  for (const label of sliders) label.addEventListener("input", draw);
  const figure = (picture, caption) => make("figure", {}, picture, make("figcaption", {}, caption));
  return {
    nodes: [make("div", { class: "mmb-pair" }, figure(before, ui.T.before), figure(after, ui.T.after)), ...sliders],
    keys: {},
    busy: () => Object.values(chosen()).some((value) => value !== 1),
    acts: { save: () => ui.answer({ outcome: "label", edit: chosen() }) },
  };
}

function render({ model, el }) {
  const T = TEXT[model.get("lang")] ?? TEXT.en;
  const page = Date.now().toString(36) + Math.random().toString(36).slice(2);
  const parts = makeParts(T);
  const { root } = parts;
  const media = new Map(); // key to data URI: what the kernel sent so far
  const paces = []; // milliseconds of this page's judgements
  let outbox = []; // this page's clicks that are not acknowledged yet
  let clicks = 0;
  let form = null, shown = null, pinned = null; // the form of the item on the screen, its id, and an id to show next
  let again = []; // ids that were looked at again, of those in `review`
  let spent = 0, since = null, stuckTimer = 0, tasteTimer = 0;
  root.lang = model.get("lang") === "zh" ? "zh-Hans" : "en";

  function judged() { // the labels in the order of judging: what is on the disk, then what is on its way there
    const labels = [...model.get("labels")];
    for (const event of outbox) {
      const at = labels.findLastIndex((label) => label.id === event.id);
      if (at >= 0 && event.op !== "keep") labels.splice(at, 1);
      if (event.op === "label") labels.push(event);
    }
    return labels;
  }

  function anew() { // another list to look at again
    again = [];
    shown = null;
    draw();
  }

  const byId = () => new Map(model.get("items").map((item) => [item.id, item]));
  const reviewing = () => model.get("review").filter((id) => !again.includes(id));

  function next(items, done) { // the item to show: what is on the screen stays there until it is judged
    const todo = reviewing();
    if (model.get("review").length) return items.get(todo[0]);
    const open = (id) => id !== null && items.has(id) && !done.has(id);
    if (items.has(shown) && form?.busy?.()) return items.get(shown); // what is typed is not lost to another tab's judgement
    if (open(pinned)) return items.get(pinned);
    if (open(shown)) return items.get(shown);
    return items.get(model.get("order").find(open));
  }

  // What changes may take away what has the focus: its twin has it then, or else the labeller, never the notebook around it.
  function draw() {
    const held = root.contains(document.activeElement) ? { ...document.activeElement.dataset } : null;
    change();
    const focused = document.activeElement;
    if (!held || (root.contains(focused) && !focused.disabled && !focused.closest("[hidden]"))) return;
    const twin = [...root.querySelectorAll("button[data-act]:not(:disabled)")].find((button) =>
      ["act", "value", "row", "id"].every((name) => button.dataset[name] === held[name]) && !button.closest("[hidden]"));
    (twin ?? root).focus({ preventScroll: true });
  }

  function change() {
    const acked = model.get("acks")[page] ?? 0;
    outbox = outbox.filter((event) => event.n > acked);
    for (const [key, uri] of Object.entries(model.get("pictures"))) media.set(key, uri);
    const items = byId(), labels = judged(), done = new Set(labels.map((label) => label.id));
    const item = next(items, done), review = model.get("review").length > 0;
    const [n, m] = review ? [again.length, model.get("review").length] : [[...done].filter((id) => items.has(id)).length, items.size];
    Object.assign(parts.bar, { max: m || 1, value: n });
    parts.count.textContent = T.judged(n, m);
    parts.pace.textContent = item && paces.length >= 5 ? pace(m - n) : "";
    parts.saved.textContent = outbox.length ? T.waiting(outbox.length) : T.saved(labels.length);
    root.dataset.saved = model.get("saved");
    if (!item) finish(review);
    else if (item.id !== shown || (form === null && !missing(item).length)) show(item, labels);
    parts.download.disabled = parts.forget.disabled = !labels.length;
    parts.undo.disabled = !labels.length && !form?.clear;
    parts.download.hidden = parts.forget.hidden = !model.get("local");
    if (!outbox.length) clearTimeout(stuckTimer);
    warn(model.get("trouble"));
    if (parts.history.open) recall(labels, items);
    if (parts.taste.open) {
      clearTimeout(tasteTimer);
      tasteTimer = setTimeout(tell, 50);
    }
  }

  function pace(left) {
    const middle = [...paces].sort((a, b) => a - b)[paces.length >> 1];
    return T.pace(Math.max(1, Math.round(middle / 1000)), Math.max(1, Math.round(left * middle / 60000)));
  }

  const missing = (item) => [item.image, ...item.responses.map((r) => r.picture ?? r.sound ?? "")].filter((key) => key && !media.has(key));

  function finish(review) {
    [shown, form, pinned] = [null, null, null];
    Object.assign(root.dataset, { item: "", kind: "done", first: "" });
    parts.prompt.textContent = review ? T.reviewed : T.finished;
    parts.body.replaceChildren();
    for (const part of [parts.picture, parts.opinion, parts.keys, parts.tie, parts.bothBad, parts.done, parts.save, parts.keep, parts.skip])
      part.hidden = true;
    parts.undo.hidden = review;
  }

  function show(item, labels) {
    const { id, kind } = item, review = model.get("review").length > 0, absent = missing(item).length > 0;
    const first = kind === "pair" ? shownFirst(model.get("seed"), model.get("annotator"), id) : 0;
    [shown, pinned] = [id, null];
    Object.assign(root.dataset, { item: id, kind, first });
    const question = { pair: T.which, rating: T.rate, edit: T.edit, ranking: T.rank }[kind];
    parts.prompt.textContent = item.prompt ? `${T.asked(item.prompt.replace(/:\s*$/, ""))} ${question}` : question;
    parts.picture.hidden = !item.image || absent;
    if (item.image && !absent) Object.assign(parts.picture, { src: media.get(item.image), alt: item.alt });
    const said = labels.findLast((label) => label.id === id), p = model.get("opinion")[id];
    parts.opinion.hidden = !review;
    parts.opinion.textContent = review ? [said && T.said(word(said, first)), p !== undefined && T.opinion(Math.round(100 * p))].filter(Boolean).join(" ") : "";
    form = absent ? null : KINDS[kind]({
      T, item, first, shown: kind === "ranking" ? shownOrder(model.get("seed"), model.get("annotator"), id, item.responses.length) : null,
      aspects: model.get("aspects"), response: (i) => respond(item.responses[i]), answer, say,
    });
    parts.body.replaceChildren(...(form ? form.nodes : [T.absent]));
    for (const [name, part] of [["tie", parts.tie], ["both_bad", parts.bothBad], ["done", parts.done], ["save", parts.save]])
      part.hidden = !form?.acts[name];
    [parts.keep.hidden, parts.skip.hidden, parts.undo.hidden, parts.keys.hidden] = [!review || !said, review, review, false];
    parts.keys.textContent = [T.focus, T.keys[kind], item.responses[0]?.sound && T.play, review && T.again].filter(Boolean).join(" ");
    spent = 0;
    since = document.hidden ? null : performance.now();
  }

  function respond(response) {
    if (typeof response === "string") return make("span", { class: "mmb-caption", dir: "auto" }, response);
    if (response.sound) return make("audio", { class: "mmb-caption", controls: "", src: media.get(response.sound) });
    return make("img", { class: "mmb-caption mmb-response", src: media.get(response.picture), alt: response.alt ?? "" });
  }

  function word(label, first) { // a label in a word or two
    if (label.choice !== undefined) return label.choice === first ? T.first : T.second;
    if (label.rating !== undefined) return T.ofFive(label.rating);
    return label.edit !== undefined ? T.edited : label.order !== undefined ? T.ranked : T[label.outcome];
  }

  const elapsed = () => spent + (since === null ? 0 : performance.now() - since);

  function onVisibility() { // the clock stands still while nobody can look
    [spent, since] = document.hidden ? [elapsed(), null] : [spent, performance.now()];
  }

  function warn(text) {
    if (parts.trouble.textContent !== text) parts.trouble.textContent = text;
  }

  function say(text) {
    parts.status.textContent = text;
  }

  function send(event) {
    clicks += 1;
    outbox.push({ n: clicks, time: new Date().toISOString(), ...event });
    const acks = model.get("acks"), all = { ...model.get("outbox"), [page]: [...outbox] };
    for (const other of Object.keys(all)) all[other] = all[other].filter((e) => e.n > (acks[other] ?? 0));
    model.set("outbox", Object.fromEntries(Object.entries(all).filter(([, events]) => events.length)));
    clearTimeout(stuckTimer);
    stuckTimer = setTimeout(() => warn(T.stuck(outbox.length)), STUCK_MS);
    draw();
    model.save_changes();
  }

  let via = "click"; // how the action under way was given

  function answer(given) {
    const item = byId().get(shown), ms = Math.round(elapsed()), side = Number(root.dataset.first);
    const order = item.kind === "ranking" ? { shown: shownOrder(model.get("seed"), model.get("annotator"), shown, item.responses.length) } : {};
    form = null;
    paces.push(ms);
    again.push(shown);
    send({ op: "label", id: shown, ...given, side, ...order, ms, via });
    say(parts.count.textContent);
  }

  function takeBack(id) {
    again = again.filter((other) => other !== id);
    pinned = id;
    shown = null;
    send({ op: "undo", id });
    say(T.undone);
  }

  function act(name, how, value, button) {
    via = how;
    say("");
    if (name === "undo") {
      const id = button?.dataset.id ?? (form?.clear?.() ? undefined : judged().at(-1)?.id);
      if (id !== undefined) takeBack(id);
    } else if (name === "download") model.download();
    else if (name === "forget") {
      if (window.confirm(T.sure)) model.forget();
    } else if (shown !== null && form === null) say(T.absent);
    else if (shown !== null && elapsed() < GUARD_MS) say(T.quick);
    else if (shown !== null && name === "keep" && !parts.keep.hidden) {
      again.push(shown);
      send({ op: "keep", id: shown });
      say(T.kept);
    } else if (shown !== null && name === "skip") answer({ outcome: "skip" });
    else if (shown !== null) form.acts[name]?.(value, button);
  }

  function recall(labels, items) {
    parts.past.replaceChildren(...labels.slice(-LISTED).reverse().filter((label) => items.has(label.id)).map((label) => {
      const item = items.get(label.id), first = item.kind === "pair" ? shownFirst(model.get("seed"), model.get("annotator"), item.id) : 0;
      const chosen = item.responses[label.choice ?? label.order?.[0] ?? 0], text = label.edit ?? chosen;
      const button = makeButton("undo", "", T.takeBack);
      button.dataset.id = label.id;
      return make("li", {}, `${word(label, first)}: `, make("span", { dir: "auto" }, typeof text === "string" ? text.slice(0, 200) : ""), " ", button);
    }));
    if (!parts.past.children.length) parts.past.replaceChildren(make("li", {}, T.none));
  }

  function tell() { // what the labels say about the reader, and whether the side did
    const items = byId(), labels = judged().filter((label) => items.has(label.id));
    const { n, features } = favours([...items.values()], labels);
    const clear = features.filter(({ weight, error, won, with: k }) => Math.abs(weight) > 1.64 * error && 2 * won > k === weight > 0);
    const plain = (name) => (name === "(length)" ? T.length : name.replace(/^style: /, ""));
    const list = (title, some) => (some.length ? [make("p", {}, `${title} `, some.slice(0, 6)
      .map(({ name, won, with: k, weight }) => `${plain(name)} (${T.won(weight > 0 ? won : k - won, k)})`).join(", "))] : []);
    const chosen = labels.filter((label) => label.choice !== undefined && label.side !== undefined);
    const k = chosen.filter((label) => label.choice === label.side).length;
    const interval = chosen.length ? wilson(k, chosen.length).map((x) => Math.round(100 * x)) : [];
    parts.tells.replaceChildren(make("p", {}, T.tells(n)), ...(clear.length ? [] : [make("p", {}, T.silent)]),
      ...list(T.likes, clear.filter(({ weight }) => weight > 0)), ...list(T.dislikes, clear.filter(({ weight }) => weight < 0)),
      ...(chosen.length ? [make("p", {}, T.side(k, chosen.length, ...interval))] : []));
  }

  function onClick(event) {
    const button = event.target.closest("button[data-act]"); // Enter on a button is a click without detail
    if (!button) return;
    act(button.dataset.act, event.detail ? "click" : "key", button.dataset.value, button);
    if (!root.contains(document.activeElement)) root.focus({ preventScroll: true }); // some browsers give a clicked button no focus
  }

  // Plain keys are ours: in the notebook "x" would cut this cell. Chords, Escape and Tab are the host's, so that Ctrl+S saves;
  // but Ctrl+Enter would run the cell again, so every Enter is ours.
  const isOurs = (event) => event.key === "Enter" || !(event.ctrlKey || event.metaKey || event.altKey || ["Escape", "Tab"].includes(event.key));

  // Notebook 7 listens on document in the capture phase, before any listener of ours, but spares what carries this attribute.
  // Set for good it would swallow Ctrl+S too, so it is set for each key, from window, which comes before document.
  const gate = (event) => {
    if (root.contains(event.target)) root.toggleAttribute("data-lm-suppress-shortcuts", isOurs(event));
  };

  function play() { // the first sound, or the one after the last that was played
    const sounds = [...parts.body.querySelectorAll("audio")];
    const at = (sounds.findIndex((sound) => sound.hasAttribute("data-last")) + 1) % sounds.length;
    sounds.forEach((sound, i) => {
      sound.pause();
      sound.toggleAttribute("data-last", i === at);
    });
    if (sounds.length) {
      sounds[at].currentTime = 0;
      sounds[at].play();
    }
  }

  function onKey(event) {
    if (!isOurs(event)) return;
    event.stopPropagation(); // JupyterLab listens while the event bubbles
    const { target } = event, typing = target.tagName === "TEXTAREA", chord = event.ctrlKey || event.metaKey || event.altKey;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!event.repeat && form?.acts.save) act("save", "key");
      return;
    }
    if (typing) return;
    if (event.repeat && [" ", "Enter"].includes(event.key)) event.preventDefault(); // a held key is one judgement
    if (event.repeat || chord) return;
    const key = /^Digit(\d)$/.exec(event.code)?.[1] ?? event.key.toLowerCase(); // some keyboards have the digits on shift
    if (key === "enter" && target !== root) return; // it presses the button in focus
    if (key === "p") return play();
    const name = { s: "skip", u: "undo", k: "keep" }[key] ?? form?.keys[key];
    if (name && !(name === "skip" && parts.skip.hidden) && !(name === "undo" && parts.undo.hidden)) {
      event.preventDefault();
      act(name, "key", key);
    }
  }

  const opened = (details, then) => details.addEventListener("toggle", () => details.open && then());
  opened(parts.history, () => recall(judged(), byId()));
  opened(parts.taste, tell);
  const traits = ["items", "pictures", "order", "labels", "acks", "saved", "trouble", "annotator", "seed", "opinion"].map((name) => `change:${name}`);
  for (const name of traits) model.on(name, draw);
  model.on("change:review", anew);
  root.addEventListener("click", onClick);
  root.addEventListener("keydown", onKey);
  window.addEventListener("keydown", gate, true);
  document.addEventListener("visibilitychange", onVisibility);
  el.append(root);
  draw();
  return () => {
    clearTimeout(stuckTimer);
    clearTimeout(tasteTimer);
    window.removeEventListener("keydown", gate, true);
    document.removeEventListener("visibilitychange", onVisibility);
    for (const name of traits) model.off(name, draw);
    model.off("change:review", anew);
    root.remove();
  };
}

export default { render };
