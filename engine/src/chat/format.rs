//! Formatting of values into text: `"…" % args` and `"…".format(args)`.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};

use super::eval::{CallArgs, Machine};
use super::meter::{Builder, Meter, Outcome, Text, expected};
use super::print::{float_text, repr, text_of};
use super::value::{SeqKind, Value, describe};

/// More digits than this after the point are refused.
const MAX_PRECISION: usize = 1000;

/// How one value is written.
#[derive(Debug, Default)]
struct Spec {
    fill: Option<char>,
    /// `<`, `>`, `^`, or `=` for padding after the sign.
    align: Option<char>,
    /// `+` or a space for numbers that are not negative.
    sign: Option<char>,
    /// `#`: with the prefix of the base.
    alternate: bool,
    width: usize,
    /// What goes between thousands.
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// `template % args`.
pub(super) fn printf(meter: &Rc<Meter>, template: &str, args: &Value) -> Outcome<Text> {
    let mut out = Builder::new(meter)?;
    let mut next = 0;
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('%') {
        out.push(before)?;
        if let Some(after) = after.strip_prefix('%') {
            out.push("%")?;
            rest = after;
            continue;
        }
        let (key, after) = match after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            Some((key, after)) => (Some(key), after),
            None => (None, after),
        };
        let (spec, after) = printf_spec(after)?;
        let value = printf_arg(meter, args, key, &mut next)?;
        write(meter, &value, &spec, &mut out)?;
        rest = after;
    }
    out.push(rest)?;
    let unused = match args {
        Value::Seq(seq) if seq.kind == SeqKind::Tuple => next < seq.len(),
        Value::Dict(_) => false,
        _ => next == 0 && !template.contains("%("),
    };
    if unused { Err("not all arguments of the format are used".into()) } else { Ok(out.finish()) }
}

fn printf_arg(meter: &Meter, args: &Value, key: Option<&str>, next: &mut usize) -> Outcome<Value> {
    let missing = "the format has too few arguments";
    if let Some(key) = key {
        let Value::Dict(dict) = args else { return Err(expected("a dict to format", &describe(args))) };
        return Ok(dict.get_text(meter, key)?.ok_or_else(|| format!("the format has no argument {key:?}"))?);
    }
    let at = core::mem::replace(next, *next + 1);
    match args {
        Value::Seq(seq) if seq.kind == SeqKind::Tuple => Ok(seq.get(at).ok_or(missing)?),
        single if at == 0 => Ok(single.clone()),
        _ => Err(missing.into()),
    }
}

/// Flags, width, precision and type after a `%`.
fn printf_spec(text: &str) -> Outcome<(Spec, &str)> {
    let mut spec = Spec { align: Some('>'), ..Spec::default() };
    let flags = text.len() - text.trim_start_matches(['-', '+', ' ', '0', '#']).len();
    for flag in text[..flags].chars() {
        match flag {
            '-' => spec.align = Some('<'),
            '0' if spec.align != Some('<') => (spec.fill, spec.align) = (Some('0'), Some('=')),
            '#' => spec.alternate = true,
            '+' => spec.sign = Some('+'),
            ' ' if spec.sign.is_none() => spec.sign = Some(' '),
            _ => {}
        }
    }
    let (width, mut rest) = number(&text[flags..])?;
    spec.width = width.unwrap_or(0);
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = number(after)?;
        (spec.precision, rest) = (Some(precision.unwrap_or(0)), after);
    }
    let kind = rest.chars().next().ok_or("a format ends after %")?;
    spec.kind = Some(match kind {
        'i' | 'u' => 'd',
        kind => kind,
    });
    Ok((spec, &rest[kind.len_utf8()..]))
}

/// A number at the start of a text, if there is one.
fn number(text: &str) -> Outcome<(Option<usize>, &str)> {
    let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if length == 0 {
        return Ok((None, text));
    }
    let number = text[..length].parse().map_err(|_| "a number in a format is too large")?;
    Ok((Some(number), &text[length..]))
}

/// `template.format(args)`.
pub(super) fn str_format(machine: &Machine<'_>, template: &str, args: &CallArgs) -> Outcome<Text> {
    let meter = &machine.meter;
    let mut out = Builder::new(meter)?;
    let mut next = 0;
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push(&rest[..at])?;
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            out.push(brace)?;
            rest = after;
            continue;
        }
        let Some((field, after)) = after.split_once('}').filter(|_| brace == "{") else {
            return Err("a format has a brace that is not closed".into());
        };
        format_field(machine, field, args, &mut next, &mut out)?;
        rest = after;
    }
    out.push(rest)?;
    Ok(out.finish())
}

