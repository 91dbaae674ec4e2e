//! What the language does beside what chat templates of real checkpoints need; the texts expected are jinja2's own.

use serde_json::json;

use super::*;
use crate::text::special::{Specials, Used};

fn guard() -> Guard {
    let specials = Specials::new([("<turn|>".to_owned(), 1), ("<|turn>".to_owned(), 2)]);
    Guard::new(&specials, &Used::default()).expect("there are free characters")
}

fn limits() -> Limits {
    Limits { steps: 1_000_000, output: 1 << 20, given_up: Arc::default() }
}

/// Renders with one variable `v`.
fn rendered(source: &str, v: Json) -> Result<String, Fault> {
    let guard = guard();
    let source = source.to_owned();
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let work = move || {
        let text = render(&source, vec![("v", Variable::Guarded(v))], guard.clone(), limits())?;
        Ok(guard.show(&text).into_owned())
    };
    thread.spawn(work).expect("a thread").join().expect("no panic")
}

fn text(expression: &str) -> String {
    let source = format!("{{{{ {expression} }}}}");
    let v = json!({"s": "a<b> Ü", "l": [1, 2.5, 1e16, -0.0], "d": {"b": 1, "A": 2, "É": 3}});
    rendered(&source, v).unwrap_or_else(|fault| panic!("{expression}: {fault:?}"))
}

#[test]
fn numbers_are_those_of_python() {
    let cases = [
        (
            "[7 // 2, -7 // 2, 7.5 // -2, -7 % 3, 7 % -3, 5 % 1.5, 1 / 3, 2 ** -1]",
            "[3, -4, -4.0, 2, -2, 0.5, 0.3333333333333333, 0.5]",
        ),
        (
            "[2 ** 100, -(2 ** 64) // 3, 99999999999999999999 * 10, 10 ** 30 / 7]",
            "[1267650600228229401496703205376, -6148914691236517206, 999999999999999999990, 1.4285714285714285e+29]",
        ),
        (
            "[1e16, 1e15, 1e-5, 0.0001, 1e400, -1e400, 0.1 + 0.2]",
            "[1e+16, 1000000000000000.0, 1e-05, 0.0001, inf, -inf, 0.30000000000000004]",
        ),
        (
            "[1 == 1.0, true + 1, 9007199254740993 == 9007199254740992.0, {1: 'a', true: 'b', 1.0: 'c'}]",
            "[True, 2, False, {1: 'c'}]",
        ),
        (
            "[2.5 | round, 2.675 | round(2), 0.125 | round(2), 12350 | round(-2), 2.2 | round(0, 'ceil')]",
            "[2.0, 2.67, 0.12, 12400, 3.0]",
        ),
        (
            "['42.9' | int, 'x' | int(7), 'ff' | int(0, 16), ' 1_000 ' | int, '1e3' | float]",
            "[42, 7, 255, 1000, 1000.0]",
        ),
        (
            "'%5.2f|%-5d|%+d|%x|%e|%g' % (3.14159, 42, 42, 255, 12345.678, 1e10)",
            " 3.14|42   |+42|ff|1.234568e+04|1e+10",
        ),
        (
            "'{:>5}|{:05d}|{:,}|{:.3}|{:%}'.format(1, 42, 1234567, 1234.5, 0.25)",
            "    1|00042|1,234,567|1.23e+03|25.000000%",
        ),
    ];
    for (expression, expected) in cases {
        assert_eq!(text(expression), expected, "{expression}");
    }
    let json = serde_json::from_str("[123456789012345678901234567890, 1E5, 1e400, -0, 0.00001, 5e-324]").expect("JSON");
    let printed = "[123456789012345678901234567890, 100000.0, inf, 0, 1e-05, 5e-324]";
    assert_eq!(rendered("{{ v }}", json).as_deref(), Ok(printed));
    let long = serde_json::from_str(&"9".repeat(4301)).expect("JSON");
    assert!(matches!(rendered("{{ v }}", long), Err(Fault::Failed(text)) if text.contains("4301 digits")));
}

#[test]
fn texts_are_those_of_python() {
    let cases = [
        (
            "[\"they're bill's\".title(), 'ß'.upper(), 'ǆ ﬁ'.title(), 'ΑΣ ΣΑ'.capitalize()]",
            "[\"They'Re Bill'S\", 'SS', 'ǅ Fi', 'Ας σα']",
        ),
        (
            "['a b  c'.split(), 'a b  c'.split(' '), 'a b c'.rsplit(None, 1), 'aXbXc'.rpartition('X')]",
            "[['a', 'b', 'c'], ['a', 'b', '', 'c'], ['a b', 'c'], ('aXb', 'X', 'c')]",
        ),
        (
            "['abcabc'.find('c', 3), 'abc'.count(''), 'abc'.replace('', '-', 2), 'abcd'.center(7, '*')]",
            "[5, 4, '-a-bc', '**abcd*']",
        ),
        (
            "['a\\n\\u200b', \"it's\", 'it\\'s \"q\"', 'é\\x7f\\ue000']",
            "['a\\n\\u200b', \"it's\", 'it\\'s \"q\"', 'é\\x7f\\ue000']",
        ),
        ("['b', 'A', 'É', 'a', 'z'] | sort", "['A', 'a', 'b', 'z', 'É']"),
        ("v.d | dictsort", "[('A', 2), ('b', 1), ('É', 3)]"),
        ("'a\\r\\nb\\x0bc'.splitlines()", "['a', 'b', 'c']"),
        ("'xxaxx' | trim('x') ~ '-' ~ '0x1f' | int(0, 16)", "a-31"),
    ];
    for (expression, expected) in cases {
        assert_eq!(text(expression), expected, "{expression}");
    }
}

