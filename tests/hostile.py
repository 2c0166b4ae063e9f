"""Texts that a label may hold and that break careless software: made by a small grammar, from a seed."""

import random

MARKUP = [
    "<script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror='window.hacked=1'>",
    '"><svg/onload=window.hacked=1>',
    "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
    "<a href='javascript:window.hacked=1'>click</a>",
    "<style>*{display:none}</style>",
    "<!--",
    "-->",
    "]]>",
    "<![CDATA[",
    "<plaintext>",
    "</textarea>",
    "</div></body></html>",
    "&lt;b&gt;&#60;&#x3c;&nbsp;&",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "${window.hacked=1}",
    "`+window.hacked+`",
    "javascript:window.hacked=1",
]
OTHER_TOOLS = [
    "=1+1",
    "@SUM(A1)",
    '=HYPERLINK("http://x.invalid","y")',
    "'; DROP TABLE labels; --",
    "../../etc/passwd",
    "C:\\con",
    "%s%n%x",
    "$(reboot)",
    "| {eq}`x` $\\frac{1}{0}$ **bold** [a](javascript:0) ![b](x)",
    "\x1b[31m\x1b]0;title\x07",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "NaN",
    "null",
    "true",
    "1e999",
    "-0",
    "# not a comment",
]
LOG = [
    '{"op": "undo", "id": "0"}',
    '\n{"op": "label", "record": {}}\n',
    "\r\n{}\r\n",
    '"}}',
    '\\"',
    "\\",
    "\\u0000",
    "\\ud83d",
    '"',
    "'",
    ",",
    ";",
    "\t",
]
CONTROLS = [chr(x) for x in (*range(32), *range(0x7F, 0xA0))]
LINES = ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029"]
BIDI = [*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
UNSEEN = [
    *"\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u180e\u3164\ufff9\ufffa\ufffb\ufffe\uffff\ufffd",
    "\U000e0041",
]
WORDS = [
    "a cat",
    "一只猫",
    "קטה",
    "قطة",
    "Ⅸ ﬃ İ ß ſ",
    "🐈\u200d⬛",
    "👨\u200d👩\u200d👧",
    "🇪🇺",
    "\U0010ffff",
    "\ue000",
    "a\u0301\u0327" * 20,
]
HALVES = ["\ud83d", "\udc08", "\udc08\ud83d", "a\ud800b"]


def hostile_texts(n: int = 1000, seed: int = 0, halves: bool = True, large: int = 3) -> list[str]:
    """`n` different texts that are not empty, `large` of them of a million characters.

    Some have half surrogate pairs, which UTF-8 does not have, unless `halves` is false.
    """
    rng = random.Random(seed)
    kinds = [MARKUP, OTHER_TOOLS, LOG, CONTROLS, LINES, BIDI, UNSEEN, WORDS] + [HALVES] * halves
    pieces = [piece for kind in kinds for piece in kind]
    found = dict.fromkeys(pieces[:n])
    while len(found) < n:
        some = [rng.choice(rng.choice(kinds)) for _ in range(rng.randint(2, 6))]
        text = rng.choice(["", " ", "\n"]).join(some)
        text = text * rng.choice([1, 1, 1, 1, 50])
        # two halves side by side are a pair, in JSON and in JavaScript
        found[text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")] = None
    texts = list(found)
    for i in range(min(large, n)):
        at = rng.randrange(n)
        texts[at] = (f"{i} {texts[at]} " * (10**6 // (len(texts[at]) + 3) + 1))[: 10**6]
    return texts
