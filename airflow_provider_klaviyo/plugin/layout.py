"""What all pages share: the frame, the colours, and the few lines of script that keep a page fresh.

Nothing is loaded from outside. Without script a page shows the same, and is loaded anew as a whole while it is live.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_provider_klaviyo.plugin.markup import Markup, empty, tag, together

REFRESH_SECONDS = 5

STYLE = """
:root{color-scheme:light;--paper:#fff;--ink:#1a202c;--soft:#4a5568;--line:#cbd5e0;--box:#f3f5f8;--link:#0b5cad;
--accepted:#2f855a;--unchanged:#718096;--skipped:#b7791f;--rejected:#c53030;--pending:#6b46c1;--time:#2b6cb0;
--good:#22643f;--bad:#a31d1d;--wait:#6b3fa0;--doubt:#7b4f00}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;--paper:#111318;--ink:#edf2f7;
--soft:#b6c0ce;--line:#3d4654;--box:#1c2028;--link:#8ec5ff;--accepted:#48bb78;--unchanged:#a0aec0;--skipped:#ecc94b;
--rejected:#fc8181;--pending:#b794f4;--time:#63b3ed;--good:#9ae6b4;--bad:#feb2b2;--wait:#d6bcfa;--doubt:#faf089}}
:root[data-theme=dark]{color-scheme:dark;--paper:#111318;--ink:#edf2f7;--soft:#b6c0ce;--line:#3d4654;--box:#1c2028;
--link:#8ec5ff;--accepted:#48bb78;--unchanged:#a0aec0;--skipped:#ecc94b;--rejected:#fc8181;--pending:#b794f4;
--time:#63b3ed;--good:#9ae6b4;--bad:#feb2b2;--wait:#d6bcfa;--doubt:#faf089}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.45 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1100px;margin:0 auto;padding:16px}
h1{font-size:1.35rem;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:1.08rem;margin:28px 0 8px}
p{margin:6px 0;overflow-wrap:anywhere}a{color:var(--link)}
a:focus-visible,summary:focus-visible,.wide:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.soft{color:var(--soft)}.wide{overflow-x:auto;position:relative}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:5px 10px 5px 0;vertical-align:top;
border-bottom:1px solid var(--line)}td{overflow-wrap:anywhere}.name{min-width:11em}.outcome{white-space:nowrap}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}th{font-weight:600;white-space:nowrap}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{display:block;width:100%;height:28px;border-radius:4px}.chart{display:block;width:100%;min-width:560px;height:auto}
.mini .bar{height:12px;min-width:90px}
svg text{fill:var(--soft);font-size:15px}.grid{stroke:var(--line)}.limit{stroke:var(--bad);stroke-dasharray:8 5;
stroke-width:2}.line-read,.line-settled{fill:none;stroke-width:3}.line-read{stroke:var(--time);stroke-dasharray:7 4}
.line-settled{stroke:var(--accepted)}.fill-none{fill:var(--box)}.fill-time{fill:var(--time)}
.fill-accepted{fill:var(--accepted)}.fill-unchanged{fill:var(--unchanged)}.fill-skipped{fill:var(--skipped)}
.fill-rejected{fill:var(--rejected)}.fill-pending{fill:var(--pending)}
.key{display:inline-block;width:12px;height:12px;margin-right:6px;border-radius:2px}
.badge{display:inline-block;padding:1px 9px;border:1px solid currentColor;border-radius:10px;font-weight:600;
font-size:.85rem;white-space:nowrap}
.succeeded{color:var(--good)}.failed{color:var(--bad)}.running,.waiting{color:var(--wait)}.lost{color:var(--doubt)}
.advice{background:var(--box);border-left:4px solid var(--line);padding:8px 12px;margin:10px 0}
.advice.bad{border-color:var(--bad)}.advice.doubt{border-color:var(--doubt)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;margin:0}dd{margin:0;overflow-wrap:anywhere}
dt{color:var(--soft)}summary{cursor:pointer;padding:4px 0}code{font-family:ui-monospace,monospace;font-size:.92em}
@media (max-width:640px){main{padding:12px}dl{grid-template-columns:1fr;gap:0 0}dd{margin-bottom:8px}}
"""

SCRIPT = """
(function () {
  var root = document.documentElement;
  function theme() {
    try {
      var chosen = localStorage.getItem("theme");
      if (chosen === "dark" || chosen === "light") { root.dataset.theme = chosen; } else { delete root.dataset.theme; }
    } catch (error) { /* the browser keeps nothing: as the system has it */ }
  }
  function hints() {
    try {
      var frame = window.frameElement;
      if (!frame || !frame.sandbox || !frame.sandbox.length) { return; }
      document.querySelectorAll("[data-needs]").forEach(function (hint) {
        if (!frame.sandbox.contains(hint.dataset.needs)) { hint.hidden = false; }
      });
    } catch (error) { /* in a frame of another site */ }
  }
  function renew(text) {
    var fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    var old = document.querySelector("main");
    if (!fresh) { return; }
    var focused = document.activeElement && document.activeElement.id;
    old.querySelectorAll("details[id]").forEach(function (each) {
      var same = fresh.querySelector("#" + each.id);
      if (same) { same.open = each.open; }
    });
    old.replaceWith(document.importNode(fresh, true));
    hints();
    var again = focused && document.getElementById(focused);
    if (again) { again.focus({ preventScroll: true }); }
    var said = document.querySelector("main").dataset.said || "";
    var live = document.getElementById("said");
    if (live.textContent !== said) { live.textContent = said; }
  }
  function refresh() {
    var seconds = Number(document.querySelector("main").dataset.refresh);
    if (!seconds) { return; }
    setTimeout(function () {
      if (document.hidden) { refresh(); return; }
      fetch(location.href, { credentials: "same-origin" })
        .then(function (answer) { return answer.ok ? answer.text() : ""; })
        .then(function (text) { if (text) { renew(text); } }, function () {})
        .then(refresh);
    }, 1000 * seconds);
  }
  theme();
  addEventListener("storage", theme);
  addEventListener("DOMContentLoaded", function () { hints(); refresh(); });
})();
"""


def page(title: str, nonce: str, *content: Markup | None, live: bool = False, said: str = "") -> str:
    """A whole page.

    :param nonce: what the policy lets its style and script run by.
    :param live: whether it is to be kept fresh.
    :param said: what a screen reader is told when it has changed.
    """
    again = (
        tag("noscript", empty("meta", http_equiv="refresh", content=2 * REFRESH_SECONDS)) if live else None
    )
    head = tag(
        "head",
        empty("meta", charset="utf-8"),
        empty("meta", name="viewport", content="width=device-width, initial-scale=1"),
        empty("meta", name="color-scheme", content="light dark"),
        again,
        tag("title", title),
        tag("style", Markup(STYLE), nonce=nonce),
        tag("script", Markup(SCRIPT), nonce=nonce),
    )
    body = tag(
        "body",
        tag("main", *content, data_refresh=REFRESH_SECONDS if live else None, data_said=said or None),
        tag("p", id="said", role="status", aria_live="polite", class_="soft"),
    )
    return f"<!doctype html>{tag('html', head, body, lang='en')}"


def policy(nonce: str) -> str:
    """The page's Content-Security-Policy: nothing but its own style and script, shown in Airflow's own frames only."""
    return (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


def section(title: str, *content: Markup | None) -> Markup:
    """A part of a page with a heading that is found by keyboard and screen reader."""
    return tag("section", tag("h2", title), *content)


def advice(*content: str | None, kind: str = "") -> Markup:
    """What is to be known or done first."""
    return tag("div", tag("p", *content), class_=f"advice {kind}".strip())


def wide(label: str, content: Markup) -> Markup:
    """What may be wider than a phone, and is moved within itself, by keyboard too."""
    return tag("div", content, class_="wide", tabindex=0, role="region", aria_label=label)


def table(caption: str, heads: list[tuple[str, str]], rows: list[list[Markup | str]]) -> Markup:
    """A table that can be wider than the page; ``heads`` are labels with the class of their column."""
    head = tag("tr", *(tag("th", label, scope="col", class_=kind or None) for label, kind in heads))
    body = [
        tag(
            "tr",
            *(tag("td", cell, class_=kind or None) for cell, (_, kind) in zip(cells, heads, strict=True)),
        )
        for cells in rows
    ]
    return wide(
        caption,
        tag(
            "table",
            tag("caption", tag("span", caption, class_="unseen")),
            tag("thead", head),
            tag("tbody", *body),
        ),
    )


def facts(*pairs: tuple[str, str] | None) -> Markup:
    """Names and what they are."""
    return tag("dl", *(together(tag("dt", name), tag("dd", value)) for name, value in filter(None, pairs)))


def moment(seconds: float | None) -> Markup:
    """A time, in UTC."""
    if seconds is None:
        return tag("span", "unknown")
    when = datetime.fromtimestamp(seconds, UTC)
    return tag("time", f"{when:%Y-%m-%d %H:%M:%S} UTC", datetime=when.isoformat(timespec="seconds"))


def badge(status: str) -> Markup:
    """How a run stands, as a word and a colour."""
    return tag("span", status, class_=f"badge {status if status.isalpha() else ''}".strip())
