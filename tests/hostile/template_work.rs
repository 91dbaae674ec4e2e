//! Chat templates that make much of little: memory, text, time. None gets far, however the work is done.

use super::fs;
use super::harness::{Call, Failures, HELLO, PROMPT, text_folder};

/// Work that must be given up: with 3 or, where the conversation may be the reason, with 2.
const BOMBS: &[&str] = &[
    // Steps.
    "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}",
    "{% for i in range(1000000000) %}x{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% macro m() %}{{ caller() }}{% call m() %}{{ m() }}{% endcall %}{% endmacro %}{% call m() %}{% endcall %}",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for i in [[1, 1]] recursive %}{{ loop([i, i]) }}{{ loop([i]) }}{% endfor %}",
    // Repetition and doubling.
    "{{ 'x' * 1000000000 }}",
    "{{ 1000000000 * 'x' }}",
    "{% set a = 'x' * 100000000 %}{% set b = a * 100 %}{{ b | length }}",
    "{{ ([1] * 1000000000) | length }}",
    "{{ ([[1] * 100000] * 100000) | string | length }}",
    "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s | length }}",
    "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] | join %}{% endfor %}{{ ns.s | length }}",
    "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = '%s%s' | format(ns.s, ns.s) %}{% endfor %}{{ ns.s | length }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}{{ ns.l | length }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = (ns.l + ns.l) | list %}{% endfor %}{{ ns.l | sum }}",
    "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set x %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = x %}{% endfor %}{{ ns.s | length }}",
    "{% macro m(s) %}{{ s }}{{ s }}{% endmacro %}{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = m(ns.s) %}{% endfor %}{{ ns.s | length }}",
    // Replacing and joining.
    "{% set ns = namespace(s='x'*1000) %}{% for i in range(9) %}{% set ns.s = ns.s.replace('x', 'x'*1000) %}{% endfor %}",
    "{% set ns = namespace(s='x'*1000) %}{% for i in range(9) %}{% set ns.s = ns.s | replace('x', 'x'*1000) %}{% endfor %}",
    "{% set s = 'x'*100000 %}{% for i in range(100000) %}{% set t = s.replace('', s) %}{% endfor %}",
    "{% set s = 'x'*100000 %}{% set t = s.replace('', s) %}",
    "{% set s = 'x'*100000 %}{% set t = s | replace('', s) %}{{ t | length }}",
    "{% set s = 'x'*100000 %}{{ s.join(s) | length }}",
    "{% set s = 'x'*100000 %}{{ (s | list) | join(s) | length }}",
    "{% set s = 'x'*100000 %}{{ s.join(range(100000)) | length }}",
    "{% set s = 'x'*100000 %}{{ range(99999) | join(s) | length }}",
    "{% set s = 'x'*100000 %}{% for i in range(100000) %}{% set t = s.split('') %}{% endfor %}",
    "{% set s = 'x'*100000 %}{% for i in range(100000) %}{% set t = s.split('x') %}{% endfor %}",
    "{% set s = 'x'*200000 %}{% set a = s.split('x') %}{% set l = [a] * 100000 %}{{ l | tojson | length }}",
    // Work in filters, a call at a time.
    "{% set s = 'x'*200000 %}{% for i in range(200000) %}{% set t = s | upper %}{% endfor %}",
    "{% set s = 'x'*200000 %}{% for i in range(200000) %}{% set t = s.title() %}{% endfor %}",
    "{% set s = 'x'*200000 %}{% for i in range(200000) %}{% set t = s.count('x') %}{% endfor %}",
    "{% set s = 'x'*200000 %}{% for i in range(200000) %}{% set t = s.find('y') %}{% endfor %}",
    "{% set s = 'x'*200000 %}{% for i in range(200000) %}{% set t = 'y' in s %}{% endfor %}",
    "{% set s = 'x'*200000 %}{% for i in range(200000) %}{% set t = s[::-1] %}{% endfor %}",
    "{% set s = 'x'*200000 %}{% for i in range(200000) %}{% set t = s | length %}{% endfor %}",
    "{% set s = ' '*200000 %}{% for i in range(200000) %}{% set t = s | trim %}{% endfor %}",
    "{% set s = ' '*200000 %}{% for i in range(200000) %}{% set t = s.strip() %}{% endfor %}",
    "{% set s = 'x\n'*100000 %}{% for i in range(100000) %}{% set t = s.splitlines() %}{% endfor %}",
    "{% set s = 'x\n'*100000 %}{% for i in range(100000) %}{% set t = s | indent(1000) %}{% endfor %}",
    "{% set s = '<'*100000 %}{% for i in range(100000) %}{% set t = s | escape %}{% endfor %}",
    "{% set ns = namespace(s='&'*100) %}{% for i in range(60) %}{% set ns.s = ns.s | escape | string %}{% endfor %}{% for i in range(60) %}{% set ns.s = ns.s | forceescape %}{% endfor %}{{ ns.s | length }}",
    "{% set ns = namespace(s='\"') %}{% for i in range(60) %}{% set ns.s = ns.s | tojson %}{% endfor %}{{ ns.s | length }}",
    "{% set ns = namespace(s='%') %}{% for i in range(60) %}{% set ns.s = ns.s | urlencode %}{% set ns.s = ns.s * 3 %}{% endfor %}{{ ns.s | length }}",
    "{% set ns = namespace(s=\"'\") %}{% for i in range(60) %}{% set ns.s = [ns.s] | string %}{% endfor %}{{ ns.s | length }}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l | sort %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l | reverse | list %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l | sum %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l | unique | list %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l | max %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l | map('string') | list %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l | select | list %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l | batch(1) | list %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = -1 in l %}{% endfor %}",
    "{% set l = range(100000) | list %}{% set k = range(100000) | list %}{% for i in range(100000) %}{% set t = l == k %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l | tojson %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l | string %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = '%s' | format(l) %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = '%s' % l %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l ~ '' %}{% endfor %}",
    "{{ [] | slice(1000000000) | list | length }}",
    "{{ [1] | batch(1000000000, 'x') | list | string | length }}",
    "{{ [1] | slice(1000000000, 'x') | list | string | length }}",
    // Lists that share.
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l ~ '' }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | string | length }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | join | length }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ {ns.l: 1} | length }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ '%s' | format(ns.l) | length }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ raise_exception(ns.l) }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ [ns.l] | sort }}{{ ns.l | urlencode }}",
    "{% set ns = namespace(l=[1], k=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.k = [ns.k, ns.k] %}{% endfor %}{{ ns.l == ns.k }}{{ ns.l < ns.k }}",
    "{% set ns = namespace(l=[1], k=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.k = [ns.k, ns.k] %}{% endfor %}{{ [ns.l, ns.k] | unique | list | length }}",
    "{% set ns = namespace(l=[1], k=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.k = [ns.k, ns.k] %}{% endfor %}{{ [ns.l, ns.k] | sort | length }}{{ [ns.l, ns.k] | min | length }}",
    "{% set ns = namespace(l=[1], k=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.k = [ns.k, ns.k] %}{% endfor %}{{ ns.l in [ns.k] }}{{ [ns.k].index(ns.l) }}{{ [ns.k].count(ns.l) }}",
    "{% set ns = namespace(d={'a': 1}) %}{% for i in range(60) %}{% set ns.d = {'a': ns.d, 'b': ns.d} %}{% endfor %}{{ ns.d }}",
    "{% set ns = namespace(d={'a': 1}) %}{% for i in range(60) %}{% set ns.d = {'a': ns.d, 'b': ns.d} %}{% endfor %}{{ ns.d | tojson }}",
    "{% set ns = namespace(d={'a': 1}) %}{% for i in range(60) %}{% set ns.d = {'a': ns.d, 'b': ns.d} %}{% endfor %}{{ ns.d | dictsort(by='value') | length }}{{ ns.d | string }}",
    "{% set ns = namespace(l=1) %}{% for i in range(90000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}",
    // Formats.
    "{{ '%1000000000d' | format(1) }}",
    "{{ '%-1000000000s' | format(1) | length }}",
    "{{ '%.1000000000f' | format(1) | length }}",
    "{{ '%01000000000d' | format(1) | length }}",
    "{{ '%*d' | format(1000000000, 1) | length }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ 'x' | center(1000000000) | length }}",
    "{{ 'x'.ljust(1000000000) | length }}",
    "{{ 'x'.center(1000000000) | length }}",
    "{{ '1'.zfill(1000000000) | length }}",
    "{{ '{:1000000000}'.format(1) | length }}",
    "{{ 'x\ny' | indent(1000000000) | length }}",
    "{{ 'x\ny' | indent('x' * 100000000) | length }}",
    "{{ '\t'.expandtabs(1000000000) | length }}",
    "{{ messages | tojson(indent=1000000000) * 100000000 }}",
    "{{ messages | tojson(indent=1000000000) | length }}",
    "{{ messages | pprint * 1000000000 }}",
    "{{ 'aaaaaaaa'.replace('a', 'x' * 10000000) * 100 }}",
    "{{ strftime_now('%Y' * 100000000) }}",
    "{{ strftime_now('%Y' * 10000000) | length }}{{ strftime_now('%c' * 20000000) | length }}",
    "{% for i in range(2000) %}{{ 'xxxxxxxxxxxxxxxx' * 64 }}{% endfor %}",
    // What is not there.
    "{% include 'x' %}",
    "{% import '/etc/passwd' as p %}",
    "{% from '/etc/passwd' import p %}",
    "{% extends 'x' %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages[0].content.nothing() }}",
    "{{ nothing() }}",
    "{{ x.y.z }}",
    "{% if %}",
];

