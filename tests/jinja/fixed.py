"""Snippets by hand: what Python's Jinja does otherwise than other template engines do.

    python3 fixed.py > cases.json

All of them see the same conversation. `M` is its first message.
"""

import json
import sys

GIVEN = r"""{"messages": [{"role": "user", "content": "they're bill's friends", "s": "  a,b,,c ", "big": 123456789012345678901234567890,
"f": 1e16, "g": 1e-05, "h": 1E400, "z": -0.0, "m": 0.1, "i": 7, "neg": -7, "one": 1.0, "u": "Straße ǅ İ ﬁ", "emoji": "😀e\u0301",
"q": "\"q\" '\\ \n\t\u0000\u007f\u2028<&>", "crlf": "a\r\nb\rc\u2028d\u000be", "fs": "\u001c x \u001f\u00a0", "empty": [], "none": null,
"l": [3, 1, 2], "w": ["b", "A", "a", "B", "é", "z", "Z", "_"], "mix": [1, "a", null, true, 1.5, [2, {"k": "v"}]], "ll": [[1, [2, 3]], [4]],
"d": {"b": 1, "A": 2, "a": 3, "é": 4, "Z": 5}, "odd": {"items": "i", "keys": 1, "": 0, "k\"q": {"x": [1, 2, null]}, "new\nline": true},
"r": [{"g": "a", "k": 2, "x": {"y": 1}}, {"g": "B", "k": 1}, {"g": "A", "k": 3, "x": {"y": 2}}, {"g": "b", "k": null}]},
{"content": "answer", "role": "assistant"}], "tools": [{"type": "function", "function": {"name": "f", "description": "é<b>", "parameters": {"z": 1, "a": [1.0, 2e16]}}}]}"""

