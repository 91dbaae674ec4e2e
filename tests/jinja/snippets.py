"""A grammar of template snippets: expressions by type, so that most of them work, and statements around them.

They read `M`, the first message: s, t strings; i, j, f numbers; l, w, n, r lists; d an object; v anything.
"""

LITERALS = [
    "'abc'", '"x"', "''", "' '", "'a b c'", "'they\\'re'", '"\\n"', "'\\t|'", "'\\u00e9'", "'\\x41'", "'\\\\'", "'\\q'", "'\\101'", "'\\U0001F600'",
    "'\u00e4\u00d6'", "'\u00df'", "','", "'a,b,c'", "'%s'", "'<&>'", "'1'", "'3.5'", "'aXbXc'", "'\u65e5\u672c'", "'a' 'b'", "'line\nbreak'",
]
INTS = ["0", "1", "2", "3", "-1", "-3", "10", "1_000", "0x1F", "0b101", "0o17", "7", "9223372036854775807", "123456789012345678901234567890"]
FLOATS = ["0.0", "1.5", "-2.5", "0.1", "1e5", "1E-5", "2.5e+3", "1e16", "1_0.5", "3.0", "1e22"]
TESTS = [
    "defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence", "iterable", "true", "false", "lower",
    "upper", "odd", "even", "callable", "escaped", "filter", "test", "divisibleby(3)", "eq(1)", "ne(1)", "gt(1)", "lt(1)", "ge 1", "le(1)", "sameas none",
    "in([1, 2])", "in 'abc'", "equalto('a')", "greaterthan 2", "lessthan(2)", "==(1)",
]
STRING_METHODS = [
    "upper()", "lower()", "title()", "capitalize()", "swapcase()", "casefold()", "strip()", "lstrip()", "rstrip()", "strip('a b')", "lstrip('ab')",
    "rstrip('c\\n')", "replace('a', 'b')", "replace('', '-')", "replace('a', 'bb', 1)", "center(9)", "ljust(7, '*')", "rjust(7)", "zfill(6)",
    "removeprefix('a')", "removesuffix('c')", "expandtabs()", "expandtabs(4)", "format(1, x=2)", "join(['p', 'q'])", "strip(none)",
]
LIST_METHODS_OF_STRINGS = [
    "split()", "split(',')", "split(' ')", "split(none, 1)", "split('a', 1)", "rsplit(',', 1)", "rsplit()", "splitlines()", "splitlines(true)",
    "partition(',')", "rpartition('a')",
]
BOOL_METHODS_OF_STRINGS = [
    "startswith('a')", "endswith('c')", "startswith(('a', 'b'))", "isdigit()", "isalpha()", "isalnum()", "isspace()", "isupper()", "islower()",
    "istitle()", "isnumeric()", "isdecimal()", "isidentifier()", "isascii()", "isprintable()", "startswith('b', 1)",
]
INT_METHODS_OF_STRINGS = ["find('b')", "rfind('b')", "count('a')", "index('a')", "find('a', 1)", "count('')", "rindex('a')"]
STRING_FILTERS = [
    "upper", "lower", "title", "capitalize", "trim", "trim('a')", "replace('a', 'b')", "replace('a', 'b', 1)", "string", "safe", "e", "escape",
    "center(9)", "indent", "indent(2, true)", "indent(width=3, blank=true)", "truncate(5)", "truncate(5, true)", "truncate(9, false, '~', 0)",
    "wordwrap(5)", "striptags", "urlencode", "format", "reverse", "default('x')", "default('x', true)", "d('y')", "forceescape", "first", "last", "tojson",
]