#[test]
fn work_without_end_is_given_up() {
    let dir = text_folder();
    let mut failures = Failures::default();
    for source in BOMBS {
        fs::write(dir.path().join("chat_template.jinja"), source).unwrap();
        failures.case(|| {
            let ended = PROMPT.ends(source, &Call::prompt(dir.path(), HELLO));
            let text = ended.text();
            let named = text.contains("error: chat template: ") && text.lines().count() == 1;
            assert!(matches!(ended.code, Some(2 | 3)) && named, "{source}: {:?} {text}", ended.code);
        });
    }
    failures.done();
}

/// Work that may be done or refused; what is made of it by what bounds it has is not said here.
const STRANGE: &[&str] = &[
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l == l %}{% endfor %}",
    "{% set l = range(100000) | list %}{% for i in range(100000) %}{% set t = l[:] %}{% endfor %}",
    "{{ 2 ** 1000000000 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ 9 ** 99999 }}",
    "{{ (2 ** 64) * (2 ** 64) * (2 ** 64) }}",
    "{{ 1 / 0 }}{{ 1 // 0 }}",
    "{{ 1 % 0 }}",
    "{{ -9223372036854775808 // -1 }}",
    "{{ (-9223372036854775808) | abs }}",
    "{{ -170141183460469231731687303715884105728 - 1 }}",
    "{{ ('9' * 100000) | int }}",
    "{{ ('9' * 100000) | float }}",
    "{{ 1.5 | round(1000000000) }}",
    "{{ 1e308 * 1e308 }}{{ 1e308 * 1e308 - 1e308 * 1e308 }}",
    "{{ [1e308 * 1e308] | tojson }}",
    "{{ range(0) | max }}",
    "{{ range(1, 10, 0) | list }}",
    "{{ range(-9223372036854775808, 9223372036854775807) | list | length }}",
    "{{ messages[9223372036854775807] }}{{ messages[-9223372036854775808] }}",
    "{{ messages[1:0:-1] }}{{ messages[::0] }}",
    "{{ 'x'[:-9223372036854775808] }}{{ 'é'[0:1] }}",
    "{{ 'x' * -1 }}{{ [1] * -5 }}",
    "{{ 'abc' | truncate(-1) }}{{ 'abc' | truncate(1000000000) }}",
    "{{ 'abc' | wordwrap(0) }}",
    "{{ 'abc' | indent(-1) }}",
    "{{ [] | first }}{{ [] | last }}{{ [] | random }}",
    "{{ '%s %s' | format(1) }}{{ '%' | format(1) }}",
    "{{ '%(a)s' | format(a=1) }}{{ '%q' | format(1) }}",
    "{{ '\u{0}\u{1b}[31m\u{202e}' }}",
    "{{ {}.x.y }}",
    "{{ dict(a=1).update({'b': 2}) }}",
    "{{ namespace().x }}",
    "{% set messages = 1 %}{{ messages }}",
    "{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}",
    "{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns | tojson }}",
    "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns == ns }}{{ ns.a == ns.a }}{{ ns.a | string }}",
    "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ [ns.a] | unique | list }}{{ {ns.a: 1} }}",
    "{{ raise_exception }}{{ strftime_now }}",
    "{{ strftime_now('%Q%+%5000000d%-%') }}",
    "{{ strftime_now('') }}",
    "{{ loop.index }}",
    "{% for m in messages %}{{ loop.cycle() }}{% endfor %}",
    "{% for m in messages %}{{ loop.changed(m) }}{{ loop.nextitem }}{% endfor %}",
    "{% break %}",
    "{% continue %}",
    "{{ caller() }}",
    "{{ self }}{{ super() }}",
    "{{ debug() }}",
    "{{ lipsum(1000000) }}",
    "{{ cycler(1).next() }}{{ joiner(1)() }}",
    "{% autoescape true %}{{ '<' }}{% endautoescape %}",
    "\u{feff}{{ bos_token }}",
];

