use super::*;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::ToString;
use proptest::prelude::*;

/// Runs on a stack as small as WebAssembly's: whatever recurses must be limited to fit it.
fn on_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(run).expect("a thread");
    thread.join().expect("no panic")
}

fn render(source: &str) -> Result<String, Error> {
    let source = source.to_owned();
    on_small_stack(move || Template::new(&source)?.render(&Request::new(&json!([{"role": "user", "content": "hi"}]))))
}

fn is_limit(result: &Result<String, Error>) -> bool {
    matches!(result, Err(Error::Limit { .. }))
}

#[test]
fn chatml_frames_messages() {
    let template = Template::new(Template::CHATML).expect("a good template");
    let messages = Message::list(&[Message::new("system", "Be kind."), Message::new("user", "Hi")]);
    let prompt = template.render(&Request::new(&messages)).expect("a prompt");
    assert_eq!(prompt, "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n");
}

#[test]
fn variables_are_those_of_the_request() {
    let source = "{{ bos_token }}{{ eos_token is defined }}{{ tools }}{{ documents }}{{ add_generation_prompt }}\
        {{ strftime_now is defined }}{{ extra }}{{ messages | tojson }}";
    let template = Template::new(source).expect("a good template");
    let messages = json!([{"role": "user", "content": "x", "n": 18446744073709551615u64}]);
    let extra = json!({"extra": [1.5], "bos_token": "<bos>"});
    let request = Request {
        bos_token: Some("<s>"),
        add_generation_prompt: true,
        extra: extra.as_object(),
        ..Request::new(&messages)
    };
    let expected =
        "<bos>FalseNoneNoneTrueFalse[1.5][{\"role\": \"user\", \"content\": \"x\", \"n\": 18446744073709551615}]";
    assert_eq!(template.render(&request), Ok(expected.to_owned()));
}

#[test]
fn the_time_is_the_one_given() {
    let template = Template::new("{{ strftime_now('%Y-%m-%d') }}").expect("a good template");
    let (messages, now) = (json!([]), DateTime::from_unix(86400 * 365));
    let request = Request { now: Some(now), ..Request::new(&messages) };
    assert_eq!(template.render(&request), Ok("1971-01-01".to_owned()));
    let without = template.render(&Request::new(&messages)).expect_err("no time").to_string();
    assert_eq!(without, "chat template, line 1: \"strftime_now\" is undefined");
}

#[test]
fn raised_messages_surface() {
    let error = render("\n{{ raise_exception('only ' ~ 1) }}").expect_err("raised");
    assert_eq!(error, Error::Raised { message: "only 1".to_owned() });
    assert_eq!(error.to_string(), "the chat template refuses the conversation: only 1");
}

#[test]
fn errors_name_the_line_and_what_is_wrong() {
    for (source, expected) in [
        ("a\n{% if x %}\n{{ y ", "line 3: the template ends within a tag, expected \"}}\""),
        ("{% if x %}\n", "line 1: the template ends, expected {% elif %} or {% else %} or {% endif %}"),
        ("\n\n{% endif %}", "line 3: unknown tag \"endif\""),
        ("{{ 1 + }}", "line 1: unexpected }}, expected an expression"),
        ("{% for x of y %}", "line 1: unexpected \"of\", expected \"in\""),
        ("{{ (1 }}", "line 1: unexpected \"}\", expected \")\""),
        ("{{ 'a }}", "line 1: a string is not closed by '"),
        ("{{ a ? b }}", "line 1: unexpected character '?'"),
        ("{# never closed", "line 1: a comment is not closed by \"#}\""),
        ("{% raw %}", "line 1: a raw block is not closed by {% endraw %}"),
        ("{% include 'x' %}", "line 1: \"include\" needs other templates, and a chat template stands alone"),
        ("{% break %}", "line 1: \"break\" outside of a loop"),
        ("{{ 007 }}", "line 1: bad number \"007\""),
        ("{{ '\\u12' }}", "line 1: a string has an escape that is not 4 hexadecimal digits of a character"),
        ("{% set true = 1 %}", "line 1: cannot assign to true"),
        ("{{ f(a=1, 2) }}", "line 1: a positional argument follows a named one"),
        ("\n{{ nothing.at.all }}", "line 2: \"nothing\" is undefined"),
        ("\n\n{{ 1 + 'a' }}", "line 3: cannot calculate int + string"),
        ("{% macro f() %}\n{{ 1 / 0 }}\n{% endmacro %}\n\n{{ f() }}", "line 2: division by zero"),
        ("{{ [] | sort(by='x') }}", "line 1: sort has no parameter \"by\""),
        ("{{ {} | tojson(1, 2, 3, 4, 5) }}", "line 1: tojson takes 4 arguments, found 5"),
    ] {
        let error = render(source).expect_err(source).to_string();
        assert_eq!(error, format!("chat template, {expected}"), "{source}");
    }
}