class Snippets:
    """Draws from `rng`, a random.Random."""

    def __init__(self, rng):
        self.rng, self.names, self.loops = rng, [], 0

    def pick(self, *choices):
        return self.rng.choice(choices)

    # Expressions. One in twenty has another type than asked for: most of those are refused, on both sides.
    def expr(self, kind, depth):
        if self.rng.random() < 0.05:
            kind = self.pick("str", "int", "float", "bool", "list", "dict", "any")
        source = getattr(self, kind)(depth)
        if self.rng.random() < 0.05:
            source = "(" + source + ")"
        return source

    def any(self, d):
        if d and self.rng.random() < 0.5:
            return self.pick(
                lambda: self.atom(self.expr("list", d - 1)) + "[" + self.pick("0", "-1", "M.j", "99") + "]",
                lambda: self.atom(self.expr("dict", d - 1)) + self.pick(".a", "['a']", ".get('a')", ".get('zz', 7)", "['\u00e4']", "['items']", ".nope", "|attr('a')"),
                lambda: "(%s if %s%s)" % (self.expr("any", d - 1), self.expr("bool", d - 1), self.pick("", " else " + self.expr("any", d - 1))),
                lambda: "(%s %s %s)" % (self.expr("any", d - 1), self.pick("and", "or"), self.expr("any", d - 1)),
                lambda: self.expr("list", d - 1) + "|" + self.pick("first", "last", "max", "min", "default(3)"),
            )()
        kinds = ["M.v", "M.nope", "none", "None", "true", "False", "M", "messages", "undefined_name", "tools", "documents", "M.content"]
        return self.rng.choice(kinds + self.names * 2 + ["M.v"] * 3) if self.rng.random() < 0.5 else self.expr(self.pick("str", "int", "float", "bool", "list", "dict"), d)

    def str(self, d):
        if not d:
            return self.pick("M.s", "M.t", "M['s']", self.rng.choice(LITERALS), self.rng.choice(LITERALS))
        s = lambda: self.expr("str", d - 1)
        return self.pick(
            lambda: self.atom(s()) + "." + self.rng.choice(STRING_METHODS),
            lambda: self.atom(s()) + "." + self.rng.choice(STRING_METHODS),
            lambda: s() + "|" + self.rng.choice(STRING_FILTERS),
            lambda: s() + "|" + self.rng.choice(STRING_FILTERS),
            lambda: "(" + s() + " ~ " + self.expr("any", d - 1) + ")",
            lambda: "(" + s() + " + " + s() + ")",
            lambda: self.atom(s()) + "[" + self.slice() + "]",
            lambda: "(" + s() + " * " + self.pick("0", "2", "3", "-1") + ")",
            lambda: self.expr("list", d - 1) + "|join" + self.pick("", "(', ')", "('')", "(d='-')", "(', ', 'k')"),
            lambda: self.expr("any", d - 1) + "|" + self.pick("string", "tojson", "tojson", self.tojson(), "default('q')", "pprint"),
            lambda: "(" + self.pick("'%s'", "'%r|'", "'%5s'", "'%-4s|'", "'%.2s'", "'%c'") + " % (" + s() + ",))",
            lambda: "('%" + self.pick("d", "5d", "05d", "+d", "x", "#x", "o", "e", ".2f", "g", "8.3f", ".0f", "i", "X", "s", "r") + "' % " + self.expr(self.pick("int", "float"), 0) + ")",
            lambda: "'{" + self.pick("", "0", ":>5", ":<5", ":^5", ":*^7", "!r", "!s:5", "[0]", ".a") + "}'.format(" + s() + ")",
            lambda: "'{:" + self.pick("d", "5d", "05d", "+d", "x", "#x", "b", "e", ".2f", "g", "8.3f", ",", "_", "%", ">8", "^8.1f") + "}'.format(" + self.expr(self.pick("int", "float"), 0) + ")",
            lambda: self.expr("int", d - 1) + "|filesizeformat" + self.pick("", "(true)"),
        )()

    def tojson(self):
        arguments = [
            self.pick("", "indent=2", "indent=0", "indent=none", "indent=1", "indent='\\t'"), self.pick("", "ensure_ascii=true", "ensure_ascii=false"),
            self.pick("", "sort_keys=true"), self.pick("", "", "separators=(',', ':')", "separators=(', ', ' : ')"),
        ]
        self.rng.shuffle(arguments)
        return "tojson(" + ", ".join(filter(None, arguments)) + ")"

    def atom(self, source):
        return source if source[0] in "M'\"[(" and "|" not in source and not source.startswith("(") else "(" + source + ")"

    def slice(self):
        part = lambda: self.pick("", "", "0", "1", "2", "-1", "-2", "99", "-99", "M.j", "none")
        return part() + ":" + part() + self.pick("", "", ":", ":2", ":-1", ":-2", ":1", ":none")

    def int(self, d):
        if not d:
            return self.pick("M.j", "M.j", "M.i", self.rng.choice(INTS), self.rng.choice(INTS), *(["loop.index", "loop.index0", "loop.length"] if self.loops else []))
        i = lambda: self.expr("int", d - 1)
        return self.pick(
            lambda: "(%s %s %s)" % (i(), self.pick("+", "-", "*", "//", "%"), i()),
            lambda: "(%s ** %s)" % (i(), self.pick("2", "3", "0", "-1")),
            lambda: "(" + self.pick("-", "+", "- -") + i() + ")",
            lambda: self.expr(self.pick("str", "list", "dict"), d - 1) + "|" + self.pick("length", "count"),
            lambda: self.expr(self.pick("str", "float", "any"), d - 1) + "|int" + self.pick("", "(7)", "(0, 16)", "(default=3)"),
            lambda: self.atom(self.expr("str", d - 1)) + "." + self.rng.choice(INT_METHODS_OF_STRINGS),
            lambda: i() + "|abs",
            lambda: "M.n|" + self.pick("sum", "max", "min", "first", "last", "sum(start=2)"),
            lambda: self.expr("str", d - 1) + "|wordcount",
            lambda: "M.w." + self.pick("index('a')", "count('abc')"),
        )()

    def float(self, d):
        if not d:
            return self.pick("M.f", "M.i", self.rng.choice(FLOATS), self.rng.choice(FLOATS))
        return self.pick(
            lambda: "(%s %s %s)" % (self.expr("float", d - 1), self.pick("+", "-", "*", "/", "//", "%"), self.expr(self.pick("int", "float"), d - 1)),
            lambda: "(%s / %s)" % (self.expr("int", d - 1), self.expr("int", d - 1)),
            lambda: self.expr("float", d - 1) + "|round" + self.pick("", "(2)", "(1, 'ceil')", "(0, 'floor')", "(-1)", "(method='common')"),
            lambda: self.expr(self.pick("str", "int"), d - 1) + "|float" + self.pick("", "(2.5)"),
            lambda: "(-" + self.expr("float", d - 1) + ")",
            lambda: self.expr("float", d - 1) + "|abs",
        )()

    def bool(self, d):
        if not d:
            return self.pick("true", "false", "M.v", "M.j", "M.s", "M.l", "M.nope", "True", "M.j > 0", "M.s == M.t", *(["loop.first", "loop.last"] if self.loops else []))
        b, kind = (lambda: self.expr("bool", d - 1)), self.pick("str", "int", "float", "list", "any")
        same = lambda: self.expr(kind, d - 1)
        return self.pick(
            lambda: "(%s %s %s)" % (same(), self.pick("==", "!=", "<", "<=", ">", ">="), same()),
            lambda: "(%s < %s <= %s)" % (self.expr("int", 0), self.expr("int", d - 1), self.expr("int", 0)),
            lambda: "(%s %s %s)" % (self.expr(self.pick("str", "any"), d - 1), self.pick("in", "not in"), self.expr(self.pick("str", "list", "dict"), d - 1)),
            lambda: "(%s %s %s)" % (b(), self.pick("and", "or"), b()),
            lambda: "(not " + b() + ")",
            lambda: "(%s is %s%s)" % (self.expr("any", d - 1), self.pick("", "not "), self.rng.choice(TESTS)),
            lambda: "(%s is %s%s)" % (self.atom(self.expr("any", d - 1)), self.pick("", "not "), self.rng.choice(TESTS)),
            lambda: self.atom(self.expr("str", d - 1)) + "." + self.rng.choice(BOOL_METHODS_OF_STRINGS),
        )()

    def list(self, d):
        if not d:
            return self.pick("M.l", "M.w", "M.n", "M.r", "[]", "[3, 1, 2]", "['b', 'A', 'a', 'B']", "(1, 'x')", "()", "(1,)", "[1, 1.0, true, 'a', 'a']", "range(4)", "['\u00e4', 'z', '\u00c4', 'a']")
        l = lambda: self.expr("list", d - 1)
        maps = ["map('upper')", "map('string')", "map(attribute='k')", "map(attribute='x', default='-')", "map('length')", "map('default', 'q')", "map(attribute='x.a')", "map('int')", "map('replace', 'a', 'b')"]
        selects = ["select", "reject", "select('string')", "reject('none')", "select('gt', 1)", "selectattr('k')", "selectattr('k', 'gt', 1)", "selectattr('g', 'equalto', 'a')", "rejectattr('x')", "rejectattr('x', 'none')", "selectattr('g', 'in', ['a', 'B'])", "selectattr('nope', 'defined')", "select('divisibleby', 2)"]
        shapes = ["reverse", "sort", "sort(true)", "sort(reverse=true, case_sensitive=true)", "sort(attribute='k')", "sort(attribute='g,k')", "unique", "unique(true)", "unique(attribute='g')", "batch(2)", "batch(3, 'f')", "slice(2)", "slice(3, 'f')", "groupby('g')", "groupby('g', case_sensitive=true)", "groupby('k')", "list"]
        return self.pick(
            lambda: "[" + ", ".join(self.expr("any", d - 1) for _ in range(self.rng.randint(0, 3))) + "]",
            lambda: "(" + ", ".join(self.expr("any", d - 1) for _ in range(self.rng.randint(2, 3))) + ")",
            lambda: self.atom(l()) + "[" + self.slice() + "]",
            lambda: "(" + l() + " + " + l() + ")",
            lambda: "(" + l() + " * " + self.pick("0", "2", "-1") + ")",
            lambda: l() + "|" + self.rng.choice(shapes) + "|list",
            lambda: l() + "|" + self.rng.choice(maps) + "|list",
            lambda: l() + "|" + self.rng.choice(selects) + "|list",
            lambda: "M.r|" + self.rng.choice(shapes + maps + selects) + "|list",
            lambda: "M.w|" + self.rng.choice(shapes + maps + selects) + "|list",
            lambda: "M.n|" + self.rng.choice(shapes + maps + selects) + "|list",
            lambda: self.atom(self.expr("str", d - 1)) + "." + self.rng.choice(LIST_METHODS_OF_STRINGS),
            lambda: self.expr("str", d - 1) + "|list",
            lambda: self.expr("dict", d - 1) + "|" + self.pick("list", "dictsort", "dictsort(true)", "dictsort(by='value')", "dictsort(reverse=true)", "items|list"),
            lambda: self.atom(self.expr("dict", d - 1)) + "." + self.pick("keys()", "values()", "items()") + self.pick("|list", "|list", ""),
            lambda: "range(" + self.pick("3", "1, 5", "5, 0, -2", "0, 9, 4", "M.j", "0") + ")" + self.pick("|list", ""),
        )()

    def dict(self, d):
        if not d:
            return self.pick("M.d", "M.d", "{}", "{'a': 1, 'b': 'x'}", "{'b': 1, 'a': 2, 'B': 3}", "dict(a=1, b=2)", "{1: 'one', none: 2, 1.5: 3, true: 4}", "{(1, 2): 3}")
        return self.pick(
            lambda: "{" + ", ".join(self.pick("'a'", "'b'", "M.s", "1", "'\u00e4'") + ": " + self.expr("any", d - 1) for _ in range(self.rng.randint(0, 3))) + "}",
            lambda: "dict(" + self.expr("dict", d - 1) + ", z=" + self.expr("any", d - 1) + ")",
            lambda: self.atom(self.expr("dict", d - 1)) + ".copy()",
            lambda: "dict(" + self.expr("dict", d - 1) + "|dictsort)",
        )()

    # Statements.
    def tag(self, body, opening="{%", closing="%}"):
        left, right = self.pick("", "", "", "", "-", "+"), self.pick("", "", "", "", "-", "+")
        return opening + left + self.pick(" ", "", "  ", "\n") + body + self.pick(" ", " ", "\n ") + right + closing

    def output(self, d):
        left, right = self.pick("", "", "", "-", "+"), self.pick("", "", "", "-")
        return "{{" + left + " " + self.expr("any" if self.rng.random() < 0.3 else self.pick("str", "int", "float", "bool", "list", "dict"), d) + " " + right + "}}"

    def text(self):
        return self.pick("a", " ", "\n", "  \n", "\n  ", "text\n", " x ", "\t", "\r\n", "\r", "}}", "%}", "#}", "{ ", "\u00e4", "\n\n  ", "end\n\n", "# x\n", "'")

    def body(self, d):
        parts = []
        for _ in range(self.rng.randint(1, 3)):
            parts.append(self.text() if self.rng.random() < 0.4 else self.statement(d) if d and self.rng.random() < 0.5 else self.output(2))
        return "".join(parts)

    def statement(self, d):
        return self.rng.choice([
            self.if_, self.if_, self.for_, self.for_, self.for_, self.set_, self.set_, self.macro, self.call, self.filter, self.with_, self.generation, self.raw,
            self.comment, self.namespace, self.recursive, self.helpers, self.set_block, self.jump,
        ])(d - 1)

    def name(self):
        name = self.pick("x", "y", "z", "item", "M2", "namespace_", "true_")
        self.names = (self.names + [name])[-6:]
        return name

    def if_(self, d):
        source = self.tag("if " + self.expr("bool", 2)) + self.body(d)
        for _ in range(self.rng.randint(0, 1)):
            source += self.tag("elif " + self.expr("bool", 2)) + self.body(d)
        if self.rng.random() < 0.5:
            source += self.tag("else") + self.body(d)
        return source + self.tag("endif")

    def for_(self, d):
        name, over = self.name(), self.expr("list", 2)
        if self.rng.random() < 0.25:
            other = self.name()
            name, over = name + ", " + other, self.pick("M.d.items()", "M.d|dictsort", "M.d|items", "[(1, 2), (3, 4)]", "M.r|groupby('g')", over)
        condition = " if " + self.expr("bool", 1) if self.rng.random() < 0.2 else ""
        self.loops += 1
        inside = self.body(d)
        if self.rng.random() < 0.5:
            inside += "{{ " + self.pick("loop.index", "loop.first", "loop.last", "loop.length", "loop.revindex", "loop.revindex0", "loop.previtem", "loop.nextitem", "loop.depth", "loop.depth0", "loop.cycle('a', 'b')", "loop.changed(" + self.expr("any", 0) + ")", "loop.nope", "(loop.nextitem is defined)") + " }}"
        if self.rng.random() < 0.2:
            inside += self.tag("if " + self.expr("bool", 1)) + self.tag(self.pick("break", "continue")) + self.tag("endif") + self.text()
        self.loops -= 1
        tail = self.tag("else") + self.body(d) if self.rng.random() < 0.2 else ""
        return self.tag("for " + name + " in " + over + condition) + inside + tail + self.tag("endfor")

    def set_(self, d):
        name, value = self.pick("x", "y", "z"), self.expr("any", 2)
        if self.rng.random() < 0.1:
            value, name = self.pick("1, 2", "M.n", "'ab'", value), name + ", q"
        source = self.tag("set " + name + " = " + value)
        self.names = (self.names + [name.split(",")[0]])[-6:]
        return source + "{{ " + name.split(",")[0] + " }}"

    def set_block(self, d):
        name = self.name()
        return self.tag("set " + name + self.pick("", " | upper", "|trim|replace('a', 'b')")) + self.body(d) + self.tag("endset") + "{{ " + name + " }}{{ " + name + "|length }}"

    def macro(self, d):
        name = self.pick("mac", "helper")
        arguments = self.pick("", "p", "p, q", "p, q=2", "p='d', q=p", "p=none")
        body = self.body(d) + "{{ p }}{{ q }}" + self.pick("", "{{ varargs }}", "{{ kwargs }}", "{{ caller is defined }}", "{{ varargs|length }}{{ kwargs|dictsort }}")
        call = name + "(" + self.pick("", "1", "'a', 'b'", "1, 2, 3", "q=5", "p=M.s", "1, z=3", "*[1, 2]", "**{'p': 1}", self.expr("any", 1)) + ")"
        return self.tag("macro " + name + "(" + arguments + ")") + body + self.tag("endmacro") + "{{ " + call + self.pick("", "|upper", "|trim", " ~ 'x'") + " }}" + self.pick("", "{{ " + name + ".name }}{{ " + name + ".arguments }}")

    def call(self, d):
        head = self.pick(("m()", "{{ caller() }}", ""), ("m(1)", "[{{ caller(a) }}]", "(p)"), ("m(2)", "{{ a }}{{ caller(a, 3) }}{{ caller(4) }}", "(p, q=9)"))
        return "{% macro m(a) %}" + head[1] + self.text() + "{% endmacro %}" + self.tag("call" + head[2] + " " + head[0]) + self.body(d) + "{{ p }}{{ q }}" + self.tag("endcall")

    def filter(self, d):
        return self.tag("filter " + self.pick("upper", "trim", "indent(2)", "replace('a', 'b')|upper", "tojson", "length", "title", "e")) + self.body(d) + self.tag("endfilter")

    def with_(self, d):
        head = self.pick("", " x = 1", " x = M.s, y = x", " y=2, z=M.v")
        return self.tag("with" + head) + self.body(d) + "{{ x }}" + self.tag("set x = 5") + self.tag("endwith") + "{{ x }}"

    def generation(self, d):
        return self.tag("generation") + self.body(d) + self.tag("set x = 'g'") + "{{ x }}" + self.tag("endgeneration") + "{{ x }}"

    def raw(self, d):
        tag = lambda name: "{%" + self.pick("", "", "-", "+") + self.pick(" ", "") + name + " " + self.pick("", "", "-") + "%}"
        return tag("raw") + self.pick("{{ x }}", " {% if %} ", "\n{# a #}\n", "  ") + tag("endraw")

    def comment(self, d):
        return self.tag(self.pick("c", " {{ x }} ", "{% if %}", "\n", "a\n b"), "{#", "#}").replace("%}", "#}", 0)

    def namespace(self, d):
        return self.tag("set ns = namespace(a=%s, n=0)" % self.expr("any", 1)) + "{% for q in M.l %}" + self.body(d) + self.tag("set ns.n = ns.n + 1") + self.tag("set ns.a = q") + "{% endfor %}{{ ns.n }}{{ ns.a }}{{ ns.zz }}"

    def recursive(self, d):
        shape = self.pick("{{ loop(x) if x is sequence and x is not string else x }}", "{% if x is mapping %}{{ loop(x.values()) }}{% elif x is iterable and x is not string %}[{{ loop(x) }}]{% else %}{{ x }}{{ loop.depth }}{% endif %}", "{{ loop.depth }}{% if x is mapping and x.a is defined and x.a is iterable %}{{ loop(x.a) }}{% endif %}")
        return self.tag("for x in " + self.pick("M.l", "[M.v, M.l]", "[1, [2, [3]], 'a']") + " recursive") + shape + self.tag("endfor")

    def helpers(self, d):
        return self.pick(
            "{% set c = cycler('a', 'b', 3) %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.current }}",
            "{% set j = joiner() %}{% for x in M.n %}{{ j() }}{{ x }}{% endfor %}", "{% set j = joiner(' | ') %}{{ j() }}{{ j() }}",
            "{{ strftime_now('%Y')|length }}", "{% set d2 = dict(M.d) %}{{ d2 }}", "{% if M.s == 'abc' %}{{ raise_exception('no: ' ~ M.s) }}{% endif %}",
            "{{ M.l.append(1) }}", "{{ M.d.update({}) }}", "{{ M.s.__class__ }}", "{% set _ = M.d.pop('a') %}", "{{ M['__class__'] }}", "{% block b %}in{% endblock %}",
        )

    def jump(self, d):
        return "{% for x in M.n %}" + self.body(d) + self.tag("if x > 3") + self.tag("continue") + self.tag("elif x < -3") + self.tag("break") + self.tag("endif") + "{{ x }}{{ loop.index }}" + "{% endfor %}"

    def template(self):
        if self.rng.random() < 0.4:
            return "".join(self.pick("", "a\n", " ") + self.output(self.rng.randint(1, 4)) for _ in range(self.rng.randint(1, 2)))
        source = "".join(self.statement(2) + self.text() for _ in range(self.rng.randint(1, 3)))
        if self.rng.random() < 0.2:
            source = source.replace("\n", self.pick("\r\n", "\r"))
        return source + self.pick("", "", "\n", "\n\n")