SNIPPETS = r"""
{{ M.content | title }}
{{ M.content.title() }}
{{ "o'neill-smith 3rd x1y" | title }}|{{ "o'neill-smith 3rd x1y".title() }}|{{ M.u | title }}
{{ M.u.upper() }}|{{ M.u.lower() }}|{{ M.u.swapcase() }}|{{ M.u.casefold() }}|{{ M.u.capitalize() }}|{{ M.u | capitalize }}
{{ 'ΑΣ ΑΣΑ Σ'.lower() }}|{{ 'ŉ'.upper() }}|{{ 'ǆa'.title() }}
{{ M.s.split(',') }}|{{ M.s.rsplit(',', 1) }}|{{ M.s.split(',', 1) }}|{{ M.s.split() }}|{{ 'a b  c'.split(none, 1) }}|{{ '  a b  '.rsplit(none, 1) }}
{{ 'abc'.split('') }}
{{ M.s.partition(',') }}|{{ M.s.rpartition(',') }}|{{ 'x'.partition(',') }}|{{ 'x'.rpartition(',') }}
{{ 'abcabc'.index('c') }}|{{ 'abcabc'.rindex('c') }}|{{ 'abc'.find('z') }}|{{ 'abcabc'.find('a', 1) }}|{{ 'abcabc'.count('bc', 2) }}
{{ 'abc'.index('z') }}
{{ 'xxabcyx'.strip('xy') }}|{{ 'xxabcyx'.lstrip('x') }}|{{ 'xxabcyx'.rstrip('x') }}|{{ 'xxabcyx' | trim('x') }}|[{{ M.fs.strip() }}]|[{{ M.fs | trim }}]
[{{ '\ufeff a \u200b'.strip() }}]|[{{ '\x85a\u2028'.strip() }}]
{{ M.crlf.splitlines() }}|{{ M.crlf.splitlines(true) }}|{{ M.crlf | length }}|{{ ''.splitlines() }}|{{ 'a\n'.splitlines() }}
{{ 'abc'.startswith(('x', 'a')) }}|{{ 'abc'.endswith('bc', 2) }}|{{ ''.startswith('') }}
{{ 'aaa'.replace('a', 'b', 2) }}|{{ 'abc'.replace('', '-') }}|{{ 'aaa' | replace('a', 'b', 2) }}|{{ 'a1b1' | replace(1, 2) }}
{{ '7'.zfill(3) }}|{{ '-7'.zfill(4) }}|{{ 'a'.center(4, '*') }}|{{ 'ab'.center(5) }}|{{ 'ab'.ljust(4) }}|{{ 'ab'.rjust(4, '.') }}
{{ 'a\tbc\td'.expandtabs(4) }}|{{ 'abc'.removeprefix('a') }}|{{ 'abc'.removesuffix('bc') }}|{{ '-'.join(['a', 'b']) }}|{{ '-'.join('abc') }}
{{ '-'.join([1, 2]) }}
{{ '½'.isnumeric() }}|{{ '½'.isdigit() }}|{{ '²'.isdigit() }}|{{ '²'.isdecimal() }}|{{ '٣'.isdecimal() }}|{{ '日'.isalpha() }}|{{ 'a b'.isprintable() }}|{{ ''.isascii() }}|{{ 'Ab Cd'.istitle() }}|{{ 'if'.isidentifier() }}
{{ '%s and %r' % ('a', "it's") }}|{{ '%5.2f|%-5d|%+d|%05d|%x|%o|%e|%g|%c|%%' % (3.14159, 42, 42, 42, 255, 8, 12345.678, 1e20, 'x') }}
{{ '%d' % 3.99 }}|{{ '%s' % [1, 'a'] }}|{{ '%(a)s-%(b)05.1f' % {'a': 1, 'b': 2.25} }}|{{ '%s' % none }}
{{ '%s %s' % 'a' }}
{{ '%d' % 'a' }}
{{ '{} {}'.format(1, 'a') }}|{{ '{1}{0}'.format(1, 2) }}|{{ '{x!r:>6}'.format(x='a') }}|{{ '{:,}'.format(1234567) }}|{{ '{:.3f}'.format(2) }}|{{ '{{}}'.format() }}|{{ '{0[a]}'.format({'a': 3}) }}|{{ '{:>{w}}'.format('x', w=4) }}
{{ '{}'.format() }}
{{ "%s-%s" | format("a", 2) }}|{{ "%(x)s" | format(x=3) }}
{{ M.emoji | length }}|{{ M.emoji[0] }}|{{ M.emoji[::-1] }}|{{ M.emoji | reverse }}|{{ M.emoji | upper }}|{{ M.emoji | list }}
{{ 'abcdef'[1:4] }}|{{ 'abcdef'[::-1] }}|{{ 'abcdef'[-1:0:-2] }}|{{ 'abcdef'[:-2] }}|{{ 'abcdef'[10:] }}|{{ 'abcdef'[-100:2] }}|{{ M.l[::-1] }}|{{ M.l[-2:] }}|{{ M.l[5:1] }}|{{ (1, 2, 3)[::2] }}
{{ M.l[::0] }}
{{ M.l[99] }}|{{ M.l[-1] }}|{{ M.l['a'] }}|{{ M.l[1.0] }}|{{ 'abc'[5] }}|{{ M.l[true] }}
{{ M.big }}|{{ M.big + 1 }}|{{ M.big * M.big }}|{{ -M.big // 7 }}|{{ M.big % 1000 }}|{{ M.big | tojson }}|{{ M.big / 10 }}|{{ M.big | string | length }}|{{ 2 ** 100 }}
{{ 9223372036854775807 + 1 }}|{{ -9223372036854775808 - 1 }}|{{ 18446744073709551616 }}|{{ 9223372036854775807 * 2 }}|{{ 4611686018427387904 * -2 }}
{{ M.f }}|{{ M.g }}|{{ M.h }}|{{ M.z }}|{{ M.m }}|{{ M.one }}|{{ -M.h }}|{{ M.h - M.h }}|{{ [M.f, M.g, M.h, M.z] }}|{{ [M.f, M.g, M.h, M.z, M.one] | tojson }}
{{ 1e15 }}|{{ 1e16 }}|{{ 123456789012345.6 }}|{{ 0.0001 }}|{{ 0.00001 }}|{{ 1.0e0 }}|{{ 100.0 }}|{{ 1e22 }}|{{ 1e300 * 1e10 }}|{{ 0.1 + 0.2 }}|{{ 5e-324 }}|{{ 1_000 }}|{{ 0xff }}|{{ 0b11 }}|{{ 0o17 }}|{{ 1_0.5e1 }}
{{ 7 // 2 }}|{{ -7 // 2 }}|{{ 7 // -2 }}|{{ -7 % 3 }}|{{ 7 % -3 }}|{{ -7.5 // 2 }}|{{ -7.5 % 2 }}|{{ 7 / 2 }}|{{ 6 / 2 }}|{{ 2 ** 10 }}|{{ 2 ** -1 }}|{{ -2 ** 2 }}|{{ 2 ** 3 ** 2 }}|{{ 2 ** 0.5 }}|{{ 0 ** 0 }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1.0 % 0 }}
{{ true + true }}|{{ true * 3 }}|{{ 1 == true }}|{{ 1 == 1.0 }}|{{ '1' == 1 }}|{{ 0 == false }}|{{ none == false }}|{{ [1] == [1.0] }}|{{ (1,) == [1] }}|{{ {'a': 1} == {'a': 1.0} }}|{{ -true }}
{{ 'a' + 1 }}
{{ 'a' ~ 1 ~ none ~ 1.0 ~ true ~ [1] ~ nope }}
{{ 'ab' * 3 }}|{{ 3 * 'ab' }}|{{ [1] * 2 }}|{{ 'ab' * -1 }}|{{ (1, 2) * 2 }}|{{ [1] + [2] }}|{{ (1,) + (2,) }}
{{ [1] + (2,) }}
{{ M.mix }}|{{ M.mix | string }}|{{ M.mix | tojson }}|{{ M.odd }}|{{ M.odd | tojson }}
{{ [none, true, 'a', "it's", 'q"', "both'\"", '\n\t\\', 'é', '\x00\x7f\xa0\u200b\u2028', 1.0] }}
{{ (1,) }}|{{ () }}|{{ (1, 'a') }}|{{ [] }}|{{ {} }}|{{ {1: 'a', 'b': [2]} }}|{{ {(1, 2): none} }}|{{ [[(1,)]] }}
{{ {'a': 1, 'a': 2, 1: 'x', true: 'y', 1.0: 'z'} }}
{{ {[1]: 2} }}
{{ M.q }}|{{ M.q | tojson }}|{{ M.q | tojson(ensure_ascii=true) }}|{{ [M.q] }}
{{ M.emoji | tojson }}|{{ M.emoji | tojson(ensure_ascii=true) }}|{{ '\x7f\x80' | tojson }}|{{ '\x7f\x80' | tojson(true) }}
{{ M.d | tojson(sort_keys=true) }}|{{ M.odd | tojson(sort_keys=true, indent=2) }}|{{ M.odd | tojson(indent=2) }}
{{ M.mix | tojson(indent=4) }}|{{ [] | tojson(indent=2) }}|{{ {} | tojson(indent=2) }}|{{ [[]] | tojson(indent=1) }}|{{ M.l | tojson(indent=0) }}|{{ M.l | tojson(indent='\t') }}|{{ M.l | tojson(indent=-1) }}|{{ M.l | tojson(indent=true) }}
{{ M.d | tojson(separators=(',', ':')) }}|{{ M.d | tojson(indent=1, separators=(' ;', '=')) }}|{{ M.d | tojson(separators=[',', ':']) }}|{{ M.l | tojson(false, none, (',', ':'), true) }}
{{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}
{{ {1: 2, 'a': 3} | tojson(sort_keys=true) }}
{{ {10: 1, 9: 2} | tojson(sort_keys=true) }}
{{ {(1, 2): 3} | tojson }}
{{ nope | tojson }}
{{ (1, 2) | tojson }}|{{ range(3) | list | tojson }}|{{ 'x' | tojson }}|{{ none | tojson }}|{{ true | tojson }}|{{ M.h | tojson }}|{{ (M.h - M.h) | tojson }}
{{ range(3) | tojson }}
{{ M.d.items() | tojson }}
{{ tools | tojson }}|{{ tools[0].function | tojson(indent=2) }}|{{ tools | string }}
{{ messages[1] }}|{{ messages[1] | tojson }}|{{ messages[1].items() | list }}|{{ messages | length }}
{{ documents is none }}|{{ documents }}|{{ documents is defined }}|{{ tools is none }}|{{ M.none is defined }}|{{ enable_thinking }}|{{ add_generation_prompt }}
{{ M.d | dictsort }}|{{ M.d | dictsort(true) }}|{{ M.d | dictsort(by='value') }}|{{ M.d | dictsort(false, 'key', true) }}|{{ M.d | dictsort(reverse=true, by='value') }}
{{ M.d | dictsort(by='x') }}
{{ M.w | sort }}|{{ M.w | sort(case_sensitive=true) }}|{{ M.w | sort(true) }}|{{ M.w | sort(reverse=true, case_sensitive=true) }}|{{ ['ä', 'z', 'Ä', 'ß', 'ss', '😀', '\uffff'] | sort }}
{{ M.r | sort(attribute='k') }}
{{ M.r | sort(attribute='g') | map(attribute='k') | list }}|{{ M.r[:3] | sort(attribute='g,k') | map(attribute='k') | list }}|{{ M.r[:3] | sort(attribute='k', reverse=true) | map(attribute='g') | join }}
{{ [1, 'a'] | sort }}
{{ [2, 1.5, true] | sort }}|{{ [[2, 1], [1, 3]] | sort }}|{{ 'hello' | sort | join }}|{{ M.d | sort }}
{{ M.w | unique | list }}|{{ M.w | unique(true) | list }}|{{ [1, 1.0, true, '1'] | unique | list }}|{{ M.r | unique(attribute='g') | map(attribute='k') | list }}
{{ M.w | min }}|{{ M.w | max }}|{{ M.l | min }}|{{ [] | max }}|{{ M.r[:3] | max(attribute='k') }}|{{ ['b', 'A'] | min(true) }}
{{ M.l | sum }}|{{ M.r[:3] | sum(attribute='k') }}|{{ [1.5, 2] | sum(start=1) }}|{{ [] | sum }}
{{ [0.1] * 10 | sum }}
{{ ['a'] | sum }}
{% for g in M.r | groupby('g') %}{{ g.grouper }}={{ g.list | map(attribute='k') | list }};{% endfor %}|{% for g, items in M.r | groupby('g', case_sensitive=true) %}{{ g }}:{{ items | length }};{% endfor %}
{% for g, items in M.r | groupby('x.y', default=0) %}{{ g }}:{{ items | length }};{% endfor %}{{ (M.r | groupby('g')) }}
{{ M.r | map(attribute='x.y') | list }}
{{ M.r | map(attribute='x.y', default='-') | list }}|{{ M.r | map(attribute='k', default=9) | list }}|{{ M.ll | map(attribute=0) | list }}|{{ M.ll | map(attribute='0') | list }}
{{ M.r | selectattr('k') | map(attribute='g') | join(',') }}|{{ M.r | rejectattr('x', 'defined') | map(attribute='g') | join }}|{{ M.r | selectattr('g', 'in', 'aA') | list | length }}
{{ M.r | selectattr('x.y', 'eq', 2) | list }}
{{ [M.r[0], M.r[2]] | selectattr('x.y', 'eq', 2) | list }}
{{ M.l | select('gt', 1) | list }}|{{ M.l | select('odd') | list }}|{{ M.mix | reject('none') | list }}|{{ [0, 1, '', 'a', [], none] | select | list }}|{{ M.l | map('string') | list }}|{{ M.w | map('upper') | join }}|{{ M.l | select('divisibleby', 2) | list }}
{{ M.l | select('nope') | list }}
{{ M.l | map('nope') | list }}
{{ M.l | map | list }}
{{ M.l | nope }}
{{ M.l is nope }}
{% if false %}{{ M.l | nope }}{% endif %}ok
{% if false %}{{ nope() }}{{ nope.x.y }}{% endif %}ok
{{ [1, 2, 3, 4, 5] | batch(2) | list }}|{{ [1, 2, 3] | batch(2, 'x') | list }}|{{ [1, 2, 3, 4, 5] | slice(2) | list }}|{{ [1, 2, 3, 4, 5] | slice(3, 0) | list }}
{{ M.l | first }}|{{ M.l | last }}|{{ [] | first }}|{{ 'abc' | last }}|{{ M.d | first }}|{{ M.d | last }}|{{ '' | first }}|{{ M.d | length }}|{{ M.l | reverse | list }}
{{ M.l | join(', ') }}|{{ M.mix | join('|') }}|{{ M.r | join(',', attribute='g') }}|{{ 'abc' | join('-') }}|{{ M.d | join }}|{{ [] | join }}
{{ 3.7 | int }}|{{ '3.7' | int }}|{{ 'x' | int }}|{{ 'x' | int(9) }}|{{ '0x1f' | int(0, 16) }}|{{ '1_000' | int }}|{{ ' 5 ' | int }}|{{ none | int }}|{{ 1e30 | int }}|{{ '٣' | int }}
{{ M.h | int }}
{{ '1.5' | float }}|{{ 'x' | float }}|{{ 'inf' | float }}|{{ 'nan' | float }}|{{ '1e400' | float }}|{{ ' 1_0.5 ' | float }}|{{ 3 | float }}|{{ none | float(2) }}|{{ M.big | float }}
{{ 2.5 | round }}|{{ 3.5 | round }}|{{ 2.675 | round(2) }}|{{ 1234.5 | round(-2) }}|{{ 2.1 | round(0, 'ceil') }}|{{ -2.1 | round(0, 'floor') }}|{{ 5 | round }}|{{ 0.15 | round(1) }}|{{ 42 | round(1) }}|{{ -0.4 | round }}
{{ 2.5 | round(1, 'x') }}
{{ -3 | abs }}|{{ (-3) | abs }}|{{ -0.0 | abs }}|{{ M.z | abs }}|{{ -M.neg }}|{{ +M.i }}|{{ - -3 }}
{{ 'foo bar baz qux' | truncate(9) }}|{{ 'foo bar baz qux' | truncate(9, true) }}|{{ 'foo bar baz qux' | truncate(11) }}|{{ 'foo bar baz qux' | truncate(11, false, '...', 0) }}|{{ 'ab' | truncate(1, true, '') }}
{{ 'a b c d e f g' | wordwrap(3) }}|{{ 'abcdefgh ij' | wordwrap(4) }}|{{ 'abcdefgh' | wordwrap(4, false) }}|{{ 'hello-world foo' | wordwrap(7) }}|{{ 'a\nb c' | wordwrap(10, true, '/') }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb\n\nc' | indent(2, true) }}|{{ 'a\nb\n\nc' | indent(2, blank=true) }}|{{ 'a\nb' | indent('>> ', first=true) }}|{{ 'a\r\nb\n' | indent }}
{{ 'one two-three it\'s x_y' | wordcount }}|{{ 'hello' | center(11) }}|{{ '<p>a  <b>b</b>\n c</p>&amp;' | striptags }}|{{ 'ä b/c?d&e' | urlencode }}|{{ {'a b': 1, 'c': 'ä'} | urlencode }}|{{ 1500 | filesizeformat }}|{{ 1 | filesizeformat }}|{{ 1500000 | filesizeformat(true) }}
{{ '<a href="x">\'&' | e }}|{{ ('<' | e) ~ '<' }}|{{ '<' | forceescape }}|{{ '<' | safe }}|{{ 5 | e }}|{{ ['<'] | e }}
{{ 'a' | default('x') }}|{{ nope | default('x') }}|{{ nope | default }}|{{ '' | default('x') }}|{{ '' | default('x', true) }}|{{ none | default('x') }}|{{ none | default('x', boolean=true) }}|{{ M.nope | d(M.also) | d('y') }}|{{ 0 | default(1, true) }}
{{ M.odd.items }}
{{ M.odd['items'] }}|{{ M.odd.keys() | list }}|{{ M.odd['keys'] }}|{{ M.odd.get('keys') }}|{{ M.odd.get('nope', 5) }}|{{ M.odd['k"q'].x[2] }}|{{ M.odd.nope }}|{{ M.odd | items | list }}|{{ M.d.values() | list }}|{{ M.d.keys() }}|{{ M.d.items() }}|{{ M.d.values() }}
{{ nope }}|{{ nope is defined }}|{{ nope is undefined }}|{{ M.nope is defined }}|{{ nope | length }}|{{ nope | list }}|{{ nope ~ 'x' }}|{{ 'x' if nope }}|{{ nope == nope2 }}|{{ nope == none }}|{{ not nope }}|{{ nope in [nope] }}|{% for x in nope %}{{ x }}{% endfor %}|{{ [nope] }}|{{ nope | upper }}|{{ nope | join }}
{{ nope.x }}
{{ nope + 1 }}
{{ nope() }}
{{ nope < 1 }}
{{ M.nope.x }}
{{ M.nope['x'] }}
{{ -nope }}
{{ nope | int }}
{{ nope | float }}
{{ nope | string }}|{{ nope | default(nope2) }}|{{ nope | first }}|{{ nope | sum }}|{{ nope | trim }}|{{ nope | replace('a', 'b') }}|{{ nope | sort }}|{{ nope | unique | list }}|{{ nope | reverse | list }}
{{ nope | abs }}
{{ nope | dictsort }}
{{ nope | items | list }}|{{ nope | min }}|{{ nope[0] is defined }}
{{ nope[0] }}
{{ 'a' in nope }}|{{ nope is iterable }}|{{ nope is sequence }}|{{ nope is mapping }}|{{ nope is string }}|{{ nope ~ nope }}|{{ nope and 1 }}|{{ nope or 1 }}
{{ 'a' + nope }}
{{ nope == 1 }}|{{ nope != 1 }}|{{ M[nope] is defined }}|{{ [1][nope] is defined }}
{{ 'a' in 'abc' }}|{{ 'a' not in 'abc' }}|{{ not 'a' in 'abc' }}|{{ 1 in [1.0] }}|{{ 'b' in M.d }}|{{ '' in '' }}|{{ 2 in (1, 2) }}|{{ none in [none] }}
{{ 1 in 'abc' }}
{{ 1 in 5 }}
{{ 1 < 2 < 3 }}|{{ 1 < 3 < 2 }}|{{ 3 > 2 == 2 }}|{{ 1 == 1 != 2 }}|{{ 'a' < 'b' }}|{{ 'Z' < 'a' }}|{{ [1, 2] < [1, 3] }}|{{ (1, 2) < (1, 2, 0) }}|{{ 1 in [1] == true }}|{{ '\uffff' < '😀' }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ [1] < (2,) }}
{{ {} < {} }}
{{ 0 or 'x' }}|{{ 'a' and 'b' }}|{{ '' and nope }}|{{ none or false }}|{{ not none }}|{{ 1 if 0 else 2 }}|{{ 1 if 0 }}|{{ true and not false or false }}|{{ [] or {} or 'z' }}
{{ 1 is number }}|{{ true is number }}|{{ true is integer }}|{{ 1 is boolean }}|{{ 1.0 is float }}|{{ 'a' is string }}|{{ [] is sequence }}|{{ 'a' is sequence }}|{{ {} is sequence }}|{{ {} is mapping }}|{{ {} is iterable }}|{{ 5 is iterable }}|{{ none is none }}|{{ range(2) is sequence }}|{{ nope is none }}|{{ () is sequence }}
{{ 4 is even }}|{{ 4 is divisibleby 2 }}|{{ 'ab' is lower }}|{{ 'AB' is upper }}|{{ 1 is sameas true }}|{{ 3 is in [3] }}|{{ 2 is gt 1 }}|{{ 2 is not lessthan(1) }}|{{ 'x' is eq 'x' }}|{{ range is callable }}|{{ 'upper' is filter }}|{{ 'nope' is filter }}|{{ 'odd' is test }}|{{ not 1 is none }}|{{ 1 + 1 is eq 2 }}|{{ true is true }}|{{ 1 is true }}|{{ 3 is odd and 2 is even }}
{{ 'a' is even }}
{{ 3 is divisibleby 0 }}
{{ 2 + 3 | string }}
{{ -1 | string }}
{{ 2 ~ 3 | string }}
{{ 7 - 2 ~ 'x' }}
{{ 10 - 2 - 3 }}|{{ 2 + 3 * 4 }}|{{ (2 + 3) * 4 }}|{{ 'a' ~ 1 + 2 }}|{{ not 1 == 2 }}|{{ 1 + 2 == 3 and 'y' }}|{{ -2 ** -2 }}|{{ 'a' 'b' "c" }}|{{ 100 // 7 % 4 }}|{{ 8 / 2 / 2 }}
{% set x = 1 %}{% for i in [1, 2] %}{% set x = i + 10 %}{{ x }},{% endfor %}{{ x }}|{% if true %}{% set x = 5 %}{% endif %}{{ x }}|{% with %}{% set x = 9 %}{{ x }}{% endwith %}{{ x }}
{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}|{% macro m() %}{% set x = 3 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}|{% filter upper %}{% set x = 'f' %}{{ x }}{% endfilter %}{{ x }}|{% set y %}{% set x = 7 %}{{ x }}{% endset %}{{ x }}{{ y }}
{% for i in [1, 2, 3] %}{{ x }}{% set x = i %}{{ x }};{% endfor %}{{ x }}
{% set ns = namespace(a=1, b=[]) %}{% for i in M.l %}{% set ns.a = ns.a + i %}{% set ns.c = i %}{% endfor %}{{ ns.a }}{{ ns.c }}{{ ns.nope }}{{ ns.b }}
{% set ns = namespace({'k': 1}) %}{{ ns.k }}{{ ns['k'] }}{% set ns.k = 2 %}{{ ns.k }}|{% set x = {} %}{{ x }}
{% set x = {} %}{% set x.a = 1 %}
{% set ns = namespace() %}{% set ns._a = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}|{% set a, b = 'xy' %}{{ a }}{{ b }}|{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}|{% for k, v in M.d.items() %}{{ k }}{{ v }}{% endfor %}|{% for k in M.d %}{{ k }}{% endfor %}
{% set a, b = [1] %}
{% for a, b in [1, 2] %}{% endfor %}
{% for i in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.cycle('a', 'b') }};{% endfor %}
{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{{ loop.previtem is defined }}{{ loop.nextitem is defined }};{% endfor %}|{% for i in [1] %}{% for j in [2] %}{{ loop.depth }}{% endfor %}{% endfor %}
{% for i in M.l if i > 1 %}{{ i }}{{ loop.index }}/{{ loop.length }} {% else %}none{% endfor %}|{% for i in [] %}{% else %}none{% endfor %}|{% for i in M.l if i > 9 %}{% else %}none{% endfor %}
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% else %}e{% endfor %}|{% for i in [1, 2] %}{% break %}{% else %}e{% endfor %}
{% break %}
{% for x in M.ll recursive %}[{% if x is sequence %}{{ loop(x) }}{% else %}{{ x }}@{{ loop.depth0 }}{% endif %}]{% endfor %}
{{ loop }}
{% for i in 'ab' %}{{ i }}{% endfor %}
{% for i in 5 %}{% endfor %}
{% for i in M.l %}{{ i }}{% set l = loop %}{% for j in 'x' %}{{ l.index }}{{ j }}{% endfor %}{% endfor %}
{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}-{{ varargs }}-{{ kwargs }}{% endmacro %}{{ m(1) }}|{{ m(1, 2, 3, 4, 5) }}|{{ m(b=1, a=0, z=9) }}|{{ m() }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m() }}|{{ m(*[1]) }}|{{ m(**{'a': 3}) }}|{{ m.name }}|{{ m.arguments }}|{{ m.catch_kwargs }}|{{ m.caller }}|{{ m(1) | upper }}|{{ m('<') }}
{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{{ M.i }}{% endcall %}|{% macro n() %}{{ caller('a', b=2) }}{% endmacro %}{% call(p, b) n() %}{{ p }}{{ b }}{% endcall %}
{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}{% call m() %}{% endcall %}
{% macro m() %}x{% endmacro %}{% call m() %}{% endcall %}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}|{% set g = f %}{{ g(1) }}
{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}|{% for i in [1] %}{% macro q() %}{{ i }}{{ x }}{% endmacro %}{{ q() }}{% endfor %}{{ q is defined }}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}|{% set j = joiner('; ') %}{% for i in M.l %}{{ j() }}{{ i }}{% endfor %}|{{ range(5) | list }}{{ range(5, 1, -2) | list }}{{ range(3) }}{{ dict(a=1, **{'b': 2}) }}{{ dict([('x', 1)]) }}
{{ range(1, 10, 0) }}
{{ range(200000) }}
{{ raise_exception('no ' ~ 1) }}
{{ M.l.append(4) }}
{{ M.d.pop('a') }}
{{ M.d.update(x=1) }}
{{ M.l.sort() }}
{{ M.d.copy() }}|{{ M.l.copy() }}|{{ M.l.count(1) }}|{{ M.l.index(2) }}|{{ (3).bit_length() }}|{{ (2.0).is_integer() }}|{{ M.i.real }}|{{ (1, 2).count(1) }}
{{ M.__class__ }}|{{ ''.__class__ }}|{{ M.l.__len__ }}|{{ ''['__class__'] }}
{{ ''.__class__.__mro__ }}
{{ ''.__class__() }}
{{ 'x'|attr('upper') is callable }}|{{ M|attr('i') }}|{{ M|attr('nope') is defined }}
{% generation %}a{% endgeneration %}|{%- generation -%} b {%- endgeneration -%}|{%generation%}c{%endgeneration%}|{%+ generation +%} d {%+ endgeneration +%}|
{% generation %}{% for i in [1, 2] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}{% endgeneration %}
{% for i in [1, 2] %}{% generation %}{{ i }}{{ loop.index }}{% endgeneration %}{% endfor %}
{% for i in [1, 2] %}{% generation %}{% break %}{% endgeneration %}{% endfor %}
{% generation %}a{% endfor %}
{% generation x %}a{% endgeneration %}
{% if true %}a{% elif nope %}b{% else %}c{% endif %}|{% if nope %}a{% elif 0 %}b{% endif %}|{% if [] %}a{% endif %}{% if [0] %}b{% endif %}{% if 0.0 %}c{% endif %}{% if ' ' %}d{% endif %}{% if {} %}e{% endif %}
{% raw %}{{ x }}{% if %}{% endraw %}|{%- raw -%} {{ y }} {%- endraw -%} |{# {{ c }} #}|{#- c -#} x
{% filter upper | replace('A', 'b') %}aXa{{ M.i }}{% endfilter %}|{% set x | upper %}abc{% endset %}{{ x }}|{% set x %}a{{ 1 }}{% endset %}{{ x + 'b' }}|{{ x is string }}|{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}
{% block a %}in {{ M.i }}{% endblock %}
{% include 'x' %}
{% import 'x' as y %}
{% extends 'x' %}
{% do 1 %}
{% trans %}a{% endtrans %}
{% autoescape true %}{{ '<' }}{% endautoescape %}{{ '<' }}
{{ 'a' if true else }}
{{ 1 + }}
{{ }}
{% if %}a{% endif %}
{% if true %}
{% endif %}
{{ 'a
{{ 'a" }}
{{ 1 ! 2 }}
{{ a.b. }}
{# open
{% raw %} open
{{ [1, 2 }}
{% for %}{% endfor %}
{% for x in M.l %}{{ x }}{% end %}
{% nope %}
{% set 1 = 2 %}
{% set none = 2 %}
{% set loop = 2 %}{{ loop }}
{% for none in [1] %}{% endfor %}
{{ [1, 2,] }}|{{ {'a': 1,} }}|{{ (1,) }}|{{ dict(a=1,) }}|{{ [ ] }}|{{ 1, 2 }}|{{ M . i }}|{{ M ['i'] }}|{{ M.ll[0][1][0] }}|{{ M.ll.0.1.1 }}
{{ 1if true else 2 }}|{{1}}|{{-1}}|{{- 1 -}}|{{+1}}|{{ - 1 }}|{{ 1 -}} x|{{ true}}{{none}}
{{ True }}{{ False }}{{ None }}{{ true }}{{ false }}{{ none }}
{{ '\x41\u00e9\n\t\\\'\"\q\101\0' }}|{{ "a\
b" }}|{{ '\U0001F600' }}
{{ '\x4' }}
{{ '\u12' }}
{{ "a{{b}}c" }}|{{ '%}' }}|{{ "}}" }}|{% if '%}' %}y{% endif %}|{{ {'a': {'b': 1}}['a']['b'] }}|{{ {'a': {'b': 1}}.a.b}}
{{ caller }}|{{ varargs }}
{{ joiner }}
{{ [1, [2, [3]]] | string | replace('[', '(') }}|{{ 'a,b' | replace(',', '\n') | indent(2) }}
{{ strftime_now('%Y-%m-%d') | length }}|{{ strftime_now is callable }}
{{ "a" | pprint }}|{{ M.d | pprint }}|{{ M.mix | pprint }}|{{ 1.0 | pprint }}
{{ M.l | map('multiply', 2) | list }}
{{ M.content | upper | lower | capitalize | length | string | int + 1 }}|{{ M.content[:4] | upper }}|{{ (M.i + 1) | string ~ 'x' }}|{{ M.w[0].upper() }}|{{ M.content.split("'")[0] | length }}|{{ M.content.split(' ') | map('first') | join }}
{{ M.l | length == 3 }}|{{ M.l | length > 2 and true }}|{{ not M.l | length }}|{{ M.i in M.l | list }}|{{ M.l | first + 1 }}
{{ -M.l | first }}
{{ M.i.__add__(1) }}
{{ 'é' == 'é' }}|{{ 'e\u0301' == 'é' }}|{{ 'é' | length }}|{{ 'e\u0301' | length }}|{{ 'İ'.lower() | length }}
{{ 1000000 | filesizeformat }}|{{ 'http://a.b <c>' | urlize }}|{{ {'class': 'x', 'n': none, 'v': '<'} | xmlattr }}
{{ 3 | string | int / 2 }}|{{ '3' | int // 2 }}|{{ 7 | float | int }}|{{ '-' | int }}|{{ true | int }}|{{ true | string }}|{{ none | string }}|{{ [1] | string }}
{{ (M.i, M.neg) | max }}|{{ M.l | sort | first }}|{{ M.l | sort(reverse=true) | join }}|{{ M.d.items() | list | sort | first }}|{{ M.d | items | first }}|{{ M.d.items() | map('first') | join }}|{{ M.d.items() | map('last') | sum }}
{% set x = M.l | map('string') %}{{ x | join }}{{ x | join }}|{% set y = M.l | list %}{{ y | join }}{{ y | join }}
{% set x = M.l | select %}{{ x | length }}
{{ M.l | reverse | length }}
{{ M.l | map('string') is iterable }}|{{ M.l | map('string') is sequence }}|{{ M.l | batch(2) is string }}
"""

