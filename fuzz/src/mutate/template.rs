//! Changes of a template's source: pieces of the language go in, stretches of it are repeated or nested.

use fastrand::Rng;

use super::{STRINGS, pick};
use crate::snippets::SNIPPETS;

/// Expressions, to stand in `{{ }}` or within one another.
const EXPRESSIONS: [&str; 64] = [
    "messages",
    "tools",
    "bos_token",
    "add_generation_prompt",
    "enable_thinking",
    "documents",
    "messages[0]",
    "messages[0].content",
    "messages[-1]['role']",
    "message",
    "loop.index0",
    "loop.last",
    "loop.previtem",
    "none",
    "true",
    "[]",
    "[1, 2, 3]",
    "{}",
    "{'a': 1, 'b': [2]}",
    "'text'",
    "\"a\\nb\"",
    "0",
    "1",
    "-1",
    "2.5",
    "1e3",
    "99999999999999999999",
    "range(3)",
    "range(100000)",
    "namespace(a=1)",
    "dict(a=1)",
    "lipsum()",
    "cycler(1, 2)",
    "raise_exception('no')",
    "raise_exception('\u{1b}[31m' ~ messages)",
    "strftime_now('%d %B %Y')",
    "messages | tojson",
    "messages | tojson(indent=2)",
    "messages | length",
    "'abc' | replace('b', 'xyz')",
    "'ab' * 1000000",
    "[0] * 1000000",
    "'%s' | format(messages)",
    "'a b'.split(' ')",
    "'a'.join(['b', 'c'])",
    "'x'.rjust(1000000)",
    "messages | join(',')",
    "messages | map(attribute='content') | list",
    "messages | selectattr('role', 'equalto', 'user') | list",
    "messages | groupby('role')",
    "messages | sort(attribute='role')",
    "messages[::-1]",
    "'abc'[1:2]",
    "x is defined",
    "x is string",
    "1 // 0",
    "7 % 3",
    "2 ** 10",
    "a and b or not c",
    "1 if x else 2",
    "x in messages",
    "1 < 2 < 3",
    "'text' | upper | trim | title",
    "{'b': 1, 'a': 2} | dictsort",
];
/// Statements, around something or alone.
const STATEMENTS: [&str; 22] = [
    "{% for message in messages %}{{ message.content }}{% endfor %}",
    "{% for i in range(1000) %}{% for j in range(1000) %}{{ i }}{% endfor %}{% endfor %}",
    "{% for x in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "{% for x in [1, 2] %}{{ x }}{% else %}none{% endfor %}",
    "{% if messages %}a{% elif tools %}b{% else %}c{% endif %}",
    "{% set x = messages %}",
    "{% set x = x ~ x %}",
    "{% set x = [x, x] %}",
    "{% set ns.a = [ns.a, ns.a] %}",
    "{% set x %}text{% endset %}",
    "{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}",
    "{% macro f(a, b=1) %}{{ a }}{{ f(b) }}{% endmacro %}{{ f(1) }}",
    "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}x{% endcall %}",
    "{% filter upper %}text{% endfilter %}",
    "{% generation %}text{% endgeneration %}",
    "{% raw %}{{ x }}{% endraw %}",
    "{% break %}",
    "{% continue %}",
    "{% include 'x' %}",
    "{% with a = 1 %}{{ a }}{% endwith %}",
    "{# a comment #}",
    "{%- if true -%} {%- endif -%}",
];
/// What opens and what closes, for nesting.
const PAIRS: [(&str, &str); 22] = [
    ("(", ")"),
    ("[", "]"),
    ("{'a': ", "}"),
    ("-", ""),
    ("not ", ""),
    ("", "~1"),
    ("", "|abs"),
    ("", ".a"),
    ("", "()"),
    ("", "[0]"),
    ("", "+1"),
    ("", " and 1"),
    ("", " if 1"),
    ("", "|replace('a', 'aaaa')"),
    ("", "|list"),
    ("", "**2"),
    ("{% if 1 %}", "{% endif %}"),
    ("{% for x in [1] %}", "{% endfor %}"),
    ("{% set x %}", "{% endset %}"),
    ("{% filter trim %}", "{% endfilter %}"),
    ("{% generation %}", "{% endgeneration %}"),
    ("", "{% elif 1 %}"),
];

/// The source with a change.
pub(super) fn change(text: &str, rng: &mut Rng) -> String {
    let (start, end) = span(text, rng);
    let (before, middle, behind) = (&text[..start], &text[start..end], &text[end..]);
    let doublings = if rng.u8(..4) == 0 { 15 } else { 4 };
    let times = 1 << rng.u32(..doublings);
    match rng.u8(..10) {
        0 => [before, behind].concat(),
        1 | 2 => [before, pick(&EXPRESSIONS, rng), behind].concat(),
        3 => [before, "{{ ", pick(&EXPRESSIONS, rng), " }}", behind].concat(),
        4 => [before, pick(&STATEMENTS, rng), behind].concat(),
        5 => [before, pick(&SNIPPETS, rng), behind].concat(),
        6 => [before, pick(&STRINGS, rng), behind].concat(),
        7 if middle.len() < 64 => [before, &middle.repeat(times), behind].concat(),
        _ => {
            let (open, close) = PAIRS[rng.usize(..PAIRS.len())];
            let inner =
                if open.contains('%') || close.contains('%') || rng.bool() { middle } else { pick(&EXPRESSIONS, rng) };
            let nested = [&open.repeat(times), inner, &close.repeat(times)].concat();
            match rng.bool() && !open.contains('%') {
                true => [before, "{{ ", &nested, " }}", behind].concat(),
                false => [before, &nested, behind].concat(),
            }
        }
    }
}

/// A stretch of the source, mostly a short one, that begins and ends where something does.
fn span(text: &str, rng: &mut Rng) -> (usize, usize) {
    let edge = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = rng.usize(..=text.len());
    let length = 1usize << rng.u32(..8);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let start = if rng.bool() {
        text[..edge(start)].rfind(|c| !is_word(c)).map_or(0, |at| edge(at + 1).max(at))
    } else {
        edge(start)
    };
    let start = edge(start);
    (start, edge((start + length).min(text.len())).max(start))
}
