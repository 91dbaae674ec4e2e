//! Templates that would take all time and memory, each stopped by the budget in time that a processor counts.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::text::special::{Specials, Used};

/// Processor time that a rendering of so many steps may take, for a build without optimization on a slow machine.
const MOST: Duration = Duration::from_secs(5);

/// Processor time of this thread, where the system tells it.
fn spent() -> Option<Duration> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Renders in a thread of its own; how it ended and what it took.
fn timed(source: &'static str) -> (Result<String, Fault>, Option<Duration>) {
    let work = move || {
        let specials = Specials::new([("<turn|>".to_owned(), 1)]);
        let guard = Guard::new(&specials, &Used::default()).expect("there are free characters");
        let limits = Limits { steps: 200_000, output: 1 << 20, given_up: Arc::default() };
        let before = spent();
        let variables =
            vec![("v", Variable::Guarded(json!("hi <"))), ("messages", Variable::Guarded(json!([{"a": 1}])))];
        let result = render(source, variables, guard, limits);
        (result, before.zip(spent()).map(|(before, after)| after - before))
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread").join().expect("no panic")
}

#[test]
fn every_operation_pays_before_it_works() {
    for source in BOMBS {
        let (result, spent) = timed(source);
        assert!(spent.is_none_or(|spent| spent < MOST), "{source}: {spent:?}");
        let ended = match &result {
            Ok(text) => text.len() <= 1 << 20,
            Err(fault) => !matches!(fault, Fault::Syntax(_) | Fault::GivenUp),
        };
        assert!(ended, "{source}: {result:?}");
        let harmless = HARMLESS.iter().any(|part| source.contains(part));
        assert!(result.is_err() || harmless, "{source}: it ends well");
    }
}

/// Parts of those below that are no more than they seem.
const HARMLESS: [&str; 5] = ["ns == ns", "ns.l.index", "joiner(", "'%.1000000000g'", "m(200)"];

const BOMBS: &[&str] = &[
    r#"{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}"#,
    r#"{% set ns = namespace(l=[1],k=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.k = [ns.k, ns.k] %}{% endfor %}{{ ns.l == ns.k }}"#,
    r#"{% set ns = namespace(l=(1,)) %}{% for i in range(60) %}{% set ns.l = (ns.l, ns.l) %}{% endfor %}{{ {ns.l: 1}|length }}"#,
    r#"{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}"#,
    r#"{% set ns = namespace(l=[1],k=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.k = [ns.k, ns.k] %}{% endfor %}{{ [ns.l, ns.k]|sort }}"#,
    r#"{% set ns = namespace(l=[1],k=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.k = [ns.k, ns.k] %}{% endfor %}{{ ns.l in [ns.k] }}{{ [ns.k].index(ns.l) }}"#,
    r#"{% set ns = namespace(s='x'*1000) %}{% for i in range(9) %}{% set ns.s = ns.s.replace('x', 'x'*1000) %}{% endfor %}"#,
    r#"{% set s = 'x'*100000 %}{% for i in range(100000) %}{% set t = s.replace('', s) %}{% endfor %}"#,
    r#"{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ {ns.l: 1}|length }}"#,
    r#"{% set s = 'x'*1000000 %}{{ ([s]*1000)|join(s)|length }}"#,
    r#"{% set s = 'x'*1000000 %}{{ s.join('abc'*10000)|length }}"#,
    r#"{{ '%1000000000d' % 1 }}"#,
    r#"{{ '%.1000000000f' % 1.5 }}"#,
    r#"{{ '{:1000000000}'.format(1) }}"#,
    r#"{{ '%*d' % (1000000000, 1) }}"#,
    r#"{{ '{:.1000000000f}'.format(1.5) }}"#,
    r#"{{ '%.1000000000d' % 5 }}"#,
    r#"{{ '{:01000000000,}'.format(5) }}"#,
    r#"{{ '%.1000000000e' % 1.5 }}"#,
    r#"{{ '%.1000000000g' % 1.5 }}"#,
    r#"{{ 'a'|center(1000000000) }}"#,
    r#"{{ 'a'.ljust(10**18) }}"#,
    r#"{{ 'a'.zfill(10**30) }}"#,
    r#"{{ ('\t'*1000).expandtabs(1000000000) }}"#,
    r#"{{ ('a\n'*100000)|indent(1000000) }}"#,
    r#"{{ messages|tojson(indent=1000000000) }}"#,
    r#"{{ 'x' * 1000000000 }}"#,
    r#"{{ ([1] * 1000000000)|length }}"#,
    r#"{{ ([1] * 10**30)|length }}"#,
    r#"{{ 2**1000000000 }}"#,
    r#"{{ (10**10000)**10000 }}"#,
    r#"{{ 2**(2**100) }}"#,
    r#"{% set ns = namespace(n=3) %}{% for i in range(60) %}{% set ns.n = ns.n * ns.n %}{% endfor %}"#,
    r#"{% set a = 3**600000 %}{% for i in range(100000) %}{% set b = a // 7 %}{% set c = a * a %}{% endfor %}"#,
    r#"{% set a = 3**600000 %}{% set b = 7**300000 %}{% for i in range(100000) %}{% set c = a % b %}{% endfor %}"#,
    r#"{% for i in range(100000) %}{% set a = 3**600000 %}{% endfor %}"#,
    r#"{% set a = 3**600000 %}{% set b = 7**300000 %}{% for i in range(100000) %}{% set c = a / b %}{% endfor %}"#,
    r#"{% set a = 3**600000 %}{% for i in range(100000) %}{% set c = a == a + 1 %}{% set d = a < 1.5 %}{% endfor %}"#,
    r#"{% set a = 3**600000 %}{% for i in range(100000) %}{% set c = a|abs %}{% set c = -a %}{% set c=a|int %}{% endfor %}"#,
    r#"{% set ns=namespace(l=[]) %}{% set a = 3**600000 %}{% for i in range(100000) %}{% set ns.l = [ns.l, a+i] %}{% endfor %}"#,
    r#"{% set a = 3**600000 %}{% for i in range(100000) %}{% if a is odd %}{% endif %}{% set x = a.bit_length() %}{% endfor %}"#,
    r#"{% set a = 3**600000 %}{% for i in range(100000) %}{% set x = '%x' % a %}{% endfor %}"#,
    r#"{% for i in range(1000000000) %}x{% endfor %}"#,
    r#"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"#,
    r#"{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"#,
    r#"{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"#,
    r#"{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"#,
    r#"{% set ns = namespace(l=[1]) %}{% for i in range(9000) %}{% set ns.l = ns.l[0:][0:][0:][0:][0:][0:][0:][0:][0:][0:][0:][0:][0:][0:][0:][0:][0:][0:][0:][0:] %}{% endfor %}"#,
    r#"{% set l = [1]*1000000 %}{% for i in range(100000) %}{% set k = l[:] %}{% endfor %}"#,
    r#"{% set l = 'é'*1000000 %}{% for i in range(100000) %}{% set k = l[500000] %}{% endfor %}"#,
    r#"{% set l = 'a'*1000000 %}{% for i in range(100000) %}{% set k = l.find('b') %}{% endfor %}"#,
    r#"{% set l = 'a'*1000000 %}{% for i in range(100000) %}{% set k = l.count('a') %}{% endfor %}"#,
    r#"{% set l = 'a'*100000 %}{% set b = 'b' ~ 'a'*50000 %}{% for i in range(100000) %}{% set k = l.rfind(b) %}{% endfor %}"#,
    r#"{% set l = 'a'*100000 %}{% set b = 'a'*50000~'b' %}{% for i in range(100000) %}{% set k = l.find(b) %}{% endfor %}"#,
    r#"{% set l = 'a '*1000000 %}{% for i in range(1000) %}{% set k = l.split() %}{% endfor %}"#,
    r#"{{ ('a'*30000000).split('a')|length }}"#,
    r#"{{ ('a'*30000000)|list|length }}"#,
    r#"{{ ('é'*30000000)|list|length }}"#,
    r#"{% set l = 'ß'*1000000 %}{% for i in range(1000) %}{% set k = l.upper() %}{% endfor %}"#,
    r#"{% set l = ' '*1000000 %}{% set c = 'abcdefgh'*10000 %}{% for i in range(1000) %}{% set k = l.strip(c) %}{% endfor %}"#,
    r#"{% set l = 'é'*1000000 %}{% set c = 'abcdefgh'*10000~'é' %}{% for i in range(1000) %}{% set k = l.strip(c) %}{% endfor %}"#,
    r#"{% set l = 'aé'*1000000 %}{% for i in range(1000) %}{% set k = l.title() %}{% set k=l|title %}{% endfor %}"#,
    r#"{% set l = 'é'*1000000 %}{% for i in range(1000) %}{% set k = l.isprintable() %}{% set k = l.isalnum() %}{% endfor %}"#,
    r#"{% set l = 'é'*1000000 %}{% for i in range(1000) %}{% set k = [l]|string %}{% endfor %}"#,
    r#"{% set l = '\n'*1000000 %}{% for i in range(1000) %}{% set k = l|tojson %}{% endfor %}"#,
    r#"{% set l = '😀'*1000000 %}{% for i in range(1000) %}{% set k = l|tojson(true) %}{% endfor %}"#,
    r#"{% set l = 'é'*1000000 %}{% for i in range(1000) %}{% set k = l|urlencode %}{% endfor %}"#,
    r#"{% set l = '&'*1000000 %}{% for i in range(1000) %}{% set k = l|e %}{% endfor %}"#,
    r#"{{ ('<'*10000000)|striptags|length }}"#,
    r#"{% set l='<a>&lt;'*100000 %}{% for i in range(1000) %}{% set k = l|striptags %}{% endfor %}"#,
    r#"{% set l='é '*100000 %}{% for i in range(1000) %}{% set k = l|wordcount %}{% endfor %}"#,
    r#"{% set l = range(100000)|map('string')|list %}{% for i in range(1000) %}{% set k = l|sort %}{% endfor %}"#,
    r#"{% set l = range(100000)|map('string')|list %}{% for i in range(1000) %}{% set k = l|unique|list %}{% endfor %}"#,
    r#"{% set l = range(100000)|list %}{% for i in range(1000) %}{% set k = l|groupby(none) %}{% endfor %}"#,
    r#"{{ [1]|batch(1000000000,0)|list|length }}"#,
    r#"{{ [1]|slice(1000000000)|list|length }}"#,
    r#"{{ ([[1]*1000]*100000)|sum(start=[])|length }}"#,
    r#"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"#,
    r#"{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}"#,
    r#"{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}"#,
    r#"{% macro m(n) %}{% if n %}{% call m(n-1) %}{{ caller() }}{% endcall %}{% else %}{{ caller() }}{% endif %}{% endmacro %}{% call m(200) %}x{% endcall %}"#,
    r#"{% set ns = namespace(l=1) %}{% for i in range(90000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}"#,
    r#"{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}"#,
    r#"{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a|tojson }}"#,
    r#"{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns == ns }}{{ [ns]==[ns] }}"#,
    r#"{% set ns = namespace() %}{% for i in range(100000) %}{% set m = namespace(n=ns.x) %}{% set ns.x = m %}{% endfor %}{{ ns }}"#,
    r#"{% set ns = namespace() %}{% for i in range(100000) %}{% set f = ns.f %}{% macro m() %}{{ f }}{% endmacro %}{% set ns.f = m %}{% endfor %}"#,
    r#"{% set ns = namespace() %}{% for i in range(100000) %}{% for j in [ns.l] %}{% set ns.l = loop %}{% endfor %}{% endfor %}"#,
    r#"{% set ns = namespace() %}{% for i in range(100000) %}{% set ns.l = cycler(ns.l) %}{% endfor %}"#,
    r#"{% set ns = namespace(l=[1]) %}{% for i in range(100000) %}{% set ns.l = [ns.l.index] %}{% endfor %}"#,
    r#"{{ strftime_now('%A' * 10000000)|length }}"#,
    r#"{% set d = dict([(1,2)]) %}{{ dict(**d) }}"#,
    r#"{% set ns=namespace(l=[]) %}{% for i in range(20000) %}{% set ns.l = ns.l + [(i|string,1)] %}{% endfor %}{% set d = dict(ns.l) %}{% macro m() %}{{ kwargs|length }}{% endmacro %}{{ m(**d) }}"#,
    r#"{% set s='x'*1000000 %}{% for i in range(1000) %}{% set x %}{{ s }}{% endset %}{% endfor %}"#,
    r#"{% set ns=namespace(l=[]) %}{% set s='x'*1000000 %}{% for i in range(1000) %}{% set ns.l = [ns.l, s ~ i] %}{% endfor %}"#,
    r#"{{ range(100000)|map('replace', *(['a']*3))|list|length }}"#,
    r#"{% macro m() %}{{ varargs|length }}{% endmacro %}{% set l=[1]*3000000 %}{% for i in range(1000) %}{{ m(*l) }}{% endfor %}"#,
    r#"{{ ('{:'*100000).format(1) }}"#,
    r#"{{ ('%('*1000000) % {} }}"#,
    r#"{% set l = range(100000)|list %}{% for i in range(1000) %}{% set d = dict.fromkeys %}{% set d = {}.fromkeys(l) %}{% endfor %}"#,
    r#"{% set d = {}.fromkeys(range(100000)) %}{% set e = {}.fromkeys(range(100000)) %}{% for i in range(1000) %}{% if d == e %}{% endif %}{% endfor %}"#,
    r#"{% set d = {}.fromkeys(range(100000)) %}{% for i in range(1000) %}{% set k=d|dictsort %}{% set k = d|tojson(sort_keys=true)%}{% endfor %}"#,
    r#"{% set s='1'*4000 %}{% for i in range(100000) %}{% set x = s|int %}{% endfor %}"#,
    r#"{% set s='z'*4000 %}{% for i in range(100000) %}{% set x = s|int(0,36) %}{% endfor %}"#,
    r#"{% set s='1'*1000000 %}{% for i in range(1000) %}{% set x = s|float %}{% endfor %}"#,
    r#"{% set s=10**4200 %}{% for i in range(100000) %}{% set x = s|string %}{% endfor %}"#,
    r#"{% for i in range(100000) %}{% set x = '%.1000f' % 1e300 %}{% set y = '%.1000g' % 1e-300 %}{% endfor %}"#,
    r#"{% for i in range(100000) %}{% set x = 1e-300|round(400) %}{% endfor %}"#,
    r#"{% set l='aé'*1000000 %}{% for i in range(1000) %}{% set x=l.swapcase() %}{% set x=l.casefold() %}{% set x=l.capitalize()%}{% endfor %}"#,
    r#"{% set l='a\n'*1000000 %}{% for i in range(1000) %}{% set x=l.splitlines() %}{% endfor %}"#,
    r#"{% set l='a'*10000000 %}{% for i in range(1000) %}{% set x=l.splitlines() %}{% endfor %}"#,
    r#"{% set l='é'*10000000 %}{% for i in range(1000) %}{% set x=l|truncate(9000000) %}{% endfor %}"#,
    r#"{{ raise_exception('x\n' * 10000000) }}"#,
    r#"{% set d = {}.fromkeys(range(100000)) %}{% for i in range(1000) %}{% for k,v in d.items() %}{% endfor %}{% endfor %}"#,
    r#"{% set l='a'*10000000 %}{% for i in range(100000) %}{% set x=l.startswith(l) %}{% set y = l.removeprefix(l) %}{% endfor %}"#,
    r#"{% set l=v*1000000 %}{% for i in range(1000) %}{% set x=l.split('<') %}{% endfor %}"#,
    r#"{% set l=v*1000000 %}{% for i in range(1000) %}{% set x=l.count('<') %}{% set y = l == l.upper() %}{% endfor %}"#,
];
