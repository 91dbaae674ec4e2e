"""What jinja2 makes of cases, set up as transformers' apply_chat_template sets it up (release 5.23).

    python3 oracle.py < cases.json > expected.json

A case without an input has that of the case before it. Each gets "text", or "refused" with the error, or "unspecified" with why nobody needs to agree.

What lapidary refuses on purpose, or makes otherwise, is either told apart here or never made by the generator:
- texts of objects that have none of their own (functions, macros, generators, cyclers: memory addresses), complex numbers,
  halves of surrogate pairs, bytes (`encode`), `random` and `lipsum`, named characters (`\\N{...}`) in literals;
- what takes more than 2 s, 1 MiB of text, or Python's whole stack: lapidary's own limits are others;
- sums of floats, which Python 3.12 began to add otherwise;
- calls whose arguments are a string of JSON get the object, contents that are lists of parts get joined for templates
  that know no parts and for system messages, and the role `model` is `assistant`: kindness to clients that
  transformers does not have.
"""

import datetime
import functools
import json
import re
import signal
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

SECONDS, MOST = 2, 1 << 20


class Generation(jinja2.ext.Extension):
    """{% generation %}: its body, as the body of a call block, which is a scope of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


class Dict:
    """`dict` without the class's attributes."""

    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)


def checked(name):
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError("a namespace takes no name with an underscore in front: %r" % name)


class Namespace(jinja2.utils.Namespace):
    """`namespace`, which takes no name that begins with an underscore."""

    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        given = dict(*args, **kwargs)
        for name in given:
            checked(name)
        jinja2.utils.Namespace.__init__(self, given)

    def __setitem__(self, name, value):
        checked(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def strftime_now(form):
    return datetime.datetime.now().strftime(form)


def environment():
    extensions = [Generation, jinja2.ext.loopcontrols]
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    env.filters["tojson"] = tojson
    env.globals.update(raise_exception=raise_exception, strftime_now=strftime_now, dict=Dict(), namespace=Namespace)
    return env


def prepared(message):
    """A message as templates see it: keys whose value is null are dropped, reasoning has all of its names."""
    message = {key: value for key, value in message.items() if value is not None}
    names = ("reasoning_content", "thinking", "reasoning")
    reasoning = next((message[name] for name in names if message.get(name) is not None), None)
    if reasoning is not None:
        message = {"thinking": reasoning, **message, "reasoning_content": reasoning}
    return message


def context(given):
    given = json.loads(given)
    if isinstance(given, list):
        given = {"messages": given}
    return {
        "messages": [prepared(message) for message in given["messages"]],
        "tools": given.get("tools"),
        "documents": None,
        "add_generation_prompt": given.get("add_generation_prompt", True),
        "enable_thinking": given.get("enable_thinking", False),
        "bos_token": "<bos>",
        "eos_token": "<eos>",
    }


ENVIRONMENT = environment()


@functools.lru_cache(256)
def compiled(template):
    return ENVIRONMENT.from_string(template)


class TooLong(BaseException):
    pass


def too_long(*_):
    raise TooLong


# Objects without a text of their own, whose text is an address or a class.
ADDRESS = re.compile(
    r"(object|function|method|macro|Macro|module|class) [^\n]{0,200}(at 0x[0-9a-f]+)?>|at 0x[0-9a-f]{6,}|<class |<(Cycler|TemplateReference|Joiner|LoopContext|Namespace|generator|Macro|jinja2|built-in)"
)

COMPLEX = re.compile(r"[0-9.a-z]+[+-][0-9.a-z]+j\)")


def render(template, given):
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        text = compiled(template).render(**context(given))
    except TooLong:
        return {"unspecified": "takes more than %d s" % SECONDS}
    except (MemoryError, RecursionError) as error:
        return {"unspecified": type(error).__name__}
    except Exception as error:
        return {"refused": "%s: %s" % (type(error).__name__, str(error)[:300])}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if len(text) > MOST:
        return {"unspecified": "more than %d characters" % MOST}
    if COMPLEX.search(text):
        return {"unspecified": "a complex number"}
    if ADDRESS.search(text):
        return {"unspecified": "text of an object that has none"}
    if any("\ud800" <= c <= "\udfff" for c in text):
        return {"unspecified": "half of a surrogate pair"}
    return {"text": text}


def main():
    signal.signal(signal.SIGALRM, too_long)
    cases = json.load(sys.stdin)
    given = None
    for case in cases:
        given = case.get("input", given)
        case.update(render(case["template"], given))
    json.dump(cases, sys.stdout)


if __name__ == "__main__":
    main()
