//! What templates may do and see, and what they cannot do; what conversations must look like.

use super::*;

#[test]
fn templates_work_as_in_transformers() {
    let text = |source: &str| render(source, hello()).unwrap().text;
    assert_eq!(text("  {% if true %}\n  a\n  {% endif %}\nb"), "  a\nb");
    assert_eq!(
        text("{{ {'a': [1, 2.5, none, true], 'é<': \"x'&\"} | tojson }}"),
        r#"{"a": [1, 2.5, null, true], "é<": "x'&"}"#
    );
    assert_eq!(text("{{ {'a': [1], 'b': []} | tojson(indent=2) }}"), "{\n  \"a\": [\n    1\n  ],\n  \"b\": []\n}");
    assert_eq!(
        text("{{ none }} {{ true }} {{ tools is none }} {{ bos_token }}{{ eos_token }}"),
        "None True True <bos><eos>"
    );
    assert_eq!(text("{{ strftime_now('%d') | length }}{% for i in [1, 2] %}{% break %}{% endfor %}"), "2");
    assert_eq!(text("{{ messages[0].content.upper().startswith('H') }}"), "True");
    let refused = render("{{ raise_exception('roles must <alternate>') }}", hello()).unwrap_err();
    assert_eq!(refused.to_string(), "chat template: refuses the conversation: roles must <alternate>");
    assert_eq!(refused.exit_code(), 2);
}

#[test]
fn lists_of_text_and_string_arguments_work_everywhere() {
    let parts = json!([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]);
    let call = json!([{"id": "1", "function": {"name": "f", "arguments": "{\"b\": \"x\", \"a\": 1}"}}]);
    let input = conversation(json!([{"role": "system", "content": parts}, {"role": "user", "content": parts},
        {"role": "assistant", "content": null, "tool_calls": call}, {"role": "tool", "tool_call_id": "1", "content": {"k": 2}}]));
    let call = "<|tool_call>call:f{a:1,b:<|\"|>x<|\"|>}<tool_call|><|tool_response>response:f{k:2}<tool_response|>";
    let system = "<bos><|turn>system\none\ntwo<turn|>\n<|turn>user\n";
    let demo = DEMO.prompt(&input).unwrap().text;
    assert_eq!(demo, format!("{system}one\ntwo<turn|>\n<|turn>model\n{call}"));
    let gemma = template("chat_template_31B.jinja").render(&input, &specials()).unwrap().text;
    assert_eq!(gemma, format!("{system}onetwo<turn|>\n<|turn>model\n{call}"));
}

#[test]
fn long_conversations_have_steps_enough() {
    let turn =
        |i: usize| Message::new(if i.is_multiple_of(2) { Role::User } else { Role::Assistant }, format!("turn {i}"));
    let mut input = Conversation::new((0..1001).map(turn).collect());
    input.messages[0] = Message::new(Role::User, "<x> ".repeat(1 << 18));
    let prompt = template("chat_template_31B.jinja").render(&input, &specials()).unwrap();
    assert!(prompt.text.ends_with("turn 1000<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"));
}

#[test]
fn template_bombs_end_quickly_with_an_error() {
    let nested = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    let deep = format!("{}x{}", "{% if true %}".repeat(5000), "{% endif %}".repeat(5000));
    let sources = [
        "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}",
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=1) %}{% for i in range(90000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}",
        "{% set ns = namespace(l=1) %}{% for i in range(14000) %}{% set ns.l = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[ns.l]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]] %}{% endfor %}{{ ns.l == [ns.l] }}{{ ns.l }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for i in range(2000) %}{{ 'xxxxxxxxxxxxxxxx' * 64 }}{% endfor %}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ 'aaaaaaaa'.replace('a', 'x' * 10000000) * 100 }}",
        "{{ messages | tojson(indent=1000000000) * 100000000 }}",
        "{% include 'x' %}",
        "{% import '/etc/passwd' as p %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages[0].content.nothing() }}",
        "{{ x.y.z }}",
        "{{ nothing() }}",
        "{% if %}",
        "{{ strftime_now('%Y' * 100000000) }}",
        &format!("{{{{ {nested} }}}}"),
        &deep,
        &" ".repeat(MAX_TEMPLATE_BYTES + 1),
    ];
    for source in sources {
        let error = render(source, hello()).expect_err(&source[..source.len().min(80)]);
        let name = &source[..source.len().min(80)];
        assert!(matches!(error, Error::Model(_) | Error::Usage(_)), "{name}: {error}");
        assert!(!error.to_string().contains('\n') && !error.to_string().contains("panicked"), "{name}: {error}");
    }
}

#[test]
fn slices_of_slices_are_paid_for() {
    let slices = "[0:]".repeat(20);
    let source = format!(
        "{{% set ns = namespace(l=[1]) %}}{{% for i in range(90000) %}}{{% set ns.l = ns.l{slices} %}}{{% endfor %}}"
    );
    let error = render(&source, hello()).unwrap_err().to_string();
    assert!(error.starts_with("chat template: ran out of steps"), "{error}");
}

