//! Format specifications: width, precision, sign and the rest, for text and for numbers.

use num_bigint::{BigInt, Sign};

use super::super::budget::Builder;
use super::super::ctx::Ctx;
use super::super::fault::{Fault, Run};
use super::super::number::{Number, big, digits, fixed, int, spelled, truncated};
use super::super::spell::{print, repr};
use super::super::value::Value;

/// Digits behind the point beyond which every float has only zeros.
const FRACTION: usize = 1100;

/// Where a value stands in its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
    Center,
    /// The padding stands between sign and digits.
    Inside,
}

/// One specification.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    fill: char,
    pub(super) align: Option<Align>,
    pub(super) sign: char,
    /// Whether a sign was asked for.
    signed: bool,
    pub(super) alternate: bool,
    pub(super) zero: bool,
    pub(super) width: usize,
    grouping: Option<char>,
    pub(super) precision: Option<usize>,
    kind: Option<char>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            fill: ' ',
            align: None,
            sign: '-',
            signed: false,
            alternate: false,
            zero: false,
            width: 0,
            grouping: None,
            precision: None,
            kind: None,
        }
    }
}

impl Spec {
    /// Reads a specification of `str.format`.
    pub(super) fn parse(ctx: &Ctx, text: &str) -> Run<Self> {
        let shown = ctx.guard.show(text);
        let chars: Vec<char> = shown.chars().collect();
        ctx.budget.steps(chars.len())?;
        let aligns = |c: Option<&char>| match c {
            Some('<') => Some(Align::Left),
            Some('>') => Some(Align::Right),
            Some('^') => Some(Align::Center),
            Some('=') => Some(Align::Inside),
            _ => None,
        };
        let mut spec = Self::default();
        let mut at = 0;
        let filled = aligns(chars.get(1)).is_some();
        if let Some(align) = aligns(chars.get(1)) {
            (spec.fill, spec.align, at) = (chars[0], Some(align), 2);
        } else if let Some(align) = aligns(chars.first()) {
            (spec.align, at) = (Some(align), 1);
        }
        if let Some(sign) = chars.get(at).filter(|c| matches!(c, '+' | '-' | ' ')) {
            (spec.sign, spec.signed) = (*sign, true);
            at += 1;
        }
        if chars.get(at) == Some(&'#') {
            spec.alternate = true;
            at += 1;
        }
        if chars.get(at) == Some(&'0') {
            spec.zero = true;
            // A fill that is given stands in front of an alignment.
            if !filled {
                spec.fill = '0';
            }
            at += 1;
        }
        let number = |at: &mut usize| {
            let start = *at;
            while chars.get(*at).is_some_and(char::is_ascii_digit) {
                *at += 1;
            }
            let digits: String = chars[start..*at].iter().collect();
            (start < *at).then(|| digits.parse().unwrap_or(usize::MAX))
        };
        spec.width = number(&mut at).unwrap_or(0);
        if let Some(grouping) = chars.get(at).filter(|c| matches!(c, ',' | '_')) {
            spec.grouping = Some(*grouping);
            at += 1;
        }
        if chars.get(at) == Some(&'.') {
            at += 1;
            spec.precision = Some(number(&mut at).ok_or_else(|| Fault::failed("format specifier missing precision"))?);
        }
        spec.kind = chars.get(at).copied();
        if chars.len() > at + 1 {
            return Err(Fault::failed("invalid format specifier"));
        }
        Ok(spec)
    }

    /// Appends `value` as `str.format` does.
    pub(super) fn format(&self, ctx: &Ctx, value: &Value, empty: bool, out: &mut Builder) -> Run<()> {
        self.check(value)?;
        match (value, self.kind) {
            _ if empty => print(ctx, value, out),
            (Value::Str(_), None | Some('s')) => self.text(ctx, value, out),
            (Value::Bool(b), None) if self.grouping.is_none() && self.precision.is_none() => {
                self.number(ctx, "", if *b { "1" } else { "0" }, out)
            }
            (Value::Bool(_) | Value::Int(_) | Value::Big(_), None | Some('d' | 'n' | 'b' | 'o' | 'x' | 'X' | 'c')) => {
                if self.precision.is_some() {
                    return Err(Fault::failed("precision not allowed in integer format specifier"));
                }
                self.integer(ctx, &big(value).unwrap_or_default(), self.kind.unwrap_or('d'), out)
            }
            (Value::Bool(_) | Value::Int(_) | Value::Big(_) | Value::Float(_), kind) => {
                let float = Number::of(value).map_or(Ok(0.0), |n| n.float())?;
                self.float(ctx, float, kind, out)
            }
            (Value::Str(_), Some(kind)) => {
                Err(Fault::failed(format!("unknown format code '{kind}' for object of type 'str'")))
            }
            (other, _) => {
                let found = other.type_name();
                Err(Fault::failed(format!("unsupported format string passed to {found}.__format__")))
            }
        }
    }

