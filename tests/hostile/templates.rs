//! Chat templates that are hard to parse or to drop: every construct that nests, at several depths. Whether a template is
//! within the bounds or beyond them: the program ends in order.

use super::fs;
use super::harness::{Call, Failures, HELLO, PROMPT, text_folder};

/// What nests: the text in front, what is repeated, what stands in the middle, what closes each, the text behind.
const NESTS: &[[&str; 5]] = &[
    ["{{ ", "-", "1", "", " }}"],
    ["{{ ", "- ", "1", "", " }}"],
    ["{{ ", "+", "1", "", " }}"],
    ["{{ ", "not ", "1", "", " }}"],
    ["{{ ", "-not ", "1", "", " }}"],
    ["{% if ", "not ", "1", "", " %}x{% endif %}"],
    ["{{ 1", "~1", "", "", " }}"],
    ["{{ 1", "+1", "", "", " }}"],
    ["{{ 1", "-1", "", "", " }}"],
    ["{{ 1", "*1", "", "", " }}"],
    ["{{ 1", "/1", "", "", " }}"],
    ["{{ 1", "//1", "", "", " }}"],
    ["{{ 1", "%1", "", "", " }}"],
    ["{{ 1", "**1", "", "", " }}"],
    ["{{ 1", "==1", "", "", " }}"],
    ["{{ 1", "<2", "", "", " }}"],
    ["{{ 1", " and 1", "", "", " }}"],
    ["{{ 0", " or 0", "", "", " }}"],
    ["{{ 1", " in [1]", "", "", " }}"],
    ["{{ 1", " not in [1]", "", "", " }}"],
    ["{{ 1", " is defined", "", "", " }}"],
    ["{{ 1", " is not none", "", "", " }}"],
    ["{{ 1", " if 1 else 1", "", "", " }}"],
    ["{{ ", "1 if 1 else ", "1", "", " }}"],
    ["{{ ", "(1 if 0 else ", "1", ")", " }}"],
    ["{{ 1", "|abs", "", "", " }}"],
    ["{{ 1", "|default(1)", "", "", " }}"],
    ["{{ 1", "|string|trim", "", "", " }}"],
    ["{{ 1", "|d(", "2", ")", " }}"],
    ["{{ messages", ".a", "", "", " }}"],
    ["{{ messages", "[0]", "", "", " }}"],
    ["{{ messages", "['a']", "", "", " }}"],
    ["{{ messages", "[", "0", "]", " }}"],
    ["{{ messages", "[:]", "", "", " }}"],
    ["{{ messages", "[0:1:1]", "", "", " }}"],
    ["{{ 1", "()", "", "", " }}"],
    ["{{ f", "(", "1", ")", " }}"],
    ["{{ f", "(a=f", "", ")", " }}"],
    ["{{ f", "(*f", "", ")", " }}"],
    ["{{ f", "(**f", "", ")", " }}"],
    ["{{ ''", ".upper()", "", "", " }}"],
    ["{{ ", "''.join(", "[]", ")", " }}"],
    ["{{ ", "(", "1", ")", " }}"],
    ["{{ ", "(", "1", ",)", " }}"],
    ["{{ ", "[", "1", "]", " }}"],
    ["{{ ", "[1,", "1", "]", " }}"],
    ["{{ ", "{'a':", "1", "}", " }}"],
    ["{{ ", "{", "1", ":1}", " }}"],
    ["{{ ", "[{'a':(", "1", ",)}]", " }}"],
    ["{{ 'a'", " 'a'", "", "", " }}"],
    ["{{ [", "1,", "", "", "] }}"],
    ["{{ {", "1:1,", "", "", "} }}"],
    ["{{ range(", "1,", "", "", ") }}"],
    ["", "{% if 1 %}", "x", "{% endif %}", ""],
    ["{% if 0 %}", "{% elif 0 %}", "", "", "{% endif %}"],
    ["{% if 0 %}", "{% elif 0 %}", "", "", "{% else %}x{% endif %}"],
    ["", "{% if 0 %}{% else %}", "x", "{% endif %}", ""],
    ["", "{% for i in [1] %}", "x", "{% endfor %}", ""],
    ["", "{% for i in [] %}{% else %}", "x", "{% endfor %}", ""],
    ["", "{% for a, b in {'a': 1}|items %}", "x", "{% endfor %}", ""],
    ["{% for ", "(a, ", "b", ")", " in [] %}{% endfor %}"],
    ["{% for i in [1] if ", "not ", "1", "", " %}{% endfor %}"],
    ["", "{% macro m() %}", "x", "{% endmacro %}", ""],
    ["", "{% macro m() %}{% endmacro %}", "", "", ""],
    ["{% macro m(", "a=", "1", "", ") %}{% endmacro %}"],
    ["{% macro m(a=", "[", "1", "]", ") %}{% endmacro %}"],
    ["{% macro m() %}{{ caller() }}{% endmacro %}", "{% call m() %}", "x", "{% endcall %}", ""],
    ["", "{% set x %}", "x", "{% endset %}", ""],
    ["", "{% set x = 1 %}", "", "", ""],
    ["{% set ", "(x, ", "y", ")", " = 1 %}"],
    ["{% set x = ", "[", "1", "]", " %}"],
    ["{% set x = namespace(a=", "namespace(a=", "1", ")", ") %}"],
    ["", "{% filter upper %}", "x", "{% endfilter %}", ""],
    ["{% filter upper", "|upper", "", "", " %}x{% endfilter %}"],
    ["", "{% with a=1 %}", "x", "{% endwith %}", ""],
    ["", "{% autoescape true %}", "x", "{% endautoescape %}", ""],
    ["", "{% block a %}", "x", "{% endblock %}", ""],
    ["", "{% generation %}", "x", "{% endgeneration %}", ""],
    ["", "{%- generation -%}", "x", "{%- endgeneration -%}", ""],
    ["", "{% raw %}", "x", "{% endraw %}", ""],
    ["", "{#", "x", "#}", ""],
    ["", "{{", "1", "}}", ""],
    ["", "{% do f(", "1", ") %}", ""],
    ["", "{% include ", "'x'", " %}", ""],
    ["{{ ", "9", "", "", " }}"],
    ["{{ 1.", "9", "", "", " }}"],
    ["{{ 1e", "9", "", "", " }}"],
    ["{{ 0x", "f", "", "", " }}"],
    ["{{ '", "\\\\", "", "", "' }}"],
    ["{{ '", "\\u0041", "", "", "' }}"],
    ["{{ ", "a", "", "", " }}"],
    ["{{ ", "ä", "", "", " }}"],
    ["", "{{ x }}", "", "", ""],
    ["", "{%- if 1 -%}", "", "", ""],
    ["", "{{", "", "", ""],
    ["", "{%", "", "", ""],
    ["", "{# ", "", "", ""],
    ["", "\r\n", "", "", ""],
    ["", "{{- '' -}}\n", "", "", ""],
];