# White space, line ends and trailing newlines are what these are about, so they are no lines of the list above.
SOURCES = [
    "a\n", "a\n\n", "\n", "\na", "a\r\n", "a\r\n\r\n", "a\rb\r", "a\r\nb{{ 1 }}\r\nc\rd\r\n", "{{ 'a\r\nb' }}|{{ 'a\\r\\nb' | length }}|{{ 'a\rb' | length }}", "{% raw %}a\r\nb\r{% endraw %}",
    "{% if true %}\nx\n{% endif %}\ny\n", "  {% if true %}\n  x\n  {% endif %}\n  y", "  {%+ if true %}\n  x\n  {%+ endif %}\n", "{% if true +%}\nx{% endif +%}\ny", "a {%- if true -%} b {%- endif -%} c",
    "{{ 1 }}\n{{ 2 }}\n", "  {{ 1 }}  \n", "a \n {{- 1 -}} \n b", "{{- 1 }}\n", "a\n{#- c -#}\nb", "a\n  {# c #}\nb", "  {# c #}  x", "{# a #}\n{# b #}\nc", "\t{% set x = 1 %}\n\t{{ x }}\n", "a {% set x = 1 %}\nb", "a\n \t {% set x = 1 %} \nb",
    "{% for i in [1, 2] %}\n  {{ i }}\n{% endfor %}\n", "{% for i in [1, 2] -%}\n  {{ i }}\n{%- endfor %}\n", "{% raw %}\n  a\n{% endraw %}\nb", "  {% raw %}  a  {% endraw %}  \n", "{%- raw %} a {% endraw -%} b", "{% raw -%}\n a {%- endraw %}",
    "{% if true %}\r\nx\r\n{% endif %}\r\ny", "  {% if true %}\rx\r  {% endif %}\ry", "{% if true %}\n\nx{% endif %}", "{% if true %} \nx{% endif %}", "x\n{%- if true %}\n  y{% endif %}", "a\u2028{% if true %}\nb{% endif %}", "a\x0b {% if true %}b{% endif %}", "a\x85  {% if true %}b{% endif %}",
    "{%- set x = 1 -%}\n\n  {{ x }}\n\n", "{% macro m() %}\n a\n{% endmacro %}\n{{ m() }}\n", "{%set x=1%}{{x}}", "{%\n set\n x\n =\n 1\n %}{{\n x\n }}", "{% set x = '\n' %}[{{ x }}]\n", "{{ '' }}\n{{ '' }}\n", "a{# b\nc #}d\n#}", "{{ '{{' }}{{ '#}' }}", "{ {% if true %}}{% endif %}%}", "{{ 1 }}{{", "{%", "{#", "}}", "# for x in y\n## c\n", "{% generation %}\n a\n{% endgeneration %}\nb", "  {% generation %}\n a\n  {%- endgeneration %}\nb",
]


def main():
    # A line that ends within a string literal goes on in the next one.
    lines, snippets = SNIPPETS.strip("\n").split("\n"), []
    for line in lines:
        if snippets and snippets[-1].endswith("\\"):
            snippets[-1] += "\n" + line
        else:
            snippets.append(line)
    cases = [{"name": "%d snippet" % n, "template": "{%% set M = messages[0] %%}%s" % s} for n, s in enumerate(snippets)]
    cases += [{"name": "%d source snippet" % n, "template": s} for n, s in enumerate(SOURCES)]
    # The others have the same input.
    cases[0]["input"] = GIVEN
    json.dump(cases, sys.stdout)


if __name__ == "__main__":
    main()