#[test]
fn long_chains_do_not_overflow_the_stack() {
    let n = 50_000;
    for source in [
        format!("{{{{ 1{} }}}}", " + 1".repeat(n)),
        format!("{{{{ 1{} }}}}", " * 1".repeat(n)),
        format!("{{{{ 1{} }}}}", " ** 1".repeat(n)),
        format!("{{{{ 1{} }}}}", " ~ 1".repeat(n)),
        format!("{{{{ 1{} }}}}", " and 1".repeat(n)),
        format!("{{{{ 0{} }}}}", " or 0".repeat(n)),
        format!("{{{{ 1{} }}}}", " < 1".repeat(n)),
        format!("{{{{ {}1 }}}}", "not ".repeat(n)),
        format!("{{{{ {}1 }}}}", "-".repeat(n)),
        format!("{{{{ {}1 }}}}", "1 if 0 else ".repeat(n)),
        format!("{{{{ 'a'{} }}}}", "|trim".repeat(n)),
        format!("{{{{ 'a'{} }}}}", "[0]".repeat(n)),
        format!("{{{{ 'a'{} }}}}", ".strip()".repeat(n)),
        format!("{{{{ 'a'{} }}}}", "'b'".repeat(n)),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(n)),
        format!("{{% set x = [{}] %}}", "1,".repeat(n)),
        "{{ x }}{# y #}".repeat(n),
    ] {
        render(&source).unwrap_or_else(|error| panic!("{}: {error}", &source[..40]));
    }
}

#[test]
fn deep_nesting_is_a_syntax_error() {
    let n = 100_000;
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{1:", "}"),
        ("f(", ")"),
        ("x[", "]"),
        ("x|f(", ")"),
        ("x is f(", ")"),
        ("1 if (", ")"),
        ("{% if x %}", "{% endif %}"),
        ("{% for x in y %}", "{% endfor %}"),
        ("{% macro f() %}", "{% endmacro %}"),
        ("{% set x %}", "{% endset %}"),
        ("{% filter upper %}", "{% endfilter %}"),
        ("{% set x %}{% if x %}", "{% endif %}{% endset %}"),
    ] {
        let n = n.min(MAX_BYTES / (open.len() + close.len()));
        let (start, end) = if open.starts_with("{%") { ("", "") } else { ("{{ ", " }}") };
        let source = format!("{start}{}1{}{end}", open.repeat(n), close.repeat(n));
        let error = render(&source).expect_err(open);
        assert!(error.to_string().contains("nested more than 100 deep"), "{open}: {error}");
    }
}

const MAX_BYTES: usize = 1_000_000;

#[test]
fn long_templates_are_refused() {
    let error = render(&"x".repeat(MAX_BYTES + 100_000)).expect_err("too long").to_string();
    assert_eq!(error, "chat template, line 1: the template has 1100000 bytes, the limit is 1048576");
}

#[test]
fn endless_templates_stop() {
    for source in [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(x) %}{{ g(x) }}{% endmacro %}{% macro g(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}",
        "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% set l = [1] %}{% for x in l %}{% set _ = l.append(x) %}{% endfor %}",
        "{% set l = [1] %}{% set _ = l.append(l) %}{% for x in l recursive %}{{ loop(l) }}{% endfor %}",
        "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}",
        "{% set l = [] %}{% set _ = l.append(l) %}{{ l | tojson }}",
        "{% set l = [] %}{% set m = [] %}{% set _ = l.append(m) %}{% set _ = m.append(l) %}{{ l == [m] }}{{ m == [[l]] }}{{ [l] }}",
        "{% set d = {} %}{% set _ = d.update(d=d) %}{{ d }}",
        "{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}",
        "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(f=1) %}{% set ns.f %}{% endset %}{% for i in range(100000) %}\
            {% macro f() %}{% macro g() %}{% endmacro %}{% set ns.g = g %}{% endmacro %}{{ f() }}{% endfor %}{{ 'x' * 10 ** 9 }}",
        "{% set s = 'ab' * 100000 %}{% for i in range(100000) %}{% if 'b' * 100000 in s %}{% endif %}{% endfor %}",
        "{% set d = namespace(d={}) %}{% for i in range(100000) %}{% set _ = d.d.update({i: i}) %}{% endfor %}",
        "{% set l = range(100000) | list %}{% for i in range(100000) %}{{ (l | sort | length) and '' }}{% endfor %}",
    ] {
        let result = render(source);
        assert!(is_limit(&result), "{source}: {:?}", result.map(|text| text.len()));
    }
}