fn format_field(
    machine: &Machine<'_>,
    field: &str,
    args: &CallArgs,
    next: &mut usize,
    out: &mut Builder,
) -> Outcome<()> {
    let meter = &machine.meter;
    let (path, spec) = field.split_once(':').unwrap_or((field, ""));
    let (path, conversion) = path.split_once('!').unwrap_or((path, ""));
    let value = format_arg(machine, path, args, next)?;
    let value = match conversion {
        "" => value,
        "s" => Value::Text(text_of(meter, &value)?),
        "r" | "a" => {
            let mut shown = Builder::new(meter)?;
            repr(meter, &value, &mut shown)?;
            Value::Text(shown.finish())
        }
        other => return Err(format!("a format has the unknown conversion {other:?}").into()),
    };
    write(meter, &value, &format_spec(spec)?, out)
}

/// Looks up `0`, `name` or nothing, then `.attribute` and `[item]`.
fn format_arg(machine: &Machine<'_>, path: &str, args: &CallArgs, next: &mut usize) -> Outcome<Value> {
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, mut rest) = path.split_at(end);
    let index = if name.is_empty() { Ok(core::mem::replace(next, *next + 1)) } else { name.parse::<usize>() };
    let found = match index {
        Ok(index) => args.positional.get(index),
        Err(_) => args.named.iter().find(|(known, _)| **known == *name).map(|(_, value)| value),
    };
    let mut value = found.cloned().ok_or_else(|| format!("the format has no argument {name:?}"))?;
    while !rest.is_empty() {
        let is_item = rest.starts_with('[');
        let inner = &rest[1..];
        let end = inner.find(if is_item { &[']'][..] } else { &['.', '['][..] }).unwrap_or(inner.len());
        let Value::Text(key) = machine.text(&inner[..end])? else { return Ok(value) };
        value = match inner[..end].parse::<i128>() {
            Ok(index) if is_item => machine.subscript(&value, &Value::Int(index))?,
            _ if is_item => machine.subscript(&value, &Value::Text(key))?,
            _ => machine.attribute(&value, key)?,
        };
        rest = &inner[end..];
        rest = rest.strip_prefix(']').filter(|_| is_item).unwrap_or(rest);
    }
    Ok(value)
}

/// `[[fill]align][sign][#][0][width][,][.precision][type]`.
fn format_spec(text: &str) -> Outcome<Spec> {
    let mut spec = Spec::default();
    let is_align = |c: char| matches!(c, '<' | '>' | '^' | '=');
    let mut rest = text;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(fill), Some(align)) if is_align(align) => {
            (spec.fill, spec.align, rest) = (Some(fill), Some(align), chars.as_str());
        }
        (Some(align), _) if is_align(align) => (spec.align, rest) = (Some(align), &text[1..]),
        _ => {}
    }
    if let Some(sign) = rest.chars().next().filter(|c| matches!(c, '+' | '-' | ' ')) {
        spec.sign = Some(sign).filter(|sign| *sign != '-');
        rest = &rest[1..];
    }
    (spec.alternate, rest) = rest.strip_prefix('#').map_or((false, rest), |rest| (true, rest));
    if rest.starts_with('0') && spec.align.is_none() {
        (spec.fill, spec.align) = (Some('0'), Some('='));
    }
    let (width, after) = number(rest)?;
    (spec.width, rest) = (width.unwrap_or(0), after);
    if let Some(grouping) = rest.chars().next().filter(|c| matches!(c, ',' | '_')) {
        (spec.grouping, rest) = (Some(grouping), &rest[1..]);
    }
    if let Some(after) = rest.strip_prefix('.') {
        (spec.precision, rest) = number(after)?;
    }
    spec.kind = rest.chars().next();
    let used = spec.kind.map_or(0, char::len_utf8);
    if rest.len() > used { Err(format!("bad format {text:?}").into()) } else { Ok(spec) }
}

/// Writes a value with padding.
fn write(meter: &Rc<Meter>, value: &Value, spec: &Spec, out: &mut Builder) -> Outcome<()> {
    let (prefix, body) = match (spec.kind, value) {
        (None | Some('s'), Value::Int(_) | Value::Float(_)) if spec.kind.is_none() => numeral(value, spec)?,
        (None | Some('s' | 'r' | 'a'), value) => {
            let mut text = Builder::new(meter)?;
            match (spec.kind, value) {
                (Some('r' | 'a'), value) => repr(meter, value, &mut text)?,
                (_, value) => text.push(&text_of(meter, value)?)?,
            }
            let all = text.as_str();
            let end = spec.precision.and_then(|count| all.char_indices().nth(count)).map_or(all.len(), |(i, _)| i);
            return pad(("", &all[..end]), spec, spec.align.unwrap_or('<'), out);
        }
        (Some('c'), Value::Text(text)) => (String::new(), text.to_string()),
        (Some('c'), value) => {
            let code = value.as_index().and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32);
            (String::new(), code.ok_or_else(|| expected("a character code", &describe(value)))?.to_string())
        }
        _ => numeral(value, spec)?,
    };
    pad((&prefix, &body), spec, spec.align.unwrap_or('>'), out)
}