/// `count` times in each other.
fn nested(nest: &[&str; 5], count: usize) -> String {
    let [front, open, middle, close, behind] = nest;
    [front, open.repeat(count).as_str(), middle, &close.repeat(count), behind].concat()
}

/// Also the least deep ones that are refused: the bounds are those of the program, not of this test.
#[test]
fn every_construct_that_nests_at_every_depth() {
    let dir = text_folder();
    let mut failures = Failures::default();
    for nest in NESTS {
        let unit = nest[1].len() + nest[3].len();
        // To the last byte that may be: the longest files are the deepest.
        let most = (lapidary::text::MAX_TEMPLATE_BYTES - 100) / unit;
        let most_of_64k = ((64 << 10) - 100) / unit;
        for count in [60, 250, 1000, 4000, most_of_64k, most] {
            if count > most {
                continue;
            }
            fs::write(dir.path().join("chat_template.jinja"), nested(nest, count)).unwrap();
            let what = format!("{count} times {:?}", nest[1]);
            failures.case(|| {
                let ended = PROMPT.ends(&what, &Call::prompt(dir.path(), HELLO));
                assert!(ended.code == Some(0) || ended.text().contains("chat template: "), "{what}: {}", ended.text());
            });
        }
    }
    failures.done();
}

/// The audit's seven kinds in the sizes that it gives: each is refused, and names the template, but for two that do not nest.
#[test]
fn templates_that_overflowed_the_parser_s_stack() {
    let dir = text_folder();
    let mut failures = Failures::default();
    for (nest, count) in [
        (["{{ ", "-", "1", "", " }}"], 20_000),
        (["{{ ", "not ", "1", "", " }}"], 21_000),
        (["{{ 1", "~1", "", "", " }}"], 60_000),
        (["{{ 1", "|abs", "", "", " }}"], 60_000),
        (["{{ 1", ".a", "", "", " }}"], 100_000),
        (["{{ 1", "()", "", "", " }}"], 100_000),
        (["{% if 0 %}", "{% elif 0 %}", "", "", "{% endif %}"], 20_000),
    ] {
        fs::write(dir.path().join("chat_template.jinja"), nested(&nest, count)).unwrap();
        let what = format!("{count} times {:?}", nest[1]);
        let call = Call::prompt(dir.path(), HELLO);
        failures.case(|| match nest[1] {
            "~1" | "{% elif 0 %}" => drop(PROMPT.accepts(&what, &call)),
            _ => drop(PROMPT.refuses(&what, &call, 3, &["error: chat template: "])),
        });
    }
    failures.done();
}