#[test]
fn the_right_side_is_blamed_for_what_is_too_much() {
    let turn = |i: usize| json!({"role": if i.is_multiple_of(2) { "user" } else { "assistant" }, "content": "x"});
    let long = |n: usize| Value::Array((0..n).map(turn).collect());
    let every_pair = "{% for a in messages %}{% for b in messages %}{{ '' }}{% endfor %}{% endfor %}";
    let error = render(every_pair, long(6000)).unwrap_err();
    assert!(error.to_string().starts_with("messages: found 6000 messages of "), "{error}");
    assert_eq!(error.exit_code(), 2);
    let error = render("x", long(100_001)).unwrap_err().to_string();
    assert_eq!(error, "messages: found 100001 messages, expected at most 100000");
    // What fails with any conversation is the template's fault.
    for source in ["{{ nothing() }}", "{{ {'a': 1}|tojson(b=1) }}", "{{ 1 + 'a' }}"] {
        let error = render(source, hello()).unwrap_err();
        assert!(error.to_string().starts_with("chat template: fails, whatever the conversation is: "), "{error}");
        assert_eq!(error.exit_code(), 3);
    }
    let picky = "{{ messages[0].content + messages[1].content + 1 }}";
    assert_eq!(
        render(picky, json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]))
            .unwrap_err()
            .exit_code(),
        2
    );
    let bomb = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}";
    assert_eq!(render(bomb, hello()).unwrap_err().exit_code(), 3);
}

#[test]
fn what_templates_say_is_one_short_line() {
    let error = render("{{ raise_exception('\x1b[31m' ~ 'x\n' * 100000) }}", hello()).unwrap_err().to_string();
    assert!(error.starts_with("chat template: refuses the conversation: \\u{1b}[31mx\\nx"), "{error}");
    assert!(error.len() < 600 && !error.chars().any(char::is_control), "{error}");
}

#[test]
fn messages_are_printed_as_they_came() {
    let messages = json!([{"content": "a", "n": 1, "role": "user"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{\"x\": 1}"}}]}]);
    let text = render("{{ messages }}{{ messages[1].content is defined }}", messages).unwrap().text;
    let expected = "[{'content': 'a', 'n': 1, 'role': 'user'}, {'role': 'assistant', 'tool_calls': \
                    [{'function': {'name': 'f', 'arguments': {'x': 1}}}]}]False";
    assert_eq!(text, expected);
}

#[test]
fn conversation_faults_name_place_found_and_expected() {
    let cases = [
        (json!([]), "messages: found an empty list, expected at least one message"),
        (json!({}), "messages: found nothing, expected a list of messages"),
        (json!(3), "conversation: found a number, expected an object with messages, or a list of messages"),
        (json!(["x"]), "messages[0]: found \"x\", expected an object with role and content"),
        (
            json!([{"role": "robot"}]),
            "messages[0].role: found \"robot\", expected system, developer, user, assistant or tool",
        ),
        (
            json!([{"content": "x"}]),
            "messages[0].role: found nothing, expected system, developer, user, assistant or tool",
        ),
        (
            json!([{"role": "user", "content": "x"}, {"role": "user"}]),
            "messages[1].content: found nothing, expected a string or a list of text parts",
        ),
        (
            json!([{"role": "user", "content": 5}]),
            "messages[0].content: found a number, expected a string or a list of text parts",
        ),
        (
            json!([{"role": "user", "content": [{"type": "image", "url": "x"}]}]),
            "messages[0].content[0].type: found \"image\", expected \"text\"",
        ),
        (
            json!([{"role": "assistant", "tool_calls": [{"function": {}}]}]),
            "messages[0].tool_calls[0].function.name: found nothing, expected a string",
        ),
        (json!({"messages": hello(), "tools": {}}), "tools: found an object, expected a list"),
        (
            json!({"messages": hello(), "tools": [{"name": "f"}]}),
            "tools[0].function: found nothing, expected an object",
        ),
        (
            json!({"messages": hello(), "enable_thinking": "yes"}),
            "enable_thinking: found \"yes\", expected true or false",
        ),
        (
            json!({"messages": hello(), "seed": 1}),
            "conversation: found the key \"seed\", expected messages, tools, enable_thinking or add_generation_prompt",
        ),
    ];
    for (value, expected) in cases {
        let error = Conversation::try_from(value).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.exit_code(), 2);
    }
    assert!(Conversation::from_json(b"{").unwrap_err().to_string().starts_with("conversation: not JSON"));
    let read =
        Conversation::from_json(br#"{"messages": [{"role": "model", "content": "x"}], "enable_thinking": true}"#)
            .unwrap();
    assert_eq!(
        (read.messages[0].role, read.enable_thinking, read.add_generation_prompt),
        (Role::Assistant, true, true)
    );
    let back: Conversation = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
    assert_eq!(back, read);
}