#[test]
fn strange_work_ends_in_order() {
    let dir = text_folder();
    let mut failures = Failures::default();
    for source in STRANGE {
        fs::write(dir.path().join("chat_template.jinja"), source).unwrap();
        failures.case(|| PROMPT.ends(source, &Call::prompt(dir.path(), HELLO)));
    }
    failures.done();
}

/// Slices of slices, which cost by their depth.
#[test]
fn work_of_nested_views_is_given_up() {
    let dir = text_folder();
    let mut failures = Failures::default();
    for step in
        ["[0:]", "|reverse", "|list", "|map('string')", "|select", "|batch(1)|first", "|sort", "|unique", "|items"]
    {
        let steps = step.repeat(20);
        let source = format!(
            "{{% set ns = namespace(l=[1]) %}}{{% for i in range(9000) %}}{{% set ns.l = ns.l{steps} %}}{{% endfor %}}{{{{ ns.l|list }}}}"
        );
        fs::write(dir.path().join("chat_template.jinja"), &source).unwrap();
        failures.case(|| PROMPT.ends(&format!("20 times {step}"), &Call::prompt(dir.path(), HELLO)));
    }
    failures.done();
}

/// A template whose time depends on the conversation: what a client sends bounds it as well.
#[test]
fn a_conversation_makes_no_template_a_bomb() {
    let dir = text_folder();
    let source = "{% for a in messages %}{% for b in messages %}{% for c in messages %}{{ a.content }}{% endfor %}{% endfor %}{% endfor %}";
    fs::write(dir.path().join("chat_template.jinja"), source).unwrap();
    let messages: Vec<_> = (0..400)
        .map(|i| super::json!({"role": if i % 2 == 0 { "user" } else { "assistant" }, "content": "x"}))
        .collect();
    let call = Call::prompt(dir.path(), &super::Value::from(messages).to_string());
    let ended = PROMPT.ends("cubic", &call);
    assert!(matches!(ended.code, Some(2 | 3)), "{}", ended.text());
}