/// Two constructs in turn, one inside the other: what counts each kind by itself counts neither.
#[test]
fn constructs_in_turn() {
    let dir = text_folder();
    let mut draw = super::draw::Draw::new("constructs_in_turn");
    let expressions: Vec<&[&str; 5]> = NESTS.iter().filter(|nest| nest[0] == "{{ " && nest[2] == "1").collect();
    let blocks: Vec<&[&str; 5]> = NESTS.iter().filter(|nest| nest[0].is_empty() && nest[2] == "x").collect();
    let mut failures = Failures::default();
    for case in 0..40 {
        let kinds = if case % 2 == 0 { &expressions } else { &blocks };
        let picked: Vec<&[&str; 5]> = (0..2 + draw.below(3)).map(|_| kinds[draw.below(kinds.len())]).collect();
        let open: String = picked.iter().map(|nest| nest[1]).collect();
        let close: String = picked.iter().rev().map(|nest| nest[3]).collect();
        let nest = [picked[0][0], &open, picked[0][2], &close, picked[0][4]];
        let most = (lapidary::text::MAX_TEMPLATE_BYTES - 100) / (open.len() + close.len()).max(1);
        fs::write(dir.path().join("chat_template.jinja"), nested(&nest, [most, most / 8][draw.below(2)])).unwrap();
        let what = format!("{open:?}");
        failures.case(|| PROMPT.ends(&what, &Call::prompt(dir.path(), HELLO)));
    }
    failures.done();
}

/// Files that are no template.
#[test]
fn files_that_are_no_template() {
    let dir = text_folder();
    let path = dir.path().join("chat_template.jinja");
    let mut failures = Failures::default();
    let big = lapidary::text::MAX_TEMPLATE_BYTES + 1;
    for (what, bytes) in [
        ("not UTF-8", b"{{ messages }}\xff".to_vec()),
        ("a GGUF file", b"GGUF\x03\0\0\0\0\0\0\0".to_vec()),
        ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n".to_vec()),
        ("only an end", b"{% endif %}".to_vec()),
        ("an unknown tag", "{% \u{1b}[31mred %}".into()),
        ("an unknown filter", "{{ 1|nothing\u{202e} }}".into()),
        ("one byte too long", vec![b' '; big]),
        ("64 MiB", vec![b' '; 64 << 20]),
    ] {
        fs::write(&path, bytes).unwrap();
        failures.case(|| PROMPT.refuses(what, &Call::prompt(dir.path(), HELLO), 3, &["chat"]));
    }
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    failures.case(|| PROMPT.refuses("a terabyte of nothing", &Call::prompt(dir.path(), HELLO), 3, &["chat"]));
    failures.done();
}
