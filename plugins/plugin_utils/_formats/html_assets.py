# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Template, style and script of the HTML page. Every value of the template is escaped; nothing is marked as safe there.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--quiet:#57606a;--line:#d0d7de;--soft:#f6f8fa;--link:#0a56b0;
--bad:#a40e26;--badback:#ffebe9;--warn:#7a4b00;--warnback:#fff4d6;--good:#14642f;--goodback:#dff6e4}
@media (prefers-color-scheme:dark){:root{--back:#0d1117;--text:#e6edf3;--quiet:#9aa4af;--line:#3a424c;--soft:#161b22;
--link:#7ab7ff;--bad:#ff9d96;--badback:#3d1418;--warn:#f2cc60;--warnback:#332700;--good:#7ee29a;--goodback:#0f2f1a}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:78rem;padding:1rem 1.25rem 4rem;background:var(--back);color:var(--text);
font:1rem/1.45 system-ui,sans-serif}
h1{font-size:1.1rem;font-weight:600;margin:.5rem 0}
h2{font-size:1.25rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}
a{color:var(--link)}
code,.raw{font-family:ui-monospace,monospace;font-size:.86rem;overflow-wrap:anywhere;white-space:pre-wrap}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:1rem;background:var(--back);padding:.5rem}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.answer{padding:1rem 1.2rem;border-radius:.5rem;border:2px solid;margin:0 0 1rem}
.answer strong{display:block;font-size:2rem;line-height:1.2}
.answer.yes{background:var(--goodback);color:var(--good)}
.answer.no{background:var(--badback);color:var(--bad)}
.answer.unknown{background:var(--warnback);color:var(--warn)}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:.5rem 1rem;margin:0}
dl.facts div{background:var(--soft);border:1px solid var(--line);border-radius:.4rem;padding:.45rem .7rem}
dt{color:var(--quiet);font-size:.85rem}
dd{margin:0;font-weight:600}
details{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;padding:0 .8rem}
summary{cursor:pointer;padding:.5rem 0;font-weight:600}
.tag{display:inline-block;min-width:4.6rem;text-align:center;border:1px solid;border-radius:.3rem;font-size:.8rem;
padding:0 .4rem;margin-right:.4rem}
.critical,.high,.fail{color:var(--bad);font-weight:600}
.medium,.unknown{color:var(--warn);font-weight:600}
.low,.info,.not_applicable{color:var(--quiet)}
.pass{color:var(--good)}
.quiet{color:var(--quiet)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;margin:.4rem 0 .8rem;font-size:.92rem}
th,td{text-align:left;vertical-align:top;border-top:1px solid var(--line);padding:.3rem .5rem;overflow-wrap:anywhere;
min-width:4.5rem}
th{background:var(--soft);white-space:nowrap}
td.n,th.n{text-align:right;overflow-wrap:normal;min-width:0}
th button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer;text-decoration:underline dotted}
.tools{display:flex;flex-wrap:wrap;gap:.6rem;align-items:center;position:sticky;top:0;background:var(--back);
padding:.5rem 0;border-bottom:1px solid var(--line);z-index:1}
.tools input,.tools button{font:inherit;color:inherit;background:var(--soft);border:1px solid var(--line);
border-radius:.3rem;padding:.3rem .6rem}
.tools input{flex:1 1 14rem;max-width:26rem}
[hidden]{display:none!important}
svg{max-width:100%;height:auto;font-family:ui-monospace,monospace;font-size:12px}
svg text{fill:var(--text)}
svg .head{font-weight:700}
svg .box{fill:var(--soft);stroke:var(--line)}
svg .edge{stroke:var(--bad);fill:none;stroke-width:2}
svg .tip{fill:var(--bad)}
svg .E3{stroke-dasharray:5 4}
svg .range{fill:none;stroke:var(--quiet);stroke-dasharray:3 3}
svg .half{fill:var(--soft);stroke:var(--line)}
svg .clash{stroke:var(--bad);stroke-width:2.5;fill:none}
svg [class^=pair]{fill:var(--link)}
svg [class^=tenant]{fill:var(--good)}
svg .pair1,svg .tenant1{opacity:.25}svg .pair2,svg .tenant2{opacity:.4}svg .pair3,svg .tenant3{opacity:.6}
svg .pair4,svg .tenant4{opacity:.8}
@media print{body{max-width:none;font-size:9pt;padding:0}.tools,.skip{display:none}details{break-inside:auto}
tr{break-inside:avoid}details:not([open])::details-content{content-visibility:visible;display:block}
.answer{print-color-adjust:exact}}
"""

SCRIPT = """
"use strict";
(function () {
  var rows = Array.prototype.slice.call(document.querySelectorAll("tbody.rows > tr"));
  var folds = Array.prototype.slice.call(document.querySelectorAll("details"));
  var texts = rows.map(function (row) {
    var group = row.closest("details");
    return ((group ? group.querySelector("summary").textContent + " " : "") + row.textContent).toLowerCase();
  });
  var bar = document.createElement("div");
  bar.className = "tools";
  function add(name, text) {
    var made = document.createElement(name);
    if (text) { made.textContent = text; }
    bar.appendChild(made);
    return made;
  }
  var label = add("label", "Filter");
  label.htmlFor = "filter";
  var input = add("input");
  input.id = "filter";
  input.type = "search";
  input.placeholder = "host, guest, rule, verdict, fingerprint";
  var shown = add("span");
  shown.setAttribute("role", "status");
  shown.className = "quiet";
  function fold(open) { folds.forEach(function (item) { item.open = open; }); }
  add("button", "Unfold all").addEventListener("click", function () { fold(true); });
  add("button", "Fold all").addEventListener("click", function () { fold(false); });
  var main = document.querySelector("main");
  main.insertBefore(bar, main.firstElementChild);
  function filter() {
    var words = input.value.toLowerCase().split(/\\s+/).filter(Boolean);
    var count = 0;
    rows.forEach(function (row, place) {
      var match = words.every(function (word) { return texts[place].indexOf(word) >= 0; });
      row.hidden = !match;
      count += match ? 1 : 0;
    });
    folds.forEach(function (item) {
      var any = !words.length || item.querySelector("tbody.rows > tr:not([hidden])");
      item.hidden = !any;
      if (words.length && any && count < 200) { item.open = true; }
    });
    shown.textContent = words.length ? count + " of " + rows.length + " rows" : "";
  }
  var waiting = 0;
  input.addEventListener("input", function () { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  function value(row, column) { return row.cells[column] ? row.cells[column].textContent.trim() : ""; }
  function sort(head, column) {
    var table = head.closest("table");
    var body = table.tBodies[0];
    var down = head.getAttribute("aria-sort") === "ascending";
    var numbers = head.classList.contains("n");
    var made = Array.prototype.map.call(body.rows, function (row) { return { row: row, key: value(row, column) }; });
    made.sort(function (item, other) {
      var order = numbers ? Number(item.key) - Number(other.key) : item.key < other.key ? -1 : 1;
      return down ? -order : order;
    });
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (cell) { cell.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    var all = document.createDocumentFragment();
    made.forEach(function (item) { all.appendChild(item.row); });
    body.appendChild(all);
  }
  Array.prototype.forEach.call(document.querySelectorAll("table.sorts thead th"), function (head) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", function () { sort(head, head.cellIndex); });
  });
  var before = [];
  window.addEventListener("beforeprint", function () {
    before = folds.filter(function (item) { return !item.open; });
    fold(true);
  });
  window.addEventListener("afterprint", function () { before.forEach(function (item) { item.open = false; }); });
}());
"""

TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="svirt-verdict" content="{{ report.verdict }}">
<title>sVirt audit: {{ answer.text }}</title>
<style>{{ style }}</style>
</head>
<body>
<a class="skip" href="#findings">To the findings</a>
<header>
<h1>{{ question }}</h1>
<p class="answer {{ answer.code }}"><strong>{{ answer.text }}.</strong>
Verdict <b id="verdict">{{ report.verdict }}</b>, where findings of severity {{ report.fail_on }}
{%- if report.fail_on not in ("never", "critical") %} or worse{% endif %} fail. Audited {{ report.generated_at }}.</p>
<dl class="facts">
<div><dt>Hosts</dt><dd>{{ report.fleet.hosts.total }}</dd></div>
{% for verdict, number in report.fleet.hosts.items() %}
<div><dt>Hosts: {{ words[verdict] }}</dt><dd class="{{ verdict }}" data-hosts="{{ verdict }}">{{ number }}</dd></div>
{% endfor %}
{% for severity, number in report.fleet.findings.items() %}
<div><dt>Findings: {{ severity }}</dt>
<dd class="{{ severity if number else "" }}" data-findings="{{ severity }}">{{ number }}</dd></div>
{% endfor %}
<div><dt>Accepted by waivers</dt><dd>{{ report.fleet.waived }}</dd></div>
<div><dt>Guests compared</dt><dd>{{ report.fleet.guests_compared }}</dd></div>
<div><dt>Last passed</dt><dd>{{ report.last_passed_at or "not known" }}</dd></div>
</dl>
</header>
<main>
<section id="findings">
<h2>Findings</h2>
{% if not groups %}<p>None.</p>
{% endif %}
{% for group in groups %}
<details{% if group.unfolded %} open{% endif %}>
<summary><span class="tag {{ group.severity }}">{{ group.severity }}</span>{{ group.rule }} {{ group.title }}
<span class="quiet">({{ many(group.rows | length, "finding") }})</span></summary>
{% if group.why %}
<p>{{ group.why }}</p>
{% endif %}
{% for fix, cost in group.repairs %}
<p><b>Repair.</b> {{ fix }} <b>Cost:</b> {{ cost }}.</p>
{% endfor %}
<div class="scroll"><table class="sorts"><thead><tr><th>Host</th><th>Subject</th><th>Class</th><th>Evidence</th>
<th>Fingerprint</th></tr></thead>
<tbody class="rows open">
{% for row in group.rows %}
<tr><td>{{ row.host }}<td>{{ row.subject }}<td>{{ row.reach }}<td class=raw>{{ row.evidence }}
<td><code>{{ row.fingerprint }}</code>
{% endfor %}
</tbody></table></div>
</details>
{% endfor %}
{% for rule, number in omitted %}
<p>Of {{ rule }}, {{ many(number, "finding") }} are counted and not listed.</p>
{% endfor %}
{% if unlisted %}
<p>{{ many(unlisted, "more finding") }} in report.json.</p>
{% endif %}
</section>
{% if reach.arrows %}
<section id="reach">
<h2>Who can open whose disk</h2>
<div class="scroll"><svg viewBox="0 0 860 {{ reach.height }}" width="860" height="{{ reach.height }}"
 role="img" aria-label="Groups of guests that can open the disks of others, as in the findings of classes E1 to E3">
{% for arrow in reach.arrows %}
{% for box in (arrow.source, arrow.target) if box %}
<rect class="box" x="{{ box.x }}" y="{{ box.y }}" width="290" height="76" rx="6"/>
<text class="head" x="{{ box.x + 10 }}" y="{{ box.y + 18 }}">{{ box.head }}</text>
{% for y, name in box.names %}
<text x="{{ box.x + 10 }}" y="{{ y }}">{{ name }}</text>
{% endfor %}
{% endfor %}
{% if arrow.target %}
<path class="edge {{ arrow.reach }}" d="M300 {{ arrow.y + 44 }}H538"/>
<path class="tip" d="M548 {{ arrow.y + 44 }}l-12 -6v12z"/>
<text x="320" y="{{ arrow.y + 34 }}">{{ arrow.reach }}: {{ arrow.words }}</text>
{% else %}
<path class="edge {{ arrow.reach }}" d="M312 {{ arrow.y + 22 }}H340V{{ arrow.y + 58 }}H312"/>
<path class="tip" d="M302 {{ arrow.y + 22 }}l12 -6v12z"/>
<path class="tip" d="M302 {{ arrow.y + 58 }}l12 -6v12z"/>
<text x="352" y="{{ arrow.y + 44 }}">each other's; {{ arrow.reach }}: {{ arrow.words }}</text>
{% endif %}
{% endfor %}
</svg></div>
{% if reach.left_out %}
<p>{{ many(reach.left_out, "more group") }} in the findings.</p>
{% endif %}
</section>
{% endif %}
{% if map %}
<section id="map">
<h2>Category map</h2>
<p>Each guest at its pair of categories: the lower one to the right, the higher one down.
{{ many(map.guests, "guest") }} with two categories (blue),
{{ map.four }} with four (green, by the pair of their tenant),
{{ map.others }} with other
numbers (not shown); {{ many(map.ranges, "range") }} of hosts (dashed);
{{ many(map.collisions, "pair") }} by which guests reach one another (crosses).</p>
<div class="scroll"><svg viewBox="-6 -6 {{ map.side + 12 }} {{ map.side + 12 }}" width="{{ map.side }}"
 height="{{ map.side }}" role="img" aria-label="Map of the pairs of categories that guests have">
<path class="half" d="M0 0V{{ map.side }}H{{ map.side }}z"/>
{% for name, path in map.paths %}
<path class="{{ name }}" d="{{ path }}"/>
{% endfor %}
</svg></div>
</section>
{% endif %}
{% if report.since %}
<section id="since">
<h2>New and gone since the last run</h2>
<p>Since run <code>{{ report.since.run }}</code> of {{ report.since.generated_at }}:
{{ report.since.counts.new }} new, {{ report.since.counts.gone }} gone,
{{ report.since.counts.unchanged }} unchanged, {{ report.since.counts.accepted }} accepted since,
{{ report.since.counts.not_known }} not known to be new or gone, for one of the two runs could not judge them.</p>
{% if changes %}
<div class="scroll"><table class="sorts"><thead><tr><th>Change</th><th>Severity</th><th>Rule</th><th>Host</th>
<th>Subject</th><th>Fingerprint</th></tr></thead>
<tbody class="rows">
{% for change, item, place in changes %}
<tr><td>{{ change }}<td class="{{ item.severity }}">{{ item.severity }}<td>{{ item.rule }}<td>{{ place | fit(120) }}
<td>{{ item.subject | fit(120) }}<td><code>{{ item.fingerprint }}</code>
{% endfor %}
</tbody></table></div>
{% endif %}
{% if unlisted_changes %}
<p>{{ many(unlisted_changes, "more change") }} not listed.</p>
{% endif %}
</section>
{% endif %}
<section id="waived">
<h2>Accepted faults</h2>
{% if not report.waived and not report.unused_waivers %}<p>None.</p>
{% endif %}
{% if report.waived %}
<p>Each stands until it is repaired, or the waiver expires.</p>
<div class="scroll"><table class="sorts"><thead><tr><th>Until</th><th>Reason</th><th>Severity</th><th>Rule</th>
<th>Host</th><th>Subject</th><th>Fingerprint</th></tr></thead>
<tbody class="rows waived">
{% for item in waived %}
<tr><td>{{ item.waiver.expires }}<td>{{ item.waiver.reason | fit(room) }}
<td class="{{ item.severity }}">{{ item.severity }}<td>{{ item.rule }}<td>{{ where(item) | fit(room) }}
<td>{{ item.subject | fit(room) }}<td><code>{{ item.fingerprint }}</code>
{% endfor %}
</tbody></table></div>
{% endif %}
{% if waived_unlisted %}
<p>{{ many(waived_unlisted, "more accepted fault") }} in report.json.</p>
{% endif %}
{% for waiver in report.unused_waivers[:200] %}
<p>Waiver {{ waiver.index }} matches nothing: {{ waiver.target | fit(300) }}, until {{ waiver.expires }}.</p>
{% endfor %}
</section>
<section id="doubts">
<h2>Not known</h2>
{% if not doubts %}<p>Nothing: everything that applies was read and judged.</p>
{% else %}
<div class="scroll"><table class="sorts"><thead><tr><th>What</th><th>Why</th><th class="n">Hosts</th>
<th>Which</th></tr></thead>
<tbody class="rows">
{% for item in doubts %}
<tr><td class="unknown">{{ item.what }}<td>{{ item.why }}<td class=n>{{ item.hosts }}<td>{{ item.names }}
{% endfor %}
</tbody></table></div>
{% endif %}
</section>
<section id="hosts">
<h2>Hosts</h2>
<div class="scroll"><table class="sorts"><thead><tr><th>Host</th><th>Verdict</th>
<th class="n">critical</th><th class="n">high</th><th class="n">medium</th><th class="n">low</th>
<th class="n">info</th><th>Not known, or does not apply</th></tr></thead>
<tbody class="rows hosts">
{% for host in report.hosts %}
<tr><td>{{ host.name | fit(120) }}<td class="{{ host.verdict }}">{{ words[host.verdict] }}
{%- for _severity, number in host.counts.items() %}<td class=n>{{ number }}{% endfor %}
<td>{{ host.why | fit(host_room) }}
{% endfor %}
</tbody></table></div>
</section>
<section id="coverage">
<h2>Coverage</h2>
<div class="scroll"><table class="sorts"><thead><tr><th>Area</th><th class="n">Hosts read</th>
<th class="n">Not known</th><th class="n">Does not apply</th></tr></thead>
<tbody>
{% for area, read, unknown, absent in coverage %}
<tr><td>{{ area }}<td class=n>{{ read }}<td class="n {{ "unknown" if unknown else "" }}">{{ unknown }}
<td class=n>{{ absent }}
{% endfor %}
</tbody></table></div>
<p class="quiet">Equal levels by chance: {{ report.fleet.chance.equal_pairs }} pairs of guests
without storage in common; {{ report.fleet.chance.expected_pairs }} expected.</p>
</section>
</main>
<script>{{ script }}</script>
</body>
</html>"""