#[test]
fn guarded_text_is_found_and_compared_as_it_was_written() {
    let cases = [
        (
            "[v.s == 'a<b> Ü', '<b>' in v.s, v.s.find('>'), v.s.split('<'), v.s.startswith('a<')]",
            "[True, True, 3, ['a', 'b> Ü'], True]",
        ),
        (
            "[v.s | replace('<b>', ''), v.s[1], v.s | length, v.s | upper, v.s | e, v.s | urlencode]",
            "['a Ü', '<', 6, 'A<B> Ü', 'a&lt;b&gt; Ü', 'a%3Cb%3E%20%C3%9C']",
        ),
        ("{v.s: 1}['a<b> Ü']", "1"),
        ("[v.s, '<'] | sort", "['<', 'a<b> Ü']"),
        ("v.s | tojson(true)", "\"a<b> \\u00dc\""),
    ];
    for (expression, expected) in cases {
        assert_eq!(text(expression), expected, "{expression}");
    }
    // What a filter spells out is still text from outside: all of it has stand-ins.
    let guard = guard();
    let v = vec![("v", Variable::Guarded(json!("&lt;turn|&gt;")))];
    let out = render("{{ v | striptags }}{{ '%c' % 60 }}", v, guard.clone(), limits()).expect("it renders");
    assert_eq!((guard.show(&out).as_ref(), out.contains(['<', '>'])), ("<turn|><", false));
}

#[test]
fn json_is_that_of_dumps() {
    let cases = [
        ("{'b': [], 'a': {}} | tojson(indent=2, sort_keys=true)", "{\n  \"a\": {},\n  \"b\": []\n}"),
        (
            "[1, {'é': '😀\\x7f\\u2028'}] | tojson(ensure_ascii=true)",
            "[1, {\"\\u00e9\": \"\\ud83d\\ude00\\u007f\\u2028\"}]",
        ),
        ("[1, 2] | tojson(indent=-1) ~ [1] | tojson(indent='ab', separators=(';', '='))", "[\n1,\n2\n][\nab1\n]"),
        (
            "{1: 1e400, 1.5: none, true: 2, none: 1e16} | tojson(separators=(',', ':'))",
            "{\"1\":2,\"1.5\":null,\"null\":1e+16}",
        ),
    ];
    for (expression, expected) in cases {
        assert_eq!(text(expression), expected, "{expression}");
    }
}

#[test]
fn scopes_and_tags_are_those_of_jinja() {
    let cases = [
        ("{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}", "231"),
        (
            "{% if true %}{% set x = 2 %}{% endif %}{{ x }}{% generation %}{% set x = 3 %}{% endgeneration %}{{ x }}",
            "22",
        ),
        ("{%- generation -%} x {%- endgeneration -%} y{%+generation+%}z{%\n endgeneration\n:%}", ""),
        (
            "{% raw %}{% generation %}{% endraw %}{{ '{% generation %}' }}{# {% generation %} #}",
            "{% generation %}{% generation %}",
        ),
        ("a\r\nb\rc{{ 'x\r\ny' | length }}\r\n", "a\nb\nc3"),
        ("\u{feff}x\n\n", "x\n"),
        ("  {% if true %}\n  a\n  {%+ endif %}\n b", "  a\n   b"),
        (
            "{% set ns = namespace(s=0) %}{% for i in [1, 2, 3, 4] if ns.s < 3 %}{{ i }}{% set ns.s = ns.s + i %}{% endfor %}",
            "12",
        ),
        (
            "{% macro m(a, b=a) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, c=4) }}",
            "12(3,){'c': 4}",
        ),
        (
            "{% for k in [[1, []], [2, [[3, []]]]] recursive %}{{ k[0] }}{{ loop.depth }}{{ loop(k[1]) }}{% endfor %}",
            "112132",
        ),
        ("{% macro m() %}[{{ caller(1) }}]{% endmacro %}{% call(a) m() %}{{ a }}{% endcall %}", "[1]"),
        ("{% if 0 %}{{ 5 | nofilter }}{% endif %}{{ x.y if x }}{{ x }}{{ 1, 2 }}{{ +1 }}", "(1, 2)1"),
    ];
    for (source, expected) in cases {
        let found = rendered(source, Json::Null);
        if expected.is_empty() {
            assert!(matches!(found, Err(Fault::Syntax(_))), "{source}: {found:?}");
        } else {
            assert_eq!(found.as_deref(), Ok(expected), "{source}");
        }
    }
}

#[test]
fn faults_say_what_is_wrong() {
    let cases = [
        ("{{ x.y }}", Fault::Failed("'x' is undefined".into())),
        (
            "{{ v.append }}{{ v.append(1) }}",
            Fault::Forbidden("access to attribute 'append' of 'list' object is unsafe".into()),
        ),
        ("{{ raise_exception('no') }}", Fault::Refused("no".into())),
        ("{% do x %}", Fault::Syntax("encountered unknown tag 'do' in line 1".into())),
        ("\n{{ 5 | nofilter }}", Fault::Syntax("no filter named 'nofilter' in line 2".into())),
        ("{{ {v: 1} }}", Fault::failed("unhashable type: 'list'")),
        ("{{ [1, 'a'] | sort }}", Fault::failed("'<' not supported between instances of 'str' and 'int'")),
    ];
    for (source, expected) in cases {
        assert_eq!(rendered(source, json!([1])), Err(expected), "{source}");
    }
}

#[test]
fn a_rendering_that_is_given_up_ends() {
    let limits = Limits { steps: u64::MAX, ..limits() };
    limits.given_up.store(true, std::sync::atomic::Ordering::Relaxed);
    let source = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}";
    assert_eq!(render(source, Vec::<(&str, Variable)>::new(), guard(), limits), Err(Fault::GivenUp));
}
