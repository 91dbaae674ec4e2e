//! Everything that can be nested in a template, as deep as 256 KiB allow, parsed and rendered from a small stack.

use super::*;

/// `before`, as many `unit`s as fit, `middle`, and as many `after`s.
fn nested(before: &str, unit: &str, middle: &str, after: &str) -> String {
    let count = (MAX_TEMPLATE_BYTES - before.len() - middle.len()) / (unit.len() + after.len());
    [before, &unit.repeat(count), middle, &after.repeat(count)].concat()
}

/// Chains and brackets of one expression, and statements in statements.
fn sources() -> Vec<String> {
    let chains = [
        "~1",
        "|abs",
        ".a",
        "()",
        "[0]",
        "**1",
        "+1",
        "-1",
        "*1",
        "/1",
        "//1",
        "%1",
        "<1",
        "==1",
        " in 1",
        " not in 1",
        " and 1",
        " or 1",
        " if 1",
        " if 1 else 1",
        " is none",
        " is not none",
        " is eq",
        " is in(",
        "|d(",
        "|default(1",
        "[1:",
        " 1",
        " 'a'",
        ",1",
        "|a.b",
        " is a.b",
    ];
    let openings =
        ["-", "+", "not ", "(", "[", "{1:", "{", "f(", "f(a=", "f(*", "f(**", "x[", "x[:", "1 if 0 else ", "x.y|map("];
    let blocks = [
        ("{% if 1 %}", "{% endif %}"),
        ("{% if 0 %}{% else %}", "{% endif %}"),
        ("{% for i in [1] %}", "{% endfor %}"),
        ("{% macro m() %}", "{% endmacro %}"),
        ("{% call m() %}", "{% endcall %}"),
        ("{% set x %}", "{% endset %}"),
        ("{% filter upper %}", "{% endfilter %}"),
        ("{% with %}", "{% endwith %}"),
        ("{% generation %}", "{% endgeneration %}"),
        ("{% autoescape false %}", "{% endautoescape %}"),
        ("{{", ""),
        ("{%", ""),
        ("{#", ""),
        ("{% raw %}", ""),
    ];
    let mut sources: Vec<String> = chains.iter().map(|unit| nested("{{ 1", unit, " }}", "")).collect();
    sources.extend(openings.iter().map(|unit| nested("{{ ", unit, "1", "")));
    sources.extend(
        [("(", ")"), ("[", "]"), ("{1:", "}"), ("x[", "]")]
            .map(|(open, close)| nested("{{ ", open, "1", close) + " }}"),
    );
    sources.extend(blocks.iter().map(|(open, close)| nested("", open, "x", close)));
    sources.push(nested("{% if 0 %}", "{% elif 0 %}", "{% endif %}", ""));
    sources.push(nested("{% set ", "(", "a", ""));
    sources.push(nested("{% set x ", "|upper", " %}{% endset %}", ""));
    sources.push(nested("{{ 1.", "9", " }}", ""));
    sources.push(nested("{{ ", "9", " }}", ""));
    sources
}

/// Macros that call themselves from deep inside.
fn calls() -> Vec<String> {
    let inside = [
        ("not ", "", 180),
        ("[", "]", 90),
        ("{1: ", "}", 90),
        ("x[", "]", 90),
        ("1 if 0 else ", "", 180),
        ("0 or (", ")", 90),
        ("0 < (", ")", 90),
        ("1 ~ (", ")", 90),
        ("1|d(", ")", 90),
        ("m(", ")", 90),
        ("", "|upper", 180),
    ];
    let around = [
        ("{% if 1 %}", "{% endif %}"),
        ("{% for i in [1] %}", "{% endfor %}"),
        ("{% with a = 1 %}", "{% endwith %}"),
        ("{% set x %}", "{% endset %}"),
        ("{% call m() %}", "{{ caller() }}{% endcall %}"),
        ("{% filter upper %}", "{% endfilter %}"),
    ];
    let called = |body: String| format!("{{% macro m(a) %}}{body}{{% endmacro %}}{{{{ m(1) }}}}");
    let inside = inside.iter().map(|(open, close, n)| format!("{{{{ {}m(1){} }}}}", open.repeat(*n), close.repeat(*n)));
    let around = around.iter().map(|(open, close)| format!("{}{{{{ m(1) }}}}{}", open.repeat(150), close.repeat(150)));
    inside.chain(around).map(called).collect()
}

#[test]
fn no_nesting_overflows_a_stack() {
    let work = || {
        for source in sources().iter().chain(&calls()) {
            let name = &source[..source.len().min(60)];
            // Chains that are walked through one by one may be as long as they like.
            if let Err(error) = render(source, hello()) {
                let text = error.to_string();
                assert!(matches!(error.exit_code(), 2 | 3), "{name}: {text}");
                assert!(text.len() < 600 && !text.contains('\n') && !text.contains("panicked"), "{name}: {text}");
            }
        }
        assert!(calls().iter().all(|source| render(source, hello()).is_err()));
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}