    /// Refuses what does not go together.
    fn check(&self, value: &Value) -> Run<()> {
        let text = matches!(value, Value::Str(_));
        let kind = self.kind.unwrap_or(if text { 's' } else { 'd' });
        if let Some(grouping) = self.grouping
            && (matches!(kind, 's' | 'c' | 'n') || grouping == ',' && matches!(kind, 'b' | 'o' | 'x' | 'X'))
        {
            return Err(Fault::failed(format!("cannot specify '{grouping}' with '{kind}'")));
        }
        if text && self.signed {
            return Err(Fault::failed("sign not allowed in string format specifier"));
        }
        if text && self.alternate {
            return Err(Fault::failed("alternate form (#) not allowed in string format specifier"));
        }
        if kind == 'c' && (self.signed || self.alternate) {
            return Err(Fault::failed("sign and alternate form not allowed with integer format specifier 'c'"));
        }
        Ok(())
    }

    /// Appends `value` as `%` does.
    pub(super) fn percent(mut self, ctx: &Ctx, kind: char, value: &Value, out: &mut Builder) -> Run<()> {
        // In this language zeros and `-` exclude each other, and numbers stand right.
        if self.align == Some(Align::Left) {
            self.zero = false;
        }
        let mut made = ctx.builder();
        match kind {
            's' => print(ctx, value, &mut made)?,
            'r' => repr(ctx, value, &mut made)?,
            'a' => ascii(ctx, value, &mut made)?,
            'c' => match value {
                Value::Str(text) if text.chars == 1 => made.push(&text.text)?,
                other => {
                    let code = other.as_index().and_then(|n| char::from_u32(u32::try_from(n).ok()?));
                    let c = code.ok_or_else(|| Fault::failed("%c requires int or char"))?;
                    made.push(&ctx.guard.hide(&c.to_string()))?;
                }
            },
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
                let whole = match value {
                    Value::Float(n) if matches!(kind, 'd' | 'i' | 'u') => big(&truncated(*n)?),
                    other => big(other),
                };
                let found = value.type_name();
                let number =
                    whole.ok_or_else(|| Fault::failed(format!("%{kind} format: a number is required, not {found}")))?;
                return self.percent_integer(ctx, &number, kind, out);
            }
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                let Some(number) = Number::of(value) else {
                    return Err(Fault::failed(format!("must be real number, not {}", value.type_name())));
                };
                self.precision = Some(self.precision.unwrap_or(6));
                return self.float(ctx, number.float()?, Some(kind), out);
            }
            other => return Err(Fault::failed(format!("unsupported format character '{other}'"))),
        }
        self.align = Some(if self.align == Some(Align::Left) { Align::Left } else { Align::Right });
        (self.fill, self.zero) = (' ', false);
        if kind == 'c' {
            self.precision = None;
        }
        let made = ctx.finish(made)?;
        self.text(ctx, &made, out)
    }

    fn percent_integer(mut self, ctx: &Ctx, number: &BigInt, kind: char, out: &mut Builder) -> Run<()> {
        let kind = if matches!(kind, 'i' | 'u') { 'd' } else { kind };
        // A precision is the least number of digits.
        if let Some(precision) = self.precision.take() {
            let plain = in_radix(ctx, &BigInt::from(number.magnitude().clone()), kind)?;
            let mut made = ctx.builder();
            made.repeat("0", precision.saturating_sub(plain.len()))?;
            made.push(&plain)?;
            let sign = self.sign_of(number.sign() == Sign::Minus);
            let prefix = if self.alternate { prefix(kind) } else { "" };
            let digits = made.into_parts().0;
            return self.number(ctx, &format!("{sign}{prefix}"), &digits, out);
        }
        self.integer(ctx, number, kind, out)
    }

    fn sign_of(&self, negative: bool) -> &'static str {
        match (negative, self.sign) {
            (true, _) => "-",
            (false, '+') => "+",
            (false, ' ') => " ",
            _ => "",
        }
    }

    fn text(&self, ctx: &Ctx, value: &Value, out: &mut Builder) -> Run<()> {
        let text = ctx.expect_text(value, "format")?;
        let kept = match self.precision {
            Some(precision) if precision < text.chars => {
                ctx.budget.reads(text.text.len())?;
                &text.text[..text.text.char_indices().nth(precision).map_or(text.text.len(), |(at, _)| at)]
            }
            _ => &text.text,
        };
        if self.align == Some(Align::Inside) {
            return Err(Fault::failed("'=' alignment not allowed in string format specifier"));
        }
        let missing = self.width.saturating_sub(text.chars.min(self.precision.unwrap_or(usize::MAX)));
        self.padded("", kept, missing, self.fill, self.align.unwrap_or(Align::Left), out)
    }

    fn padded(&self, sign: &str, body: &str, missing: usize, fill: char, align: Align, out: &mut Builder) -> Run<()> {
        let fill = fill.to_string();
        let left = match align {
            Align::Left | Align::Inside => 0,
            Align::Right => missing,
            Align::Center => missing / 2,
        };
        out.repeat(&fill, left)?;
        out.push(sign)?;
        let inside = if align == Align::Inside { missing } else { 0 };
        out.repeat(&fill, inside)?;
        out.push(body)?;
        out.repeat(&fill, missing - left - inside)
    }

    /// A number of ASCII digits with what stands ahead of it.
    fn number(&self, ctx: &Ctx, sign: &str, body: &str, out: &mut Builder) -> Run<()> {
        ctx.budget.reads(body.len())?;
        let missing = self.width.saturating_sub(sign.len() + body.len());
        let (fill, align) = match (self.zero, self.align) {
            (true, None) => ('0', Align::Inside),
            (_, align) => (self.fill, align.unwrap_or(Align::Right)),
        };
        self.padded(sign, body, missing, fill, align, out)
    }

    fn integer(&self, ctx: &Ctx, number: &BigInt, kind: char, out: &mut Builder) -> Run<()> {
        if kind == 'c' {
            let code = int(number.clone()).as_index().and_then(|n| char::from_u32(u32::try_from(n).ok()?));
            let c = code.ok_or_else(|| Fault::failed("%c arg not in range(0x110000)"))?;
            let text = ctx.text(&ctx.guard.hide(&c.to_string()))?;
            return self.text(ctx, &text, out);
        }
        let plain = in_radix(ctx, &BigInt::from(number.magnitude().clone()), kind)?;
        let sign = self.sign_of(number.sign() == Sign::Minus);
        let prefix = if self.alternate { prefix(kind) } else { "" };
        let size = if matches!(kind, 'd' | 'n') { 3 } else { 4 };
        let body = self.grouped(&plain, size, sign.len() + prefix.len());
        self.number(ctx, &format!("{sign}{prefix}"), &body, out)
    }

    /// Digits with the separator between groups; zeros that fill the width are grouped too.
    fn grouped(&self, digits: &str, size: usize, ahead: usize) -> String {
        let Some(separator) = self.grouping else { return digits.to_owned() };
        let mut digits = digits.to_owned();
        let length = |n: usize| n + n.saturating_sub(1) / size;
        let inside = self.align == Some(Align::Inside) || self.zero && self.align.is_none();
        if self.fill == '0' && inside && self.width < 4096 {
            while ahead + length(digits.len()) < self.width {
                digits.insert(0, '0');
            }
        }
        let mut out = String::new();
        for (i, c) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(size) {
                out.push(separator);
            }
            out.push(c);
        }
        out
    }

    fn float(&self, ctx: &Ctx, value: f64, kind: Option<char>, out: &mut Builder) -> Run<()> {
        let sign = self.sign_of(value.is_sign_negative() && !value.is_nan());
        let upper = kind.is_some_and(|k| k.is_ascii_uppercase());
        let size = value.abs();
        // Digits take time by the square of their number.
        let digits = self.precision.unwrap_or(6).min(FRACTION);
        ctx.budget.steps(8 + digits / 2 + digits * digits / 500)?;
        let mut made = ctx.builder();
        if !size.is_finite() {
            made.push(if size.is_nan() { "nan" } else { "inf" })?;
            if kind == Some('%') {
                made.push("%")?;
            }
        } else {
            self.finite(size, kind, &mut made)?;
        }
        let mut body = made.into_parts().0;
        if upper {
            body = body.to_uppercase();
        }
        if self.grouping.is_some() {
            let whole = body.bytes().take_while(u8::is_ascii_digit).count();
            body = self.grouped(&body[..whole], 3, sign.len() + body.len() - whole) + &body[whole..];
        }
        self.number(ctx, sign, &body, out)
    }

    fn finite(&self, value: f64, kind: Option<char>, out: &mut Builder) -> Run<()> {
        let precision = self.precision.unwrap_or(6);
        let exact = precision.min(FRACTION);
        match kind.map(|k| k.to_ascii_lowercase()) {
            Some('f' | '%') => {
                let percent = kind == Some('%');
                out.push(&fixed(if percent { value * 100.0 } else { value }, exact))?;
                out.repeat("0", precision - exact)?;
                if precision == 0 && self.alternate {
                    out.push(".")?;
                }
                out.push(if percent { "%" } else { "" })
            }
            Some('e') => {
                let made = format!("{value:.exact$e}");
                let (mantissa, exponent) = made.split_once('e').unwrap_or((&made, "0"));
                out.push(mantissa)?;
                out.repeat("0", precision - exact)?;
                if precision == 0 && self.alternate {
                    out.push(".")?;
                }
                out.push(&exponent_of(exponent))
            }
            Some('g' | 'n') => out.push(&self.general(value, precision.max(1), 0)),
            None => match self.precision {
                None => out.push(&spelled(value)),
                Some(precision) => out.push(&self.general(value, precision.max(1), 1)),
            },
            Some(other) => Err(Fault::failed(format!("unknown format code '{other}' for object of type 'float'"))),
        }
    }

    /// `g`: as many digits as `precision`, zeros at the end left out; `least` digits stay behind the point.
    fn general(&self, value: f64, precision: usize, least: usize) -> String {
        let precision = precision.min(FRACTION);
        let made = format!("{value:.*e}", precision - 1);
        let (mantissa, exponent) = made.split_once('e').unwrap_or((&made, "0"));
        let power: i64 = exponent.parse().unwrap_or(0);
        let limit = precision as i64 - least as i64;
        let scientific = power < -4 || power >= limit.max(if least == 1 { 1 } else { 0 });
        let scientific = if least == 1 && precision == 1 { !(-4..1).contains(&power) } else { scientific };
        let body = if scientific {
            mantissa.to_owned()
        } else {
            fixed(value, usize::try_from(precision as i64 - 1 - power).unwrap_or(0))
        };
        let mut kept = if self.alternate || !body.contains('.') {
            body.as_str()
        } else {
            body.trim_end_matches('0').trim_end_matches('.')
        }
        .to_owned();
        if self.alternate && !kept.contains('.') {
            kept.push('.');
        }
        if least == 1 && !scientific && !kept.contains('.') {
            kept.push_str(".0");
        }
        if scientific { kept + &exponent_of(exponent) } else { kept }
    }
}