fn pad((prefix, body): (&str, &str), spec: &Spec, align: char, out: &mut Builder) -> Outcome<()> {
    let missing = spec.width.saturating_sub(prefix.chars().count() + body.chars().count());
    let (before, between, after) = match align {
        '<' => (0, 0, missing),
        '^' => (missing / 2, 0, missing - missing / 2),
        '=' => (0, missing, 0),
        _ => (missing, 0, 0),
    };
    let fill = spec.fill.unwrap_or(' ');
    let fill = fill.encode_utf8(&mut [0; 4]).to_string();
    out.repeat(&fill, before)?;
    out.push(prefix)?;
    out.repeat(&fill, between)?;
    out.push(body)?;
    out.repeat(&fill, after)
}

/// A number's sign and base, and its digits.
fn numeral(value: &Value, spec: &Spec) -> Outcome<(String, String)> {
    let wrong = || expected("a number to format", &describe(value));
    let precision = spec.precision.unwrap_or(6);
    if precision > MAX_PRECISION {
        return Err(format!("a format asks for {precision} digits, the limit is {MAX_PRECISION}").into());
    }
    let float = value.as_float().ok_or_else(wrong)?;
    let integer = value.as_index().or_else(|| value.as_float().filter(|x| x.abs() < 1e38).map(|x| x as i128));
    let digits = match spec.kind {
        None if spec.precision.is_some() => general(float.abs(), precision, false),
        None => match value.as_index() {
            Some(integer) => integer.unsigned_abs().to_string(),
            None => float_text(float.abs()),
        },
        Some('d') => integer.ok_or_else(wrong)?.unsigned_abs().to_string(),
        Some('x') => format!("{:x}", integer.ok_or_else(wrong)?.unsigned_abs()),
        Some('X') => format!("{:X}", integer.ok_or_else(wrong)?.unsigned_abs()),
        Some('o') => format!("{:o}", integer.ok_or_else(wrong)?.unsigned_abs()),
        Some('b') => format!("{:b}", integer.ok_or_else(wrong)?.unsigned_abs()),
        Some('f' | 'F') => format!("{:.precision$}", float.abs()),
        Some('e') => exponent(float.abs(), precision),
        Some('E') => exponent(float.abs(), precision).to_uppercase(),
        Some('g') => general(float.abs(), precision, spec.alternate),
        Some('G') => general(float.abs(), precision, spec.alternate).to_uppercase(),
        Some('%') => format!("{:.precision$}%", float.abs() * 100.0),
        Some(kind) => return Err(format!("a format has the unknown type {kind:?}").into()),
    };
    let sign = if float.is_sign_negative() { "-".into() } else { spec.sign.map(String::from).unwrap_or_default() };
    let base = match spec.kind {
        Some(kind @ ('x' | 'X' | 'o' | 'b')) if spec.alternate => format!("0{kind}"),
        _ => String::new(),
    };
    Ok((sign + &base, grouped(&digits, spec.grouping)))
}

/// Puts the separator between groups of three digits before the point.
fn grouped(digits: &str, separator: Option<char>) -> String {
    let Some(separator) = separator else { return digits.to_string() };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let mut out = String::new();
    for (i, digit) in digits[..end].chars().enumerate() {
        if i > 0 && (end - i) % 3 == 0 {
            out.push(separator);
        }
        out.push(digit);
    }
    out + &digits[end..]
}

/// `1.5e+03`.
fn exponent(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let Some((digits, exponent)) = text.split_once('e') else { return float_text(value) };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// So many significant digits, with an exponent where the number is very small or has more digits.
fn general(value: f64, precision: usize, keep_zeros: bool) -> String {
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let Some(power) = scientific.split_once('e').and_then(|(_, power)| power.parse::<i32>().ok()) else {
        return float_text(value);
    };
    let strip = |text: &str| match text.contains('.') && !keep_zeros {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if power >= -4 && power < precision as i32 {
        return strip(&format!("{value:.*}", (precision as i32 - 1 - power) as usize));
    }
    let text = exponent(value, precision - 1);
    let (digits, power) = text.split_once('e').unwrap_or((&text, "+00"));
    format!("{}e{power}", strip(digits))
}