#[test]
fn growth_stops_before_memory_does() {
    let body = |grow: &str| {
        format!(
            "{{% set ns = namespace(s='ab', l=[1, 2]) %}}{{% macro twice(x) %}}{{{{ x }}}}{{{{ x }}}}{{% endmacro %}}\
            {{% for i in range(100) %}}{grow}{{% endfor %}}"
        )
    };
    for grow in [
        "{% set ns.s = ns.s ~ ns.s %}",
        "{% set ns.s = ns.s + ns.s %}",
        "{% set ns.s = ns.s * 100 %}",
        "{% set ns.s = twice(ns.s) %}",
        "{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}",
        "{% set ns.s = ns.s | replace('a', 'aa') %}",
        "{% set ns.s = ns.s.replace('', ns.s) %}",
        "{% set ns.s = ns.s.join([ns.s, ns.s]) %}",
        "{% set ns.s = [ns.s, ns.s] | join %}",
        "{% set ns.s = '%s%s' % (ns.s, ns.s) %}",
        "{% set ns.s = '{0}{0}'.format(ns.s) %}",
        "{% set ns.s = [ns.s, ns.s] | string %}",
        "{% set ns.s = [ns.s, ns.s] | tojson %}",
        "{% set ns.s = ns.s | indent(10 ** 9) ~ '\\n' ~ ns.s %}",
        "{% set ns.s = ns.s.center(10 ** 12) %}",
        "{% set ns.s = '%1000000000s' % ns.s %}",
        "{% set ns.s = '{:>1000000000}'.format(ns.s) %}",
        "{% set ns.s = '\\t'.expandtabs(10 ** 12) %}",
        "{% set ns.s = [[1]] | tojson(indent=10 ** 10) %}",
        "{% set ns.l = ns.l + ns.l %}",
        "{% set ns.l = ns.l * 1000 %}",
        "{% set _ = ns.l.extend(ns.l) %}",
        "{% set ns.l = (ns.l | list) + (ns.l | map('string') | list) %}",
        "{% set ns.l = ns.l | batch(10 ** 9, 'x') | list %}",
        "{% set ns.s = ns.s ~ ns.s %}{{ ns.s }}",
    ] {
        let result = render(&body(grow));
        assert!(is_limit(&result), "{grow}: {:?}", result.map(|text| text.len()));
    }
}

#[test]
fn deep_requests_are_refused() {
    let deep = (0..100_000).fold(json!("x"), |inner, _| Json::Array(Vec::from([inner])));
    let template = Template::new("{{ messages | tojson }}").expect("a good template");
    let (result, deep) = on_small_stack(move || (template.render(&Request::new(&deep)), deep));
    assert!(is_limit(&result), "{result:?}");
    // Dropping it in one go would overflow the stack of this test.
    core::mem::forget(deep);
}

#[test]
fn long_conversations_are_within_the_limits() {
    let message = |i: usize| json!({"role": ["user", "assistant"][i % 2], "content": "word ".repeat(100)});
    let messages: Json = (0..5000).map(message).collect();
    let source = "{% set ns = namespace(all='') %}{% for m in messages %}{% if m.role in ['user', 'assistant'] %}\
        {% set text = '<' ~ m.role ~ '>' ~ m.content | trim ~ '</' ~ m.role ~ '>' %}{{ text }}{% endif %}{% endfor %}";
    let prompt = Template::new(source).and_then(|template| template.render(&Request::new(&messages)));
    assert!(prompt.expect("a prompt").len() > 2_500_000);
}

/// Pieces that templates are made of, to be put together at random.
const PIECES: [&str; 60] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "-",
    "+",
    "~",
    "*",
    "/",
    "//",
    "**",
    "%",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    ".",
    "|",
    "=",
    "==",
    "<",
    "'a'",
    "\"b\"",
    "1",
    "2.5",
    "messages",
    "x",
    "loop",
    "if",
    "else",
    "elif",
    "endif",
    "for",
    "in",
    "endfor",
    "set",
    "endset",
    "macro",
    "endmacro",
    "f(x)",
    "call",
    "endcall",
    "is",
    "not",
    "and",
    "defined",
    "upper",
    "join",
    "tojson",
    "namespace(a=1)",
    "range(3)",
    "\n",
    "é",
    "raw %}",
];

proptest! {
    #[test]
    fn no_template_panics(pieces in proptest::collection::vec(proptest::sample::select(PIECES.to_vec()), 0..40)) {
        let _ = render(&pieces.join(" "));
    }

    #[test]
    fn no_expression_panics(pieces in proptest::collection::vec(proptest::sample::select(PIECES[6..].to_vec()), 0..12)) {
        let _ = render(&format!("{{{{ {} }}}}", pieces.join(" ")));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = render(&text);
        let _ = render(&format!("{{{{ {text} }}}}"));
        prop_assert_eq!(render(&format!("{{{{ {text:?} }}}}")).is_ok(), render(&format!("{{% set x = {text:?} %}}")).is_ok());
    }
}