/// An exponent with its sign and at least two digits.
fn exponent_of(exponent: &str) -> String {
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("e{sign}{digits:0>2}")
}

fn prefix(kind: char) -> &'static str {
    match kind {
        'x' => "0x",
        'X' => "0X",
        'o' => "0o",
        'b' => "0b",
        _ => "",
    }
}

fn in_radix(ctx: &Ctx, number: &BigInt, kind: char) -> Run<String> {
    let radix = match kind {
        'x' | 'X' => 16,
        'o' => 8,
        'b' => 2,
        _ => return digits(number),
    };
    drop(ctx.budget.hold(number.bits() as usize)?);
    let text = number.to_str_radix(radix);
    Ok(if kind == 'X' { text.to_uppercase() } else { text })
}

/// `ascii(value)`.
pub(super) fn ascii(ctx: &Ctx, value: &Value, out: &mut Builder) -> Run<()> {
    let mut made = ctx.builder();
    repr(ctx, value, &mut made)?;
    for c in made.text().chars() {
        let shown = ctx.guard.shown(c);
        match u32::from(shown) {
            0..=0x7f => out.push_char(c)?,
            code @ 0..=0xff => out.push(&format!("\\x{code:02x}"))?,
            code @ 0..=0xffff => out.push(&format!("\\u{code:04x}"))?,
            code => out.push(&format!("\\U{code:08x}"))?,
        }
    }
    Ok(())
}
